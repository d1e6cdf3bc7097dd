using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Evaluation.Metrics;

/// <summary>
/// What is done to a prediction and an answer before they are compared. White space is always made single.
/// </summary>
/// <remarks>Source: SQuAD's evaluation script (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single
/// spaces.</remarks>
public static class TextNormalization
{
    private const string FirstLine = "first_line";
    private const string Lowercase = "lowercase";
    private const string Punctuation = "punctuation";
    private const string Articles = "articles";
    private const string Squad = "squad";
    private static readonly string[] TheArticles = ["a", "an", "the"];

    /// <summary>The steps there are; <c>squad</c> is lowercase, punctuation and articles together.</summary>
    public static IReadOnlyList<string> Names { get; } = [FirstLine, Lowercase, Punctuation, Articles, Squad];

    /// <summary>Applies the steps, in the order of <see cref="Names"/> whatever the order given.</summary>
    public static string Apply(string text, IReadOnlyList<string> steps)
    {
        var all = steps.Contains(Squad);
        if (steps.Contains(FirstLine))
            text = text.TrimStart().Split('\n', 2)[0];
        if (all || steps.Contains(Lowercase))
            text = text.ToLower(CultureInfo.InvariantCulture);
        if (all || steps.Contains(Punctuation))
            text = WithoutPunctuation(text);
        var words = Words(text);
        return string.Join(
            ' ',
            all || steps.Contains(Articles)
                ? words.Where(word => !TheArticles.Contains(word, StringComparer.OrdinalIgnoreCase)) : words);
    }

    /// <summary>The words of a text.</summary>
    public static string[] Words(string text) =>
        text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    // The 32 characters of Python's string.punctuation, as SQuAD's script removes them.
    private static string WithoutPunctuation(string text)
    {
        var kept = new StringBuilder(text.Length);
        foreach (var character in text)
        {
            if (!(char.IsAscii(character) && (char.IsPunctuation(character) || char.IsSymbol(character))))
                kept.Append(character);
        }
        return kept.ToString();
    }
}

/// <summary>The number that a worked answer ends in.</summary>
/// <remarks>
/// Source: GSM8K (Cobbe et al. 2021, arXiv:2110.14168): the number behind "####" (strict-match of gsm8k in
/// lm-evaluation-harness 0.4.9); without that mark the last number of the text (its flexible-extract). Numbers are
/// compared by value here, as texts there: 18.0 is 18, and "..." is not a number.
/// </remarks>
public static partial class NumericAnswer
{
    private const string Mark = "####";

    /// <summary>The number, or null where the text has none.</summary>
    public static decimal? Of(string text)
    {
        var at = text.IndexOf(Mark, StringComparison.Ordinal);
        var found = at >= 0 ? Number().Match(text, at + Mark.Length) : null;
        if (found is not { Success: true })
            found = Number().Matches(text).LastOrDefault();
        return found is { Success: true }
            && decimal.TryParse(
                found.Value.Replace(",", "", StringComparison.Ordinal).TrimEnd('.'),
                NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture,
                out var value)
            ? value
            : null;
    }

    /// <summary>
    /// Whether two texts end in the same number; without a number in both, whether the texts are the same.
    /// </summary>
    public static bool AreEqual(string prediction, string answer) => Of(answer) is { } expected
        ? Of(prediction) == expected
        : TextNormalization.Apply(prediction, []) == TextNormalization.Apply(answer, []);

    [GeneratedRegex(@"-?[0-9][0-9,]*(\.[0-9]+)?|-?\.[0-9]+", RegexOptions.CultureInvariant)]
    private static partial Regex Number();
}
