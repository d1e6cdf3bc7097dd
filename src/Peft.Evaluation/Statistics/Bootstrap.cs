using Peft.Data.Batches;

namespace Peft.Evaluation.Statistics;

/// <summary>Intervals of any metric by resampling rows with replacement.</summary>
/// <remarks>
/// Source: percentile bootstrap, Efron and Tibshirani 1993, chapter 13. Where all rows agree the interval has no width:
/// there is nothing to resample. Draws are a function of (seed, sample, position): the same rows whatever the metric,
/// so that metrics of one task, and both sides of a comparison, are seen on the same resamplings.
/// </remarks>
public static class Bootstrap
{
    private const long Draws = 1; // what the key is for, beside permutations

    /// <summary>The interval of a metric.</summary>
    /// <param name="rows">Number of rows.</param>
    /// <param name="metric">The metric over indices below <paramref name="rows"/>.</param>
    /// <param name="samples">Resamplings.</param>
    /// <param name="confidence">Share of the interval, such as 0.95.</param>
    /// <param name="seed">Seed of the resamplings.</param>
    public static Interval Interval(
        int rows, RowMetric metric, int samples = 1000, double confidence = 0.95, long seed = 0) =>
        Percentiles(Samples(rows, metric, samples, seed), confidence);

    /// <summary>The metric on each resampling.</summary>
    internal static double[] Samples(int rows, RowMetric metric, int samples, long seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(rows, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, 1);
        var values = new double[samples];
        var drawn = new int[rows];
        for (var sample = 0; sample < samples; sample++)
        {
            var key = CounterRandom.Key(seed, Draws, sample);
            for (var i = 0; i < rows; i++)
                drawn[i] = (int)CounterRandom.Below(key, (ulong)i, rows);
            values[sample] = metric(drawn);
        }
        return values;
    }

    /// <summary>The middle part of values, with linear interpolation between neighbours.</summary>
    internal static Interval Percentiles(double[] values, double confidence)
    {
        Array.Sort(values);
        return new(At((1 - confidence) / 2), At((1 + confidence) / 2));

        double At(double share)
        {
            var place = share * (values.Length - 1);
            var below = (int)place;
            var above = Math.Min(below + 1, values.Length - 1);
            return values[below] + (place - below) * (values[above] - values[below]);
        }
    }
}

/// <summary>A metric over some rows of those measured: an index may come several times, and in any order.</summary>
/// <param name="rows">Indices of rows; none is possible only where there are no rows at all.</param>
public delegate double RowMetric(ReadOnlySpan<int> rows);

/// <summary>A confidence interval.</summary>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Interval(double Low, double High)
{
    /// <summary>The interval of a difference, a less b, from two values with intervals of their own.</summary>
    /// <remarks>
    /// Source: MOVER, Zou and Donner 2008 (Statistics in Medicine 27): for samples that are independent of each other;
    /// wider than needed where the same rows are behind both.
    /// </remarks>
    public static Interval OfDifference(double a, Interval ofA, double b, Interval ofB) => new(
        a - b - double.Hypot(a - ofA.Low, ofB.High - b), a - b + double.Hypot(ofA.High - a, b - ofB.Low));
}
