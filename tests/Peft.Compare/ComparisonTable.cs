using System.Globalization;

namespace Peft.Compare;

/// <summary>The runs as a Markdown table: means over the seeds, and 95% intervals of the mean (Student's t).</summary>
internal static class ComparisonTable
{
    // Two-sided 95% quantiles of Student's t for 1 to 9 degrees of freedom.
    private static readonly double[] Quantiles = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

    public static string Of(IReadOnlyList<(Method Method, RankChoice Rank, IReadOnlyList<MethodRun> Runs)> rows)
    {
        var tasks = rows[0].Runs[0].Metrics.Keys.ToList();
        var lower = rows[0].Runs[0].HigherIsBetter;
        var reference = rows.FirstOrDefault(row => row.Method.Name == Method.Reference).Runs is { } plain
            ? Mean(plain, run => run.TokenSeconds) : double.NaN;
        List<string> lines =
        [
            $"| method | rank | trainable parameters | "
            + $"{string.Join(" | ", tasks.Select(task => task + (lower[task] ? "" : " (lower is better)")))} | step / "
            + $"LoRA | peak MB | experts used (effective number) |",
            $"|---|---|---|{string.Concat(Enumerable.Repeat("---|", tasks.Count))}---|---|---|",
        ];
        foreach (var (method, rank, runs) in rows)
        {
            var cells = tasks.Select(task => Interval([.. runs.Select(run => run.Metrics[task])]));
            var support = runs.All(run => run.EffectiveSupport is not null)
                ? Number(Mean(runs, run => run.EffectiveSupport!.Value), "0.00") : "-";
            lines.Add(
                $"| {method.Name} | {rank.Words} | {rank.Trainable.ToString("N0", CultureInfo.InvariantCulture)} | "
                + $"{string.Join(" | ", cells)} "
                + $"| {Number(Mean(runs, run => run.TokenSeconds) / reference, "0.00")} | "
                + $"{Number(runs.Max(run => run.PeakMegabytes), "0")} | {support} |");
        }
        return string.Join('\n', lines);
    }

    private static string Interval(List<double> values)
    {
        var mean = values.Average();
        if (values.Count < 2)
            return Number(mean, "0.000");
        var deviation = Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1));
        var half = Quantiles[Math.Min(values.Count - 2, Quantiles.Length - 1)] * deviation / Math.Sqrt(values.Count);
        return $"{Number(mean, "0.000")} ± {Number(half, "0.000")}";
    }

    private static double Mean(IReadOnlyList<MethodRun> runs, Func<MethodRun, double> value) => runs.Average(value);

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
