using System.Globalization;
using System.Text.RegularExpressions;

namespace Peft.Evaluation.Metrics;

/// <summary>The number that a worked answer comes to.</summary>
/// <remarks>Source: GSM8K (Cobbe et al. 2021, arXiv:2110.14168): the number behind "####"; without that mark the last number of the text, as
/// the common harness's flexible extraction takes it.</remarks>
public static partial class NumericAnswer
{
    private const string Mark = "####";

    /// <summary>The number, or null where the text has none.</summary>
    public static decimal? Of(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var at = text.IndexOf(Mark, StringComparison.Ordinal);
        var found = at >= 0 ? Number().Match(text, at + Mark.Length) : null;
        if (found is not { Success: true })
            found = Number().Matches(text).LastOrDefault();
        return found is { Success: true }
            && decimal.TryParse(found.Value.Replace(",", "", StringComparison.Ordinal).TrimEnd('.'), NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            ? value
            : null;
    }

    /// <summary>Whether two texts come to the same number; without a number in both, whether the texts are the same.</summary>
    public static bool AreEqual(string prediction, string answer) => Of(answer) is { } expected
        ? Of(prediction) == expected
        : TextNormalization.Apply(prediction, []) == TextNormalization.Apply(answer, []);

    [GeneratedRegex(@"-?[0-9][0-9,]*(\.[0-9]+)?|-?\.[0-9]+", RegexOptions.CultureInvariant)]
    private static partial Regex Number();
}
