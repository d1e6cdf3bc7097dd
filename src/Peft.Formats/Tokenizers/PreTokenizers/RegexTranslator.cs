using System.Globalization;
using System.Text;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// Writes a regular expression of Oniguruma (what tokenizer.json holds) as one of .NET: possessive quantifiers become
/// atomic groups, <c>\x{...}</c> becomes a character. What would silently mean something else is refused.
/// </summary>
internal static class RegexTranslator
{
    /// <exception cref="FormatException">The pattern uses something that .NET has no counterpart for.</exception>
    public static string Translate(string pattern)
    {
        var output = new StringBuilder(pattern.Length + 16);
        var groups = new Stack<int>();
        var atom = 0;
        for (var at = 0; at < pattern.Length;)
        {
            switch (pattern[at])
            {
                case '\\':
                    atom = output.Length;
                    at = CopyEscape(pattern, at, output);
                    break;
                case '[':
                    atom = output.Length;
                    at = CopyClass(pattern, at, output);
                    break;
                case '(':
                    groups.Push(output.Length);
                    output.Append(pattern[at++]);
                    // The question mark of (?: (?i: (?= is no quantifier.
                    if (at < pattern.Length && pattern[at] == '?')
                        output.Append(pattern[at++]);
                    break;
                case ')':
                    atom = groups.TryPop(out var open) ? open : throw new FormatException("an unmatched ')'");
                    output.Append(pattern[at++]);
                    break;
                case '?' or '*' or '+':
                    output.Append(pattern[at++]);
                    at = CopyQuantifierSuffix(pattern, at, output, atom, possessive: true);
                    break;
                case '{' when pattern.IndexOf('}', at) is > 0 and var close:
                    output.Append(pattern, at, close + 1 - at);
                    at = CopyQuantifierSuffix(pattern, close + 1, output, atom, possessive: false);
                    break;
                default:
                    atom = output.Length;
                    output.Append(pattern[at++]);
                    break;
            }
        }

        return output.ToString();
    }

    private static int CopyQuantifierSuffix(string pattern, int at, StringBuilder output, int atom, bool possessive)
    {
        if (at == pattern.Length)
            return at;
        if (pattern[at] == '?')
        {
            output.Append('?');
            return at + 1;
        }

        if (pattern[at] != '+')
            return at;
        // {n,m}+ is no possessive quantifier in this dialect but "the whole, repeated".
        output.Insert(atom, possessive ? "(?>" : "(?:").Append(possessive ? ")" : ")+");
        return at + 1;
    }

    private static int CopyEscape(string pattern, int at, StringBuilder output)
    {
        if (at + 1 == pattern.Length)
            throw new FormatException("a backslash at the end");
        var kind = pattern[at + 1];
        var braced = at + 2 < pattern.Length && pattern[at + 2] == '{' ? pattern.IndexOf('}', at) : -1;
        if (kind == 'x' && braced > 0)
        {
            var digits = pattern[(at + 3)..braced];
            if (!int.TryParse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var code) || code > 0xFFFF)
                throw new FormatException($"\\x{{{digits}}}, which is outside the basic plane");
            output.Append("\\u").Append(code.ToString("X4", CultureInfo.InvariantCulture));
            return braced + 1;
        }

        if (kind is 'p' or 'P' && braced > 0)
        {
            var negated = pattern[at + 3] == '^';
            output.Append(kind == 'P' != negated ? "\\P{" : "\\p{");
            output.Append(pattern, at + (negated ? 4 : 3), braced - at - (negated ? 3 : 2));
            return braced + 1;
        }

        if (kind is 'h' or 'H' or 'R' or 'X' or 'K')
            throw new FormatException($"\\{kind}");
        output.Append(pattern, at, 2);
        return at + 2;
    }

    private static int CopyClass(string pattern, int at, StringBuilder output)
    {
        output.Append(pattern[at++]);
        if (at < pattern.Length && pattern[at] == '^')
            output.Append(pattern[at++]);
        for (var first = true; at < pattern.Length; first = false)
        {
            if (pattern[at] == ']' && !first)
            {
                output.Append(']');
                return at + 1;
            }

            if (pattern[at] == '\\')
            {
                at = CopyEscape(pattern, at, output);
                continue;
            }

            if (pattern[at] == '[' || pattern[at] == '&' && at + 1 < pattern.Length && pattern[at + 1] == '&')
                throw new FormatException("a character class inside another");
            if (char.IsSurrogate(pattern[at]))
                throw new FormatException("a character class with characters outside the basic plane");
            output.Append(pattern[at++]);
        }

        throw new FormatException("a character class without its ']'");
    }
}
