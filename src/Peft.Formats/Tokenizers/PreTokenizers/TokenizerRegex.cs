using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Formats.Tokenizers.PreTokenizers;

/// <summary>
/// A regular expression of a tokenizer file, applied by code points. .NET's expressions work on UTF-16, where half a
/// character of a supplementary plane is neither letter nor digit; so such characters are replaced, for the search only,
/// by one character of the basic plane of the same category. Patterns backtrack; a single match that takes longer than
/// half a minute ends with an error that names the pattern: never a hang. (.NET's linear-time engine is not used: it
/// misses matches. In "\u2028&lt;/s&gt;x'R", \s?\p{L}+ has to find the s.)
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
            throw new TokenizerFileException(Fault.Text(
                place, $"a pattern of {pattern.Length:N0} characters", $"at most {LongestPattern:N0}"));
        }

        try
        {
            _regex = new Regex(RegexTranslator.Translate(pattern), Options, MatchLimit);
        }
        catch (Exception error) when (error is ArgumentException or FormatException)
        {
            throw new TokenizerFileException(
                Fault.Text(
                    place,
                    $"the pattern {Quote.Of(pattern)} ({error.Message})",
                    "a regular expression that .NET can run"),
                error);
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
            throw new TokenizerFileException(
                Fault.Text(
                    _place,
                    $"the pattern {Quote.Of(_pattern)} searched a text for over {MatchLimit.TotalSeconds:0} seconds",
                    "a pattern that does not backtrack without end"),
                error);
        }

        return matches;
    }

    /// <summary>The text with every match replaced by fixed content.</summary>
    public string Replace(string text, string content)
    {
        var matches = Matches(text);
        if (matches.Count == 0)
            return text;
        var result = new StringBuilder(text.Length);
        var done = 0;
        foreach (var (start, end) in matches)
        {
            result.Append(text, done, start - done).Append(content);
            done = end;
        }

        return result.Append(text, done, text.Length - done).ToString();
    }

    // places[i] is where code point i stands in the text; one more for the end.
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
