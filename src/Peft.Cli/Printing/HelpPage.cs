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
                    + $"usage: peft {Common(asked)}COMMAND [OPTION]...   (COMMAND --help lists its options)"
                : $"usage: peft {Typed(verb.Name)}{Required(type)} [OPTION]...\n\n{verb.HelpText}";
            text.Copyright = "";
            text.AdditionalNewLineAfterOption = false;
            return text;
        }, example => example, verbsIndex: verb is null, maxDisplayWidth: Columns);
        // The list of commands names no position.
        var text = verb is null ? page.ToString()
            : Position().Replace(page.ToString(), place => new string(' ', place.Length));
        var lines = Typed(text).Split('\n');
        return string.Join('\n', lines.SelectMany(line => Wrapped(line, Columns))).Trim('\n');
    }

    // The library leaves a line too long where its last word alone reaches over the edge.
    private static IEnumerable<string> Wrapped(string line, int width)
    {
        if (line.Length <= width || line.LastIndexOf(' ', width) is var at && line.LastIndexOf("  ", at) + 2 >= at)
            return [line];
        var indent = new string(' ', line.LastIndexOf("  ", at) + 2);
        return Wrapped(indent + line[(at + 1)..], width).Prepend(line[..at]);
    }

    // "adapter " on the page of the commands that begin with it.
    private static string Common(NotParsed<object> asked) => asked.TypeInfo.Choices.All(IsOfAdapters) ? "adapter " : "";

    /// <summary>Whether a verb is one of <c>peft adapter</c>.</summary>
    public static bool IsOfAdapters(Type verb) =>
        verb.GetCustomAttribute<VerbAttribute>()!.Name.StartsWith("adapter-", StringComparison.Ordinal);

    private static int Columns => Math.Clamp(Output.Width ?? Width, Narrowest, Width);

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

    // Words that belong to no option, in brackets where they can be left out, and the options that cannot.
    private static string Required(Type verb)
    {
        var properties = verb.GetProperties();
        var values = properties.Select(p => p.GetCustomAttribute<ValueAttribute>()).OfType<ValueAttribute>()
            .Select(value => value.Required ? $" {value.MetaName}" : $" [{value.MetaName}]");
        var options = properties.Select(p => p.GetCustomAttribute<OptionAttribute>()).OfType<OptionAttribute>()
            .Where(option => option.Required).Select(option => $" --{option.LongName} {option.MetaValue}");
        return string.Concat(values.Concat(options));
    }

    [GeneratedRegex(@" \(pos\. \d+\)")]
    private static partial Regex Position();

    private static string Kind(Type? type) => (Nullable.GetUnderlyingType(type ?? typeof(string)) ?? type) switch
    {
        var whole when whole == typeof(int) || whole == typeof(long) => "a whole number",
        var real when real == typeof(double) => "a number",
        _ => "a value of its kind",
    };

    private static string? DidYouMean(string given, IEnumerable<string> known) =>
        NearestName.Of(given, known) is { } near ? $"did you mean {near}?" : null;
}
