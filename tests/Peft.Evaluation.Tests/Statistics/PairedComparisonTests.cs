using Peft.Evaluation.Metrics;
using Peft.Evaluation.Statistics;

namespace Peft.Evaluation.Tests.Statistics;

public sealed class PairedComparisonTests
{
    [Fact]
    public void The_p_value_of_right_and_wrong_answers_is_the_exact_one_of_McNemar()
    {
        // 40 rows: 12 that only b gets right, 3 that only a does, the rest alike: two-sided binomial(15, 1/2) at 12.
        var a = Enumerable.Range(0, 40).Select(i => i is >= 12 and < 15 or >= 20 ? 1.0 : 0).ToArray();
        var b = Enumerable.Range(0, 40).Select(i => i is < 12 or >= 20 ? 1.0 : 0).ToArray();
        var exact = 2 * Enumerable.Range(12, 4).Sum(k => Binomial(15, k)) / Math.Pow(2, 15);

        var comparison = Compare(a, b, permutations: 20_000);

        Assert.Equal(9 / 40.0, comparison.Difference, 12);
        Assert.Equal(exact, comparison.P, 0.005);
        Assert.InRange(comparison.Interval.Low, 0.01, comparison.Difference);
    }

    [Fact]
    public void Without_a_difference_p_values_are_uniform()
    {
        var random = new Random(11);
        const int Trials = 400;
        var small = new int[4];
        double[] levels = [0.05, 0.1, 0.25, 0.5];
        for (var trial = 0; trial < Trials; trial++)
        {
            // Rows differ much in how hard they are; both models meet them alike.
            var hardness = Enumerable.Range(0, 30).Select(_ => 5 * random.NextDouble()).ToArray();
            var p = Compare(Noisy(hardness), Noisy(hardness), permutations: 399, seed: trial, samples: 1).P;
            for (var i = 0; i < levels.Length; i++)
                small[i] += p <= levels[i] ? 1 : 0;
        }

        // Three standard deviations of a share of 400 trials.
        Assert.All(levels.Zip(small), pair => Assert.Equal(
            pair.First, pair.Second / (double)Trials, 3 * Math.Sqrt(pair.First * (1 - pair.First) / Trials)));

        double[] Noisy(double[] values) => [.. values.Select(value => value + random.NextDouble())];
    }

    [Fact]
    public void Pairing_finds_what_two_intervals_alone_would_not()
    {
        var random = new Random(12);
        var a = Enumerable.Range(0, 60).Select(_ => 10 * random.NextDouble()).ToArray();
        var b = a.Select(value => value + 0.2 + 0.1 * random.NextDouble()).ToArray();
        var (first, second) = (Interval(a), Interval(b));

        var comparison = Compare(a, b);

        Assert.True(first.High > second.Low, "the two intervals overlap");
        Assert.True(comparison.Interval.Low > 0.2 && comparison.P < 0.001, $"{comparison}");

        static Interval Interval(double[] values) =>
            Bootstrap.Interval(values.Length, rows => BootstrapTests.Mean(rows, r => values[r]));
    }

    [Fact]
    public void The_same_answers_are_no_difference()
    {
        var comparison = Compare([0, 1, 1, 0], [0, 1, 1, 0]);

        Assert.Equal(new PairedComparison(0, new(0, 0), 1), comparison);
    }

    [Fact]
    public void Turned_round_the_difference_changes_its_sign_and_nothing_else()
    {
        var random = new Random(13);
        var a = Enumerable.Range(0, 20).Select(_ => random.NextDouble()).ToArray();
        var b = Enumerable.Range(0, 20).Select(_ => random.NextDouble()).ToArray();
        var (forth, back) = (Compare(a, b), Compare(b, a));

        Assert.Equal(forth.Difference, -back.Difference, 12);
        Assert.Equal(forth.Interval.Low, -back.Interval.High, 12);
        Assert.Equal(forth.P, back.P, 12);
    }

    [Theory]
    // By hand: 4 x .005, 3 x .01, 2 x .03, then not below .06.
    [InlineData(new[] { 0.01, 0.04, 0.03, 0.005 }, new[] { 0.03, 0.06, 0.06, 0.02 })]
    [InlineData(new[] { 0.6, 0.7 }, new[] { 1.0, 1.0 })]
    [InlineData(new double[0], new double[0])]
    public void Holm_steps_down(double[] p, double[] adjusted) =>
        Assert.All(adjusted.Zip(HolmCorrection.Adjust(p)), pair => Assert.Equal(pair.First, pair.Second, 12));

    private static PairedComparison Compare(
        double[] a, double[] b, int permutations = 9999, long seed = 0, int samples = 1000) =>
        PairedComparison.Of(
            a.Length, rows => BootstrapTests.Mean(rows, row => row < a.Length ? a[row] : b[row - a.Length]),
            samples: samples, seed: seed, permutations: permutations);

    private static double Binomial(int n, int k) =>
        Enumerable.Range(1, k).Aggregate(1.0, (product, i) => product * (n - k + i) / i);
}
