using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Tests.Metrics;

/// <summary>
/// Classification metrics against their textbook formulas, on random tables of expected and predicted labels.
/// </summary>
public sealed class AggregateTests
{
    private static readonly List<(int Labels, List<double[]> Rows)> Tables =
        [.. Enumerable.Range(0, 40).Select(seed => (2 + seed % 4, Table(new Random(seed), 2 + seed % 4)))];

    [Fact]
    public void Macro_F1_is_the_mean_over_labels_of_precision_and_recall_combined() => Assert.All(Tables, table =>
    {
        var scores = new List<double>();
        for (var label = 0; label < table.Labels; label++)
        {
            double hits = table.Rows.Count(row => row[0] == label && row[1] == label);
            double expected = table.Rows.Count(row => row[0] == label);
            double predicted = table.Rows.Count(row => row[1] == label);
            if (expected == 0 && predicted == 0)
                continue;
            var (precision, recall) = (predicted == 0 ? 0 : hits / predicted, expected == 0 ? 0 : hits / expected);
            scores.Add(precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall));
        }
        Assert.Equal(scores.Average(), Of(Aggregate.MacroF1, table.Rows), 1e-12);
    });

    [Fact]
    public void Matthews_correlation_of_two_labels_is_the_one_of_1975() =>
        Assert.All(Tables.Where(table => table.Labels == 2), table =>
    {
        double tp = table.Rows.Count(r => r[0] == 1 && r[1] == 1), tn = table.Rows.Count(r => r[0] == 0 && r[1] == 0);
        double fp = table.Rows.Count(r => r[0] == 0 && r[1] == 1), fn = table.Rows.Count(r => r[0] == 1 && r[1] == 0);
        var under = Math.Sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn));
        Assert.Equal(
            under == 0 ? 0 : (tp * tn - fp * fn) / under, Of(Aggregate.MatthewsCorrelation, table.Rows), 1e-12);
    });

    [Fact]
    public void Matthews_correlation_of_more_labels_is_the_correlation_of_their_indicators() =>
        Assert.All(Tables, table =>
    {
        // Gorodkin's R_K: covariance of the indicator vectors, summed over labels.
        double Covariance(int a, int b) => Enumerable.Range(0, table.Labels).Sum(label =>
            table.Rows.Average(r => (r[a] == label ? 1.0 : 0) * (r[b] == label ? 1 : 0))
            - table.Rows.Average(r => r[a] == label ? 1.0 : 0) * table.Rows.Average(r => r[b] == label ? 1.0 : 0));
        var under = Math.Sqrt(Covariance(0, 0) * Covariance(1, 1));
        Assert.Equal(under < 1e-12 ? 0 : Covariance(0, 1) / under, Of(Aggregate.MatthewsCorrelation, table.Rows), 1e-9);
    });

    [Fact]
    public void The_examples_of_scikit_learns_own_documentation_come_out()
    {
        // sklearn.metrics.f1_score, average="macro", prints 0.26...; by label 0.8, 0 and 0.
        List<double[]> three = [[0, 0], [1, 2], [2, 1], [0, 0], [1, 0], [2, 1]];
        Assert.Equal(0.8 / 3, Of(Aggregate.MacroF1, three), 1e-12);
        // sklearn.metrics.matthews_corrcoef, [+1, +1, +1, -1] and [+1, -1, +1, +1], prints -0.33...
        List<double[]> two = [[1, 1], [1, 0], [1, 1], [0, 1]];
        Assert.Equal(-1 / 3.0, Of(Aggregate.MatthewsCorrelation, two), 1e-12);
    }

    [Fact]
    public void One_label_for_all_correlates_with_nothing()
    {
        List<double[]> rows = [[0, 1], [1, 1], [0, 1]];
        Assert.Equal(0, Of(Aggregate.MatthewsCorrelation, rows));
        Assert.Equal(0, Of(Aggregate.Pearson, rows));
        Assert.Equal((0 + 2 * (1 / 3.0) / (4 / 3.0)) / 2, Of(Aggregate.MacroF1, rows), 1e-12);
    }

    [Fact]
    public void Correlations_are_those_of_the_definitions()
    {
        var random = new Random(5);
        for (var time = 0; time < 20; time++)
        {
            List<double[]> rows =
            [
                .. Enumerable.Range(0, 3 + random.Next(20)).Select(_ => new[] { random.NextDouble(), random.Next(4) }),
            ];
            Assert.Equal(
                Pearson([.. rows.Select(r => r[0])], [.. rows.Select(r => r[1])]), Of(Aggregate.Pearson, rows), 1e-9);
            // A rank is the number of smaller values plus half of the equal ones.
            double[] Ranks(
                int column) =>
                [
                    .. rows.Select(
                        r => rows.Count(o => o[column] < r[column]) + rows.Count(o => o[column] == r[column]) / 2.0),
                ];
            Assert.Equal(Pearson(Ranks(0), Ranks(1)), Of(Aggregate.Spearman, rows), 1e-9);
        }
    }

    [Fact]
    public void Chosen_rows_alone_count_as_often_as_they_are_chosen()
    {
        List<double[]> rows = [[1, 2], [0, 4], [3, 1]];
        Assert.Equal((1 + 1 + 3) / 3.0, Aggregate.Mean(rows, [0, 0, 2]));
        Assert.Equal(5 / 5.0, Aggregate.Ratio(rows, [0, 0, 2]));
        Assert.Equal(0, Aggregate.Ratio([[0, 0]], [0]));
    }

    private static double Of(Combine combine, List<double[]> rows) =>
        combine(rows, [.. Enumerable.Range(0, rows.Count)]);

    private static List<double[]> Table(Random random, int labels) =>
        [
            .. Enumerable.Range(0, 1 + random.Next(30))
                .Select(_ => new double[] { random.Next(labels), random.Next(labels) }),
        ];

    private static double Pearson(double[] a, double[] b)
    {
        var (ma, mb) = (a.Average(), b.Average());
        var (sa, sb) = (Math.Sqrt(a.Average(x => (x - ma) * (x - ma))), Math.Sqrt(b.Average(x => (x - mb) * (x - mb))));
        return sa == 0 || sb == 0 ? 0 : a.Zip(b, (x, y) => (x - ma) / sa * ((y - mb) / sb)).Average();
    }
}
