using CommandLine;
using Peft.Cli.Printing;
using Peft.Cli.Verbs;
using Peft.Distributed;
using Peft.Formats;

namespace Peft.Cli;

/// <summary>Words from the terminal become one call of a verb.</summary>
public static class Program
{
    private const string Trace = "--trace";

    // One line a verb; the order is the order of the help text.
    private static readonly Type[] VerbTypes =
    [
        typeof(InitVerb), typeof(TrainVerb), typeof(EvalVerb), typeof(ReportVerb), typeof(GenerateVerb),
        typeof(ChatVerb),
        typeof(LogitsVerb),
        typeof(DataVerb),
        typeof(TokenizeVerb), typeof(RenderVerb), typeof(GateVerb), typeof(MergeVerb),
        typeof(InspectVerb), typeof(VerifyVerb), typeof(ImportVerb), typeof(ExportVerb), typeof(DoctorVerb),
    ];

    /// <summary>The program.</summary>
    public static int Main(string[] args)
    {
        var end = new ProcessEnd();
        var code = Answer(args, end);
        end.Leave(code);
        return code;
    }

    private static int Answer(string[] args, ProcessEnd end)
    {
        // Open MPI gives each rank a terminal of its own, whatever its own output is: what the runtime writes to set a
        // terminal up would be part of the results.
        if (Output.IsOfOpenMpi)
            Environment.SetEnvironmentVariable("TERM", "dumb");
        using var output = new Output();
        // With `ulimit -f` a write that goes too far then fails, and is reported, rather than ending the program
        // without a word.
        Signals.IgnoreFileSize();
        try
        {
            return Run(args, output, end);
        }
        catch (OperationCanceledException e)
        {
            output.Say(Failures.Describe(e).Text);
            return ExitCode.Interrupted;
        }
        catch (Exception e)
        {
            var (text, code) = Failures.Describe(e);
            output.Error(text);
            if (e is UserException && HelpPage.UnderMake(e.Message) is { } hint)
                output.Say(hint);
            else if (Failures.IsOurs(e))
                output.Error(args.Contains(Trace)
                    ? e.ToString()
                    : "This is a fault of the program, not of your input; --trace shows where it happened.");
            return code;
        }
    }

    private static int Run(string[] args, Output output, ProcessEnd end)
    {
        using var parser = new Parser(settings =>
        {
            settings.HelpWriter = null;
            settings.AllowMultiInstance = true;
            settings.AutoVersion = true;
            settings.CaseInsensitiveEnumValues = true;
        });
        // The parser does not know --trace, which belongs to every verb.
        var words = CommandLineWords.Arrange([.. args.Where(word => word != Trace)]);
        var parsed = words is [CommandLineWords.Adapter, "--help"]
            ? parser.ParseArguments(["--help"], [.. VerbTypes.Where(HelpPage.IsOfAdapters)])
            : parser.ParseArguments(words, VerbTypes);
        switch (parsed)
        {
            case Parsed<object> { Value: IVerb verb }:
                CommandLineWords.RefuseLeftovers(verb, words);
                if (Launch.Read(Environment.GetEnvironmentVariable) is { IsShared: true } launch)
                {
                    end.IsOrdinary = true;
                    return RankedProgram.Run(verb, words[0], launch, output);
                }
                // Before any tensor: left alone, the library would look for libtorch all over the system.
                if (verb.UsesTensors)
                    TorchRuntime.Start();
                return verb.Run(output);
            case NotParsed<object> failed:
                return ShowHelp(failed, output);
            default:
                throw new InvalidOperationException("a verb without an implementation");
        }
    }

    private static int ShowHelp(NotParsed<object> failed, Output output)
    {
        var errors = failed.Errors.ToList();
        if (errors.Any(e => e.Tag == ErrorType.VersionRequestedError))
        {
            output.Result($"peft {HelpPage.Version}");
            return ExitCode.Done;
        }
        if (errors.All(e => e.Tag is ErrorType.HelpRequestedError or ErrorType.HelpVerbRequestedError))
        {
            output.Result(HelpPage.Of(failed));
            return ExitCode.Done;
        }
        output.Error(HelpPage.Faults(failed));
        return ExitCode.UserMistake;
    }
}
