using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// A regular expression of a tokenizer file, applied by code points. .NET's expressions work on UTF-16, where half a
/// character of a supplementary plane is neither letter nor digit; so such characters are replaced, for the search
/// only, by one character of the basic plane of the same category. Patterns backtrack; a single match that takes longer
/// than half a minute ends with an error that names the pattern: never a hang. (.NET's linear-time engine is not used:
/// it misses matches. In "\u2028&lt;/s&gt;x'R", \s?\p{L}+ has to find the s.)
/// </summary>
internal sealed class TokenizerRegex
{
    // In this dialect ^ and $ always mean lines.
    private const RegexOptions Options = RegexOptions.CultureInvariant | RegexOptions.Multiline | RegexOptions.Compiled;
    private const int LongestPattern = 10_000; // characters; those in use have some hundred
    private static readonly TimeSpan MatchLimit = TimeSpan.FromSeconds(30);
    private static readonly char[] StandIns = MakeStandIns();

    private readonly Regex _regex;
    private readonly string _place;
    private readonly string _pattern;

    public TokenizerRegex(string pattern, string place)
    {
        (_pattern, _place) = (pattern, place);
        if (pattern.Length > LongestPattern)
        {
            throw UserException.At(
                place, $"a pattern of {pattern.Length:N0} characters", $"at most {LongestPattern:N0}");
        }

        try
        {
            _regex = new Regex(RegexTranslator.Translate(pattern), Options, MatchLimit);
        }
        catch (Exception error) when (error is ArgumentException or FormatException)
        {
            throw UserException.At(
                place, $"the pattern {Quote.Of(pattern)} ({error.Message.TrimEnd('.')})",
                "a regular expression that .NET can run", inner: error);
        }
    }

    /// <summary>Start and end of each match that is not empty, in order.</summary>
    public List<(int Start, int End)> Matches(ReadOnlySpan<char> text)
    {
        var matches = new List<(int, int)>();
        int[]? places = null;
        if (text.IndexOfAnyInRange('\uD800', '\uDFFF') >= 0)
            text = WithStandIns(text, out places);
        try
        {
            foreach (var match in _regex.EnumerateMatches(text))
            {
                var end = match.Index + match.Length;
                if (match.Length > 0)
                    matches.Add(places is null ? (match.Index, end) : (places[match.Index], places[end]));
            }
        }
        catch (RegexMatchTimeoutException error)
        {
            throw UserException.At(
                _place, $"a match of the pattern {Quote.Of(_pattern)} took over {MatchLimit.TotalSeconds:0} seconds",
                "a pattern that does not backtrack without end", inner: error);
        }

        return matches;
    }

    // places[i] is where code point i lies in the text; one more for the end.
    private static string WithStandIns(ReadOnlySpan<char> text, out int[] places)
    {
        var result = new StringBuilder(text.Length);
        places = new int[text.Length + 1];
        var at = 0;
        while (at < text.Length)
        {
            places[result.Length] = at;
            if (Rune.DecodeFromUtf16(text[at..], out var rune, out var length) != System.Buffers.OperationStatus.Done)
                length = 1;
            result.Append(rune.IsBmp ? (char)rune.Value : StandIns[(int)Rune.GetUnicodeCategory(rune)]);
            at += length;
        }

        places[result.Length] = at;
        return result.ToString();
    }

    // The last character of each category is one that no pattern is likely to name.
    private static char[] MakeStandIns()
    {
        var standIns = new char[30];
        for (var c = 0; c <= char.MaxValue; c++)
            standIns[(int)CharUnicodeInfo.GetUnicodeCategory((char)c)] = (char)c;
        return standIns;
    }
}

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
            if (!int.TryParse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var code)
                || code > 0xFFFF)
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
