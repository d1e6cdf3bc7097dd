using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Scriban;
using Scriban.Functions;
using Scriban.Runtime;

namespace Peft.Formats.Templates;

/// <summary>
/// What a template can call: Scriban's functions, less those that read templates at run time or whose result differs
/// from run to run (<c>include</c>, <c>object.eval</c>, <c>date.now</c>, <c>math.random</c>, <c>math.uuid</c>), and a
/// few for texts.
/// </summary>
public static class TemplateFunctions
{
    private static readonly (string? Group, string Name)[] Removed =
    [
        (null, "include"), (null, "include_join"), ("object", "eval"), ("object", "eval_template"),
        ("date", "now"), ("math", "random"), ("math", "uuid"),
    ];

    private static readonly ScriptObject Shared = Make();

    /// <summary>The names at top level.</summary>
    public static IReadOnlyCollection<string> Names { get; } = [.. Shared.Keys];

    /// <summary>The functions of a group (<c>string</c>, <c>array</c>, ...); none where there is no such
    /// group.</summary>
    public static IReadOnlyCollection<string> Of(string group) =>
        Shared.TryGetValue(group, out var found) && found is ScriptObject functions ? [.. functions.Keys] : [];

    internal static ScriptObject With(
        IReadOnlyDictionary<string, Delegate> further, IReadOnlyCollection<string> without)
    {
        var functions = new ScriptObject();
        foreach (var (name, value) in Shared.Where(function => !without.Contains(function.Key)))
            functions.SetValue(name, value, readOnly: false);
        foreach (var (name, function) in further)
            functions.Import(name, function);
        return functions;
    }

    /// <summary>The characters apart, a blank between them: <c>word | spell</c> makes <c>w o r d</c>.</summary>
    internal static string Spell(string text)
    {
        var spelt = new StringBuilder(2 * text.Length);
        foreach (var letter in text.EnumerateRunes())
            spelt.Append(spelt.Length == 0 ? "" : " ").Append(letter);
        return spelt.ToString();
    }

    /// <summary>The first characters: <c>body | left 80</c>. None is cut in two.</summary>
    internal static string Left(string text, int count)
    {
        var end = 0;
        for (var left = Math.Max(count, 0); left > 0 && end < text.Length; left--)
            end += char.IsHighSurrogate(text[end]) && end + 1 < text.Length && char.IsLowSurrogate(text[end + 1])
                ? 2
                : 1;
        return text[..end];
    }

    /// <summary>The first group of a regular expression's first match, or all of the match where it has no group; empty
    /// where there is none. A dot is any character, a line's end too: <c>instruction | extract 'question:
    /// (.*?)\n'</c>.</summary>
    internal static string Extract(TemplateContext context, string text, string pattern)
    {
        var match = Regex.Match(
            text, pattern, RegexOptions.Singleline | RegexOptions.CultureInvariant, context.RegexTimeOut);
        return match.Success ? match.Groups[match.Groups.Count > 1 ? 1 : 0].Value : "";
    }

    /// <summary>A number from 0 to <paramref name="parts"/> - 1, the same for the same text everywhere: the first 8
    /// bytes of the SHA-256 of its UTF-8, big-endian, modulo parts. For splits without a second file: <c>(title |
    /// split_hash 100) &lt; 95</c>.</summary>
    internal static long SplitHash(string text, long parts)
    {
        if (parts < 1)
            throw new ArgumentOutOfRangeException(nameof(parts), parts, "split_hash takes a number of parts above 0");
        return (long)(
            BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(text))) % (ulong)parts);
    }

    private static BuiltinFunctions Make()
    {
        var functions = new BuiltinFunctions();
        foreach (var (group, name) in Removed)
            ((ScriptObject?)(group is null ? functions : functions[group]))!.Remove(name);
        NumberFunctions.Put(functions);
        functions.Import("spell", Spell);
        functions.Import("left", Left);
        functions.Import("extract", Extract);
        functions.Import("split_hash", SplitHash);
        functions.Import("raw", (string text) => new RawText(text));
        foreach (var value in functions.Values.OfType<ScriptObject>())
            value.IsReadOnly = true; // shared by all templates
        return functions;
    }
}

/// <summary>Text that is printed without being escaped. Only for what the program itself makes: never for what a file
/// or a model says.</summary>
/// <param name="Text">The text.</param>
public sealed record RawText(string Text)
{
    /// <inheritdoc/>
    public override string ToString() => Text;
}
