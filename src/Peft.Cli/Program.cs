using CommandLine;
using CommandLine.Text;
using Peft.Cli.Printing;
using Peft.Cli.Verbs;
using Peft.Formats;
using Peft.Torch;
using Peft.Training;

namespace Peft.Cli;

/// <summary>Words from the terminal become one call of a verb.</summary>
public static class Program
{
    // One line a verb; the order is the order of the help text.
    private static readonly Type[] VerbTypes =
    [
        typeof(TrainVerb), typeof(GenerateVerb), typeof(LogitsVerb), typeof(DataVerb), typeof(TokenizeVerb),
        typeof(InspectVerb), typeof(VerifyVerb), typeof(DoctorVerb),
    ];

    /// <summary>The program.</summary>
    public static int Main(string[] args)
    {
        var output = new Output();
        try
        {
            return Run(args, output);
        }
        catch (Exception e) when (e is UserException or NativeLibraryException)
        {
            output.Error(e.Message);
            return ExitCode.UserMistake;
        }
        catch (NonFiniteLossException e)
        {
            output.Error(e.Message);
            return ExitCode.Failure;
        }
        catch (Exception e)
        {
            output.Error($"peft failed: {e.GetType().Name}: {e.Message}");
            output.Error(args.Contains("--trace")
                ? e.ToString()
                : "This is a fault of the program, not of your input; --trace prints where it happened.");
            return ExitCode.Failure;
        }
    }

    private static int Run(string[] args, Output output)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.AllowMultiInstance = true;
            settings.AutoVersion = true;
            settings.CaseInsensitiveEnumValues = true;
        });
        var result = parser.ParseArguments(JoinVerbs(args), VerbTypes);
        return result switch
        {
            Parsed<object> { Value: IVerb verb } => verb.Run(output),
            NotParsed<object> failed => ShowHelp(failed, output),
            _ => throw new InvalidOperationException("a verb without an implementation"),
        };
    }

    // `adapter inspect DIR` is typed as two words and is one verb.
    private static string[] JoinVerbs(string[] args) =>
        args is ["adapter", var second, ..] && !second.StartsWith('-') ? [$"adapter-{second}", .. args[2..]] : args;

    private static int ShowHelp(NotParsed<object> failed, Output output)
    {
        var errors = failed.Errors.ToList();
        if (errors.Any(e => e.Tag == ErrorType.VersionRequestedError))
        {
            output.Result($"peft {typeof(Program).Assembly.GetName().Version?.ToString(3)}");
            return ExitCode.Done;
        }
        var asked = errors.All(e => e.Tag is ErrorType.HelpRequestedError or ErrorType.HelpVerbRequestedError);
        var help = HelpText.AutoBuild(failed, text =>
        {
            text.Heading = asked ? "peft - mixtures of LoRA experts on a frozen language model" : "";
            text.Copyright = "";
            text.AdditionalNewLineAfterOption = false;
            text.MaximumDisplayWidth = 120;
            return text;
        }, e => e, verbsIndex: true);
        var shown = help.ToString().Replace("adapter-inspect", "adapter inspect").Replace("adapter-verify", "adapter verify").Trim('\n');
        if (asked)
            output.Result(shown);
        else
            output.Error(shown);
        return asked ? ExitCode.Done : ExitCode.UserMistake;
    }
}
