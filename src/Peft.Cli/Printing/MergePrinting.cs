using System.Globalization;
using System.Text.Json;
using Peft.Adapters.Merging;

namespace Peft.Cli.Printing;

/// <summary>What a merge came to, for people and for programs.</summary>
public static class MergePrinting
{
    private const int WidestMatrix = 12;
    private const int MostPairs = 12;

    private static readonly JsonSerializerOptions SnakeCase = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>The loss a module and in all, or the similarity of the experts.</summary>
    public static string Text(MergeReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        if (report.Similarity is { } similarity)
            return similarity.Experts <= WidestMatrix ? Matrix(report, similarity) : Pairs(report, similarity);
        var table = new TextTable("module", "rank", "relative error", "energy kept");
        foreach (var loss in report.Losses.Append(report.Total))
            table.Add(loss.Path, $"{loss.Rank}", Number(loss.RelativeError, "F6"), Number(loss.EnergyKept, "F4"));
        return "loss against the exact weighted sum (Frobenius norms)\n" + table;
    }

    /// <summary>The same as one JSON object.</summary>
    public static string Json(MergeReport report, string output)
    {
        ArgumentNullException.ThrowIfNull(report);
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

    private static object Loss(ModuleLoss loss) => new { Module = loss.Path, loss.Rank, loss.RelativeError, loss.EnergyKept };

    private static string Matrix(MergeReport report, ExpertSimilarity similarity)
    {
        var table = new TextTable(["updates \\ routing vectors", .. report.Names]);
        for (var i = 0; i < similarity.Experts; i++)
            table.Add([report.Names[i], .. Enumerable.Range(0, similarity.Experts).Select(j =>
                i == j ? "" : Number(j < i ? similarity.OfUpdates(i, j) : similarity.OfVectors(i, j), "F3"))]);
        return "similarity of the experts (cosine): below the diagonal of their updates, above of what they are chosen by\n" + table;
    }

    private static string Pairs(MergeReport report, ExpertSimilarity similarity)
    {
        var table = new TextTable("one", "other", "updates", "routing vectors");
        foreach (var (one, other) in PairsOf(similarity).OrderByDescending(pair => Math.Abs(similarity.OfUpdates(pair.One, pair.Other))).Take(MostPairs))
            table.Add(report.Names[one], report.Names[other], Number(similarity.OfUpdates(one, other), "F3"), Number(similarity.OfVectors(one, other), "F3"));
        return $"the {MostPairs} most similar pairs of {similarity.Experts} experts (cosine); --json prints all\n" + table;
    }

    private static IEnumerable<(int One, int Other)> PairsOf(ExpertSimilarity similarity) =>
        Enumerable.Range(0, similarity.Experts).SelectMany(i => Enumerable.Range(i + 1, similarity.Experts - i - 1).Select(j => (i, j)));

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
