using System.Reflection;
using System.Text.RegularExpressions;
using CommandLine;
using CommandLine.Text;
using Peft.Formats;

namespace Peft.Cli.Printing;

/// <summary>
/// What <c>--help</c> prints: the commands, or one command's options; and what a wrong command line is answered.
/// </summary>
public static partial class HelpPage
{
    private const int Width = 80; // where no terminal tells, and at most: longer lines are hard to read
    private const int Narrowest = 50;

    /// <summary>Version of the program.</summary>
    public static string Version => typeof(HelpPage).Assembly.GetName().Version?.ToString(3) ?? "";

    /// <summary>
    /// The program as it was called (bin/peft says so in PEFT_COMMAND): what a next command begins with.
    /// </summary>
    public static string Command =>
        Environment.GetEnvironmentVariable("PEFT_COMMAND") is { Length: > 0 } called ? called : "peft";

    /// <summary>
    /// How make takes the first option that a message advises; null where make did not start the program, or no option
    /// is advised.
    /// </summary>
    public static string? UnderMake(string message) =>
        Environment.GetEnvironmentVariable("MAKELEVEL") is { Length: > 0 } && Option().Match(message) is
        { Success: true } option
            ? $"With make, options are given in ARGS: ARGS='{option.Value}'"
            : null;

    [GeneratedRegex("(?<= )--(resume auto|[a-z][a-z-]*)")]
    private static partial Regex Option();

    /// <summary>The page that was asked for.</summary>
    public static string Of(NotParsed<object> asked)
    {
        var type = asked.TypeInfo.Current;
        var verb = type.GetCustomAttribute<VerbAttribute>();
        var page = HelpText.AutoBuild(asked, text =>
        {
            text.Heading = verb is null
                ? "peft: mixtures of LoRA experts on a frozen language model\n\n"
                    + "usage: peft COMMAND [OPTION]...   (peft COMMAND --help lists its options)"
                : $"usage: peft {Typed(verb.Name)}{Values(type)} [OPTION]...\n\n{verb.HelpText}";
            text.Copyright = "";
            text.AdditionalNewLineAfterOption = false;
            return text;
        }, example => example, verbsIndex: verb is null, maxDisplayWidth: WidthOf());
        return Typed(page.ToString()).Trim('\n');
    }

    // A terminal that does not know its width says 0.
    private static int WidthOf() =>
        !Console.IsOutputRedirected && Console.WindowWidth is > 0 and var own
            ? Math.Clamp(own, Narrowest, Width)
            : Width;

    /// <summary>A command as people type it: <c>adapter inspect</c>.</summary>
    public static string Typed(string verb) => verb.Replace("adapter-", "adapter ", StringComparison.Ordinal);

    /// <summary>What is wrong with a command line, a line a fault, and where to read more.</summary>
    public static string Faults(NotParsed<object> failed)
    {
        var type = failed.TypeInfo.Current;
        var verb = Typed(type.GetCustomAttribute<VerbAttribute>()?.Name ?? "");
        var program = verb.Length > 0 ? $"peft {verb}" : "peft";
        return string.Join('\n',
            failed.Errors.Select(error => Describe(program, error, failed, type)).Append($"Try {program} --help."));
    }

    private static string Describe(string program, Error error, NotParsed<object> failed, Type type)
    {
        string[] verbs =
            [.. failed.TypeInfo.Choices.Select(choice => Typed(choice.GetCustomAttribute<VerbAttribute>()!.Name))];
        var options = Options(type);
        return error switch
        {
            NoVerbSelectedError => Fault.Text(program, "no command", Words.OneOf(verbs)),
            BadVerbSelectedError { Token: "adapter" } => Fault.Text(program, "adapter needs a second word",
                Words.OneOf([.. verbs.Where(v => v.StartsWith("adapter ", StringComparison.Ordinal))])),
            BadVerbSelectedError bad => Fault.Text(
                program, $"{Quote.Of(Typed(bad.Token))} is not a command", Words.OneOf(verbs),
                verbs.FirstOrDefault(verb => verb == $"adapter {bad.Token}") is { } whole ? $"did you mean {whole}?"
                    : DidYouMean(Typed(bad.Token), verbs)),
            UnknownOptionError unknown => Fault.Text(
                program, $"--{unknown.Token} is not an option", null, DidYouMean("--" + unknown.Token, options.Keys)),
            MissingRequiredOptionError { NameInfo.NameText: "" } =>
                Fault.Text(program, $"{RequiredValue(type)} is missing"),
            MissingRequiredOptionError missing => Fault.Text(program, $"--{missing.NameInfo.LongName} is missing"),
            MissingValueOptionError missing => Fault.Text(program, $"--{missing.NameInfo.LongName} needs a value"),
            BadFormatConversionError bad => Fault.Text(
                program, $"the value of --{bad.NameInfo.LongName} cannot be read",
                Kind(options.GetValueOrDefault("--" + bad.NameInfo.LongName))),
            _ => Fault.Text(program, SentenceBuilder.Create().FormatError(error)),
        };
    }

    private static Dictionary<string, Type> Options(Type verb) => verb.GetProperties()
        .Where(property => property.GetCustomAttribute<OptionAttribute>() is not null)
        .ToDictionary(
            property => "--" + property.GetCustomAttribute<OptionAttribute>()!.LongName,
            property => property.PropertyType);

    private static string RequiredValue(Type verb) => verb.GetProperties()
        .Select(property => property.GetCustomAttribute<ValueAttribute>())
        .FirstOrDefault(value => value is { Required: true })?.MetaName ?? "a value";

    private static string Values(Type verb) => string.Concat(
        verb.GetProperties().Select(p => p.GetCustomAttribute<ValueAttribute>()).OfType<ValueAttribute>()
            .Select(v => $" {v.MetaName}"));

    private static string Kind(Type? type) => (Nullable.GetUnderlyingType(type ?? typeof(string)) ?? type) switch
    {
        var whole when whole == typeof(int) || whole == typeof(long) => "a whole number",
        var real when real == typeof(double) => "a number",
        _ => "a value of its kind",
    };

    private static string? DidYouMean(string given, IEnumerable<string> known) =>
        NearestName.Of(given, known) is { } near ? $"did you mean {near}?" : null;
}
