using System.Collections;
using System.Reflection;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;

namespace Peft.Cli.Verbs;

/// <summary>The words of the command line: put right for the parser, and those it passes over refused.</summary>
public static class CommandLineWords
{
    /// <summary>First word of the commands that take adapters in and out.</summary>
    public const string Adapter = "adapter";

    private const string Set = "--set";

    /// <summary>
    /// Makes <c>adapter inspect</c> one verb, <c>help VERB</c> the help of that verb, and each <c>--set</c> take one
    /// word.
    /// </summary>
    public static string[] Arrange(string[] args)
    {
        string[] words = args switch
        {
            ["-h"] => ["--help"],
            [var verb, "-h"] => [verb, "--help"],
            ["adapter", var second, "-h"] => ["adapter", second, "--help"],
            ["help", "adapter"] => [Adapter, "--help"],
            ["help", var verb, ..] => [verb, .. args[2..].Where(word => word != "--help"), "--help"],
            _ => args,
        };
        return SetsLast(words switch
        {
            [Adapter, var second, ..] when !second.StartsWith('-') => [$"adapter-{second}", .. words[2..]],
            _ => words,
        });
    }

    /// <summary>
    /// Refuses words that belong to nothing and options that end in nothing; the parser would ignore both.
    /// </summary>
    /// <exception cref="UserException">There is one.</exception>
    public static void RefuseLeftovers(object verb, IReadOnlyList<string> words)
    {
        var properties = verb.GetType().GetProperties();
        var options = properties.Where(p => p.GetCustomAttribute<OptionAttribute>() is not null)
            .ToDictionary(p => "--" + p.GetCustomAttribute<OptionAttribute>()!.LongName);
        var values = properties.Where(p => p.GetCustomAttribute<ValueAttribute>() is not null).ToList();
        var program = "peft " + HelpPage.Typed(words[0]);
        var left = new List<string>();
        for (var i = 1; i < words.Count; i++)
        {
            if (!options.TryGetValue(words[i], out var option))
            {
                if (!words[i].StartsWith("--", StringComparison.Ordinal))
                    left.Add(words[i]);
            }
            else if (IsList(option))
            {
                while (i + 1 < words.Count && !words[i + 1].StartsWith("--", StringComparison.Ordinal))
                    i++;
            }
            else if (option.PropertyType != typeof(bool) && (++i == words.Count || options.ContainsKey(words[i])))
            {
                throw UserException.At(program, $"{words[i - 1]} needs a value");
            }
        }
        if (left.Count > values.Count && !values.Any(IsList))
            throw UserException.At(
                program, $"{Quote.Of(left[values.Count])} is one word too many",
                values.Count == 0 ? "options only"
                    : string.Join(' ', values.Select(v => v.GetCustomAttribute<ValueAttribute>()!.MetaName)),
                "put quotes around a text that contains spaces");
    }

    /// <summary>A word as a shell takes it for one.</summary>
    public static string Quoted(string word) =>
        word.Any(char.IsControl) ? QuotedControls(word)
        : word.Length > 0 && word[0] != '='
            && word.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '_' or '-' or '+' or ':' or ',' or '=')
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    // As bash and zsh read them.
    private static string QuotedControls(string word) => "$'" + string.Concat(word.Select(c => c switch
    {
        '\n' => "\\n",
        '\t' => "\\t",
        '\'' or '\\' => $"\\{c}",
        _ when char.IsControl(c) => $"\\u{(int)c:x4}",
        _ => $"{c}",
    })) + "'";

    // A list option of the parser takes every word up to the next option; at the end nothing follows that it could
    // swallow.
    private static string[] SetsLast(string[] words)
    {
        var (others, sets) = (new List<string>(), new List<string>());
        for (var i = 0; i < words.Length; i++)
        {
            if (words[i] == Set && i + 1 < words.Length)
                sets.AddRange([Set, words[++i]]);
            else
                (words[i].StartsWith(Set + "=", StringComparison.Ordinal) ? sets : others).Add(words[i]);
        }
        return [.. others, .. sets];
    }

    private static bool IsList(PropertyInfo property) =>
        property.PropertyType != typeof(string) && typeof(IEnumerable).IsAssignableFrom(property.PropertyType);
}
