namespace Peft.Evaluation.Metrics;

/// <summary>One value from what some rows contribute.</summary>
/// <param name="rows">What every row contributes.</param>
/// <param name="chosen">The rows meant; resampling repeats some.</param>
public delegate double Combine(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen);

/// <summary>
/// The ways to combine rows. A value that the rows do not define is 0, so that resampled rows always have one.
/// </summary>
public static class Aggregate
{
    /// <summary>Mean of the first number.</summary>
    public static double Mean(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen)
    {
        var sum = 0.0;
        foreach (var row in chosen)
            sum += rows[row][0];
        return sum / Math.Max(1, chosen.Length);
    }

    /// <summary>Sum of the first number over the sum of the second; over 1 where that sum is 0.</summary>
    public static double Ratio(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen)
    {
        var (over, under) = (0.0, 0.0);
        foreach (var row in chosen)
        {
            over += rows[row][0];
            under += rows[row][1];
        }
        return over / Math.Max(1, under);
    }

    /// <summary>Mean of the F1 score of each label that is expected or predicted.</summary>
    /// <remarks>Source: Sokolova and Lapalme 2009, macro averaging of F1; labels that do not occur are left out, as in
    /// scikit-learn. Rows: expected label, predicted label, from 0.</remarks>
    public static double MacroF1(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen)
    {
        var (expected, predicted, hits) = Counts(rows, chosen);
        var (sum, labels) = (0.0, 0);
        for (var label = 0; label < hits.Length; label++)
        {
            if (expected[label] + predicted[label] is var both and > 0)
                (sum, labels) = (sum + 2.0 * hits[label] / both, labels + 1);
        }
        return sum / Math.Max(1, labels);
    }

    /// <summary>Matthews correlation for any number of labels.</summary>
    /// <remarks>Source: Gorodkin 2004, R_K; for two labels Matthews 1975. Rows: expected label, predicted label, from
    /// 0. 0 where all are predicted or expected alike.</remarks>
    public static double MatthewsCorrelation(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen)
    {
        var (expected, predicted, hits) = Counts(rows, chosen);
        double n = chosen.Length;
        var (both, predictedSquares, expectedSquares) = (0.0, 0.0, 0.0);
        for (var label = 0; label < hits.Length; label++)
        {
            both += (double)expected[label] * predicted[label];
            predictedSquares += (double)predicted[label] * predicted[label];
            expectedSquares += (double)expected[label] * expected[label];
        }
        var spread = (n * n - predictedSquares) * (n * n - expectedSquares);
        return spread <= 0 ? 0 : (n * hits.Sum() - both) / Math.Sqrt(spread);
    }

    /// <summary>Pearson's correlation of the two numbers of the rows; 0 where one of them is constant.</summary>
    public static double Pearson(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen) =>
        Correlation(Column(rows, chosen, 0), Column(rows, chosen, 1));

    /// <summary>Spearman's correlation: Pearson's of the ranks, equal values sharing the mean of theirs.</summary>
    public static double Spearman(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen) =>
        Correlation(Ranks(Column(rows, chosen, 0)), Ranks(Column(rows, chosen, 1)));

    private static (int[] Expected, int[] Predicted, int[] Hits) Counts(
        IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen)
    {
        var most = 0;
        foreach (var row in chosen)
            most = Math.Max(most, (int)Math.Max(rows[row][0], rows[row][1]));
        var (expected, predicted, hits) = (new int[most + 1], new int[most + 1], new int[most + 1]);
        foreach (var row in chosen)
        {
            var (gold, guess) = ((int)rows[row][0], (int)rows[row][1]);
            expected[gold]++;
            predicted[guess]++;
            if (gold == guess)
                hits[gold]++;
        }
        return (expected, predicted, hits);
    }

    private static double[] Column(IReadOnlyList<double[]> rows, ReadOnlySpan<int> chosen, int column)
    {
        var values = new double[chosen.Length];
        for (var i = 0; i < values.Length; i++)
            values[i] = rows[chosen[i]][column];
        return values;
    }

    private static double Correlation(double[] a, double[] b)
    {
        if (a.Length == 0)
            return 0;
        var (meanA, meanB) = (a.Average(), b.Average());
        var (covariance, varianceA, varianceB) = (0.0, 0.0, 0.0);
        for (var i = 0; i < a.Length; i++)
        {
            covariance += (a[i] - meanA) * (b[i] - meanB);
            varianceA += (a[i] - meanA) * (a[i] - meanA);
            varianceB += (b[i] - meanB) * (b[i] - meanB);
        }
        return varianceA <= 0 || varianceB <= 0 ? 0 : covariance / Math.Sqrt(varianceA * varianceB);
    }

    private static double[] Ranks(double[] values)
    {
        var order = Enumerable.Range(0, values.Length).ToArray();
        Array.Sort([.. values], order);
        var ranks = new double[values.Length];
        for (var from = 0; from < order.Length;)
        {
            var to = from;
            while (to < order.Length && values[order[to]] == values[order[from]])
                to++;
            for (var i = from; i < to; i++)
                ranks[order[i]] = (from + to + 1) / 2.0;
            from = to;
        }
        return ranks;
    }
}
