using System.Globalization;

namespace Peft.Compare;

/// <summary>A learning rate, and the validation losses that it was chosen by.</summary>
/// <param name="Rate">The rate with the least loss.</param>
/// <param name="ValidationLosses">The losses of all that were tried, by rate.</param>
internal sealed record RateChoice(double Rate, SortedDictionary<string, double> ValidationLosses)
{
    private const int MostBeyond = 3;

    /// <summary>The rate with the least of these losses.</summary>
    public static RateChoice Of(IReadOnlyDictionary<double, double> losses) => new(Best(losses), new(
        losses.ToDictionary(pair => pair.Key.ToString("0.0##e-0", CultureInfo.InvariantCulture), pair => pair.Value)));

    /// <summary>
    /// What is tried next: first the rates given; then, as long as the best is the least or the greatest, half of it
    /// or its double, three times at most.
    /// </summary>
    /// <param name="losses">The losses of the rates tried.</param>
    /// <param name="rates">The rates to begin with.</param>
    public static IReadOnlyList<double> Next(
        IReadOnlyDictionary<double, double> losses, IReadOnlyList<double> rates)
    {
        if (losses.Count == 0)
            return rates;
        var best = Best(losses);
        return losses.Count >= rates.Count + MostBeyond ? []
            : best == losses.Keys.Min() ? [best / 2]
            : best == losses.Keys.Max() ? [best * 2]
            : [];
    }

    private static double Best(IReadOnlyDictionary<double, double> losses) => losses.MinBy(pair => pair.Value).Key;
}
