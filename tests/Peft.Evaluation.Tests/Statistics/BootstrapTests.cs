using Peft.Evaluation.Statistics;

namespace Peft.Evaluation.Tests.Statistics;

public sealed class BootstrapTests
{
    [Fact]
    public void An_interval_of_a_mean_has_the_width_of_the_normal_distribution()
    {
        // 400 rows, 0 and 1 alternating: standard error 0.5 / 20.
        var interval = Bootstrap.Interval(400, rows => Mean(rows, row => row % 2), samples: 4000);

        Assert.Equal(0.5 - 1.96 * 0.025, interval.Low, 0.004);
        Assert.Equal(0.5 + 1.96 * 0.025, interval.High, 0.004);
    }

    [Fact]
    public void Nineteen_of_twenty_intervals_hold_the_true_value()
    {
        var random = new Random(5);
        var covered = 0;
        const int Trials = 500;
        for (var trial = 0; trial < Trials; trial++)
        {
            // A mean of numbers far from normal: squares of uniform ones, whose expectation is 1/3.
            var values = Enumerable.Range(0, 60).Select(_ => Math.Pow(random.NextDouble(), 2)).ToArray();
            var interval = Bootstrap.Interval(60, rows => Mean(rows, row => values[row]), samples: 400, seed: trial);
            covered += interval.Low <= 1.0 / 3 && 1.0 / 3 <= interval.High ? 1 : 0;
        }

        // 0.95 of 500 trials has a standard deviation of 0.0098; the percentile interval of 60 rows is known to be a
        // little narrow.
        Assert.InRange(covered / (double)Trials, 0.91, 0.975);
    }

    [Fact]
    public void The_interval_of_a_ratio_of_sums_holds_its_true_value()
    {
        var random = new Random(6);
        var covered = 0;
        for (var trial = 0; trial < 300; trial++)
        {
            // Edits over lengths: rows of 1 to 9 units, each wrong with chance 0.3.
            var lengths = Enumerable.Range(0, 80).Select(_ => random.Next(1, 10)).ToArray();
            var edits = lengths.Select(length => Enumerable.Range(0, length).Count(_ => random.NextDouble() < 0.3))
                .ToArray();
            var interval = Bootstrap.Interval(
                80, rows => Mean(rows, r => edits[r]) / Mean(rows, r => lengths[r]), samples: 300, seed: trial);
            covered += interval.Low <= 0.3 && 0.3 <= interval.High ? 1 : 0;
        }

        Assert.InRange(covered / 300.0, 0.90, 0.985);
    }

    [Fact]
    public void The_same_seed_gives_the_same_interval_and_another_seed_another()
    {
        RowMetric metric = rows => Mean(rows, row => Math.Sqrt(row));

        Assert.Equal(Bootstrap.Interval(50, metric, seed: 3), Bootstrap.Interval(50, metric, seed: 3));
        Assert.NotEqual(Bootstrap.Interval(50, metric, seed: 3), Bootstrap.Interval(50, metric, seed: 4));
    }

    [Fact]
    public void Rows_that_all_agree_have_an_interval_without_width() =>
        Assert.Equal(new Interval(1, 1), Bootstrap.Interval(30, rows => Mean(rows, _ => 1)));

    [Fact]
    public void Percentiles_lie_between_neighbours()
    {
        var middle = Bootstrap.Percentiles([.. Enumerable.Range(0, 11).Select(i => (double)i).Reverse()], 0.9);

        Assert.Equal(0.5, middle.Low, 12);
        Assert.Equal(9.5, middle.High, 12);
    }

    internal static double Mean(ReadOnlySpan<int> rows, Func<int, double> value)
    {
        var sum = 0.0;
        foreach (var row in rows)
            sum += value(row);
        return sum / rows.Length;
    }

    [Fact]
    public void The_interval_of_a_difference_is_made_of_the_two_intervals()
    {
        // By hand: -0.13 - hypot(0.065, 0.075) and -0.13 + hypot(0.075, 0.07).
        var difference = Interval.OfDifference(0.44, new(0.375, 0.515), 0.57, new(0.5, 0.645));
        Assert.Equal(-0.229247, difference.Low, 1e-6);
        Assert.Equal(-0.027409, difference.High, 1e-6);
    }
}
