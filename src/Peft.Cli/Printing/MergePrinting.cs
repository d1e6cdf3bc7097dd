using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Peft.Adapters.Merging;

namespace Peft.Cli.Printing;

/// <summary>The result of a merge, for people and for programs.</summary>
public static class MergePrinting
{
    private const int WidestMatrix = 12;
    private const int MostPairs = 12;

    private static readonly JsonSerializerOptions SnakeCase = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>The loss of each module and in total, or the similarity of the experts.</summary>
    public static string Text(MergeReport report)
    {
        if (report.Similarity is { } similarity)
            return similarity.Experts <= WidestMatrix ? Matrix(report, similarity) : Pairs(report, similarity);
        var table = new TextTable("module", "rank", "relative error", "energy kept");
        foreach (var loss in report.Losses.Append(report.Total))
            table.Add(loss.Path, $"{loss.Rank}", Number(loss.RelativeError, "F6"), Number(loss.EnergyKept, "F4"));
        return "loss relative to the exact weighted sum (Frobenius norms)\n" + table;
    }

    /// <summary>The same as one JSON object.</summary>
    public static string Json(MergeReport report, string output)
    {
        var similarity = report.Similarity;
        return JsonSerializer.Serialize(
            new
            {
                report.Method,
                Output = output,
                Adapters = report.Names,
                report.Notes,
                Modules = report.Losses.Select(Loss),
                Total = similarity is null ? Loss(report.Total) : null,
                Similarity = similarity is null ? null : PairsOf(similarity).Select(pair => new
                {
                    One = report.Names[pair.One],
                    Other = report.Names[pair.Other],
                    Updates = similarity.OfUpdates(pair.One, pair.Other),
                    Vectors = similarity.OfVectors(pair.One, pair.Other),
                }),
            },
            SnakeCase);
    }

    private static object Loss(ModuleLoss loss) =>
        new { Module = loss.Path, loss.Rank, loss.RelativeError, loss.EnergyKept };

    private static string Matrix(MergeReport report, ExpertSimilarity similarity)
    {
        var table = new TextTable(["updates \\ routing vectors", .. report.Names]);
        for (var i = 0; i < similarity.Experts; i++)
            table.Add([report.Names[i], .. Enumerable.Range(0, similarity.Experts).Select(j =>
                i == j ? "" : Number(j < i ? similarity.OfUpdates(i, j) : similarity.OfVectors(i, j), "F3"))]);
        return "cosine similarity of experts: below the diagonal that of updates, above it that of routing vectors\n"
            + table;
    }

    private static string Pairs(MergeReport report, ExpertSimilarity similarity)
    {
        var table = new TextTable("one", "other", "updates", "routing vectors");
        var nearest = PairsOf(similarity).OrderByDescending(
            pair => Math.Abs(similarity.OfUpdates(pair.One, pair.Other))).Take(MostPairs);
        foreach (var (one, other) in nearest)
        {
            table.Add(
                report.Names[one], report.Names[other], Number(similarity.OfUpdates(one, other), "F3"),
                Number(similarity.OfVectors(one, other), "F3"));
        }
        return $"the {MostPairs} most similar pairs of {similarity.Experts} experts (cosine similarity); "
            + $"--json prints all\n{table}";
    }

    private static IEnumerable<(int One, int Other)> PairsOf(ExpertSimilarity similarity) =>
        from i in Enumerable.Range(0, similarity.Experts)
        from j in Enumerable.Range(i + 1, similarity.Experts - i - 1)
        select (i, j);

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
