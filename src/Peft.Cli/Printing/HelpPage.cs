using System.Reflection;
using CommandLine;
using CommandLine.Text;

namespace Peft.Cli.Printing;

/// <summary>What <c>--help</c> prints: the verbs, or one verb's options.</summary>
public static class HelpPage
{
    private const int Width = 120;

    /// <summary>The page that was asked for.</summary>
    public static string Of(NotParsed<object> asked)
    {
        var type = asked.TypeInfo.Current;
        var verb = type.GetCustomAttribute<VerbAttribute>();
        var page = HelpText.AutoBuild(asked, text =>
        {
            text.Heading = verb is null
                ? "peft - mixtures of LoRA experts on a frozen language model\n\nusage: peft VERB [OPTION]...   (peft VERB --help: its options)"
                : $"usage: peft {Typed(verb.Name)}{Values(type)} [OPTION]...\n\n{verb.HelpText}";
            text.Copyright = "";
            text.AdditionalNewLineAfterOption = false;
            return text;
        }, example => example, verbsIndex: verb is null, maxDisplayWidth: Width);
        return Typed(page.ToString()).Trim('\n');
    }

    /// <summary>A verb as people type it: <c>adapter inspect</c>.</summary>
    public static string Typed(string verb) => verb.Replace("adapter-", "adapter ", StringComparison.Ordinal);

    private static string Values(Type verb) => string.Concat(
        verb.GetProperties().Select(p => p.GetCustomAttribute<ValueAttribute>()).OfType<ValueAttribute>().Select(v => $" {v.MetaName}"));
}
