using Peft.Data.Batches;

namespace Peft.Evaluation.Statistics;

/// <summary>Two models on the same rows.</summary>
/// <param name="Difference">Metric of b less metric of a.</param>
/// <param name="Interval">Its interval, by resampling rows.</param>
/// <param name="P">Two-sided p value of no difference, by permutation; at least 1 / (permutations + 1).</param>
public sealed record PairedComparison(double Difference, Interval Interval, double P)
{
    /// <summary>Permutations behind a p value unless said otherwise.</summary>
    public const int DefaultPermutations = 9999;

    private const long Flips = 2; // what the key is for, beside resamplings
    private const double Rounding = 1e-12; // two ways of adding the same numbers

    /// <summary>Compares two models on the same rows.</summary>
    /// <remarks>
    /// Source: paired bootstrap for the interval (Efron and Tibshirani 1993); for the p value approximate randomisation
    /// (Noreen 1989): were there no difference, the two outcomes of a row could as well change places. p = (1 + as
    /// large ones) / (1 + permutations), which is valid at any number of them.
    /// </remarks>
    /// <param name="rows">Number of rows, n.</param>
    /// <param name="pooled">The metric over the outcomes of both: index i below n is row i of a, n + i is row i of
    /// b.</param>
    /// <param name="samples">Resamplings behind the interval.</param>
    /// <param name="confidence">Share of the interval.</param>
    /// <param name="seed">Seed of resamplings and permutations.</param>
    /// <param name="permutations">Permutations behind the p value.</param>
    public static PairedComparison Of(
        int rows, RowMetric pooled, int samples = 1000, double confidence = 0.95, long seed = 0,
        int permutations = DefaultPermutations)
    {
        var other = new int[rows];
        var differences = Bootstrap.Samples(
            rows,
            drawn =>
            {
                for (var i = 0; i < other.Length; i++)
                    other[i] = rows + drawn[i];
                return pooled(other) - pooled(drawn);
            },
            samples, seed);
        var (first, second) = (Enumerable.Range(0, rows).ToArray(), Enumerable.Range(rows, rows).ToArray());
        var difference = pooled(second) - pooled(first);
        return new(
            difference, Bootstrap.Percentiles(differences, confidence),
            PermutationP(rows, pooled, difference, seed, permutations));
    }

    private static double PermutationP(int rows, RowMetric pooled, double difference, long seed, int permutations)
    {
        var (first, second) = (new int[rows], new int[rows]);
        var bound = Math.Abs(difference) - Rounding * Math.Max(1, Math.Abs(difference));
        var asLarge = 0;
        for (var permutation = 0; permutation < permutations; permutation++)
        {
            var key = CounterRandom.Key(seed, Flips, permutation);
            var bits = 0UL;
            for (var i = 0; i < rows; i++)
            {
                bits = i % 64 == 0 ? CounterRandom.Bits(key, (ulong)(i / 64)) : bits >> 1;
                var isSwapped = (bits & 1) != 0;
                (first[i], second[i]) = isSwapped ? (rows + i, i) : (i, rows + i);
            }
            if (Math.Abs(pooled(second) - pooled(first)) >= bound)
                asLarge++;
        }
        return (1.0 + asLarge) / (1 + permutations);
    }
}

/// <summary>Correction of p values for making many comparisons.</summary>
public static class HolmCorrection
{
    /// <summary>
    /// The p values, adjusted: those below a level together hold the chance of any false find below that level.
    /// </summary>
    /// <remarks>Source: Holm 1979, step-down; adjusted p of rank i (from 0) of m: max over j ≤ i of min(1, (m − j)
    /// p_j).</remarks>
    public static IReadOnlyList<double> Adjust(IReadOnlyList<double> pValues)
    {
        var adjusted = new double[pValues.Count];
        var (rank, largest) = (0, 0.0);
        foreach (var i in Enumerable.Range(0, pValues.Count).OrderBy(i => pValues[i]))
        {
            largest = Math.Max(largest, Math.Min(1, (pValues.Count - rank) * pValues[i]));
            adjusted[i] = largest;
            rank++;
        }
        return adjusted;
    }
}
