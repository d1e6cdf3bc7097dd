using MathNet.Numerics.Distributions;

namespace Peft.Compare;

/// <summary>A mean over tasks, seeds and rows, with its interval and what speaks against its being zero.</summary>
/// <param name="Mean">Mean over the tasks of the means over seeds and rows.</param>
/// <param name="Low">Lower end of the 95% interval.</param>
/// <param name="High">Upper end of the 95% interval.</param>
/// <param name="P">Two-sided p value of a mean of zero.</param>
internal sealed record SeedsAndRows(double Mean, double Low, double High, double P)
{
    private const double Confidence = 0.95;

    /// <summary>Estimates the mean where both seeds and rows are samples.</summary>
    /// <remarks>
    /// Source: crossed random effects of seeds and rows, their variances by mean squares (Cornfield and Tukey 1956),
    /// the
    /// quasi-F of Clark 1973 with Satterthwaite's degrees of freedom, tasks fixed. With V_s the variance of the mean
    /// as the S
    /// seeds alone tell it, V_r as the rows alone tell it (within tasks) and V_e what of both is noise of a single
    /// row and
    /// seed: Var = V_s + V_r − V_e, and never below the larger of V_s and V_r.
    /// </remarks>
    /// <param name="values">Values by task, seed and row; all tasks have the same seeds. Differences of two arms are
    /// paired
    /// by seed and row.</param>
    public static SeedsAndRows Of(IReadOnlyList<double[][]> values)
    {
        var (tasks, seeds) = (values.Count, values[0].Length);
        var bySeed = Enumerable.Range(0, seeds).Select(seed => values.Average(task => task[seed].Average())).ToArray();
        var mean = bySeed.Average();
        var ofSeeds = seeds > 1 ? Squares(bySeed) / (seeds - 1) / seeds : 0;
        var (ofRows, ofBoth, rowFreedom, bothFreedom) = (0.0, 0.0, 0.0, 0.0);
        foreach (var task in values)
        {
            var rows = task[0].Length;
            var byRow = Enumerable.Range(0, rows).Select(row => task.Average(seed => seed[row])).ToArray();
            var all = byRow.Average();
            ofRows += Squares(byRow) / (rows - 1) / rows / tasks / tasks;
            rowFreedom += rows - 1;
            if (seeds == 1)
                continue;
            var residual = task.Sum(seed =>
            {
                var own = seed.Average();
                return seed.Index().Sum(value => Square(value.Item - own - byRow[value.Index] + all));
            });
            var freedom = (seeds - 1.0) * (rows - 1);
            ofBoth += residual / freedom / seeds / rows / tasks / tasks;
            bothFreedom += freedom;
        }
        var variance = Math.Max(ofSeeds + ofRows - ofBoth, Math.Max(ofSeeds, ofRows));
        if (variance == 0)
            return new(mean, mean, mean, mean == 0 ? 1 : 0);
        var parts = Square(ofRows) / rowFreedom
            + (seeds > 1 ? Square(ofSeeds) / (seeds - 1) + Square(ofBoth) / bothFreedom : 0);
        var student = new StudentT(0, 1, Math.Max(1, Square(variance) / parts));
        var error = Math.Sqrt(variance);
        var half = student.InverseCumulativeDistribution((1 + Confidence) / 2) * error;
        return new(mean, mean - half, mean + half, 2 * student.CumulativeDistribution(-Math.Abs(mean) / error));
    }

    private static double Squares(double[] values)
    {
        var mean = values.Average();
        return values.Sum(value => Square(value - mean));
    }

    private static double Square(double value) => value * value;
}
