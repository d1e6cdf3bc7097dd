using System.Reflection;
using CommandLine;
using CommandLine.Text;
using Peft.Formats;

namespace Peft.Cli.Printing;

/// <summary>What is wrong with a command line, a line a fault.</summary>
public static class UsageErrors
{
    /// <summary>The faults, and where to read more.</summary>
    public static string Of(NotParsed<object> failed)
    {
        var type = failed.TypeInfo.Current;
        var verb = HelpPage.Typed(type.GetCustomAttribute<VerbAttribute>()?.Name ?? "");
        var program = verb.Length > 0 ? $"peft {verb}" : "peft";
        var lines = failed.Errors.Select(error => $"{program} - {Describe(error, failed, type)}");
        return string.Join('\n', lines.Append($"{program} --help lists what there is"));
    }

    private static string Describe(Error error, NotParsed<object> failed, Type type) => error switch
    {
        NoVerbSelectedError => "no verb - one of " + Listed(Verbs(failed)),
        BadVerbSelectedError { Token: "adapter" } => "adapter needs a second word - "
            + Listed(Verbs(failed).Where(v => v.StartsWith("adapter ", StringComparison.Ordinal))),
        BadVerbSelectedError bad => $"'{HelpPage.Typed(bad.Token)}' is no verb - one of {Listed(Verbs(failed))}"
            + Nearest(HelpPage.Typed(bad.Token), Verbs(failed)),
        UnknownOptionError unknown => $"--{unknown.Token} is no option of it - {Listed(Options(type).Keys)}"
            + Nearest("--" + unknown.Token, Options(type).Keys),
        MissingRequiredOptionError { NameInfo.NameText: "" } => $"{RequiredValue(type)} is missing",
        MissingRequiredOptionError missing => $"--{missing.NameInfo.LongName} is missing",
        MissingValueOptionError missing => $"--{missing.NameInfo.LongName} needs a value",
        BadFormatConversionError bad => $"--{bad.NameInfo.LongName}: not {Kind(Options(type).GetValueOrDefault("--" + bad.NameInfo.LongName))}",
        _ => SentenceBuilder.Create().FormatError(error),
    };

    private static IEnumerable<string> Verbs(NotParsed<object> failed) =>
        failed.TypeInfo.Choices.Select(type => HelpPage.Typed(type.GetCustomAttribute<VerbAttribute>()!.Name));

    private static Dictionary<string, Type> Options(Type verb) => verb.GetProperties()
        .Where(property => property.GetCustomAttribute<OptionAttribute>() is not null)
        .ToDictionary(property => "--" + property.GetCustomAttribute<OptionAttribute>()!.LongName, property => property.PropertyType);

    private static string RequiredValue(Type verb) => verb.GetProperties()
        .Select(property => property.GetCustomAttribute<ValueAttribute>())
        .FirstOrDefault(value => value is { Required: true })?.MetaName ?? "a value";

    private static string Kind(Type? type) => type switch
    {
        _ when type == typeof(int) || type == typeof(long) => "a whole number",
        _ when type == typeof(double) => "a number",
        _ => "a value of its kind",
    };

    private static string Listed(IEnumerable<string> names) => string.Join(", ", names);

    private static string Nearest(string given, IEnumerable<string> known) =>
        NearestName.Of(given, known) is { } near ? $" - did you mean {near}?" : "";
}
