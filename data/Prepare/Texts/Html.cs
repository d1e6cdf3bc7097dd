using System.Globalization;
using System.Text.RegularExpressions;

namespace Peft.Prepare.Texts;

/// <summary>The text of an HTML page.</summary>
internal static partial class Html
{
    private static readonly Dictionary<string, string> Entities = new(StringComparer.OrdinalIgnoreCase)
    {
        ["nbsp"] = " ",
        ["amp"] = "&",
        ["lt"] = "<",
        ["gt"] = ">",
        ["quot"] = "\"",
        ["apos"] = "'",
        ["copy"] = "(c)",
        ["reg"] = "(r)",
    };

    /// <summary>
    /// Removes styles, scripts, titles, comments and tags, then decodes character references; a name that is not known
    /// stays.
    /// </summary>
    public static string WithoutMarkup(string html)
    {
        var text = Hidden().Replace(html, " ");
        text = Comment().Replace(text, "");
        text = Tag().Replace(text, " ");
        text = NumericReference().Replace(text, match => CharacterOf(match.Groups[1].ValueSpan).ToString());
        return NamedReference().Replace(text, match => Entities.GetValueOrDefault(match.Groups[1].Value, match.Value));
    }

    // Five digits: what is beyond 65,535 keeps its lower 16 bits.
    private static char CharacterOf(ReadOnlySpan<char> digits) =>
        unchecked((char)int.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture));

    [GeneratedRegex(
        $@"<(style|script|title)(?![A-Za-z0-9_])[\s\S]*?</\1{WhiteSpace.Class}*>",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Hidden();

    [GeneratedRegex(@"<!--[\s\S]*?-->")]
    private static partial Regex Comment();

    [GeneratedRegex(@"<[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(@"&#([0-9]{1,5});")]
    private static partial Regex NumericReference();

    [GeneratedRegex(@"&([A-Za-z]{2,6});?")]
    private static partial Regex NamedReference();
}
