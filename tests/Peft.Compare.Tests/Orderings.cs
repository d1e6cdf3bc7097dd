using System.Globalization;
using Peft.Evaluation.Statistics;

namespace Peft.Compare;

/// <summary>What a paper says is better than something else.</summary>
/// <param name="Claim">The claim, with its source.</param>
/// <param name="Study">The study that tells.</param>
/// <param name="Setting">Its setting.</param>
/// <param name="Better">The arm that should be better.</param>
/// <param name="Worse">The arm that should be worse.</param>
internal sealed record Ordering(string Claim, string Study, string Setting, string Better, string Worse)
{
    private const string Own = MergeSetting.Own;

    /// <summary>The claims that the studies can tell about.</summary>
    public static IReadOnlyList<Ordering> All { get; } =
    [
        new("LoRA-Mixer over MoLA", "methods", "four",
            "lora-mixer", "mola"),
        new("DynMoLE with its entropy loss over without (arXiv 2504.00661)", "methods", "four", "dynmole",
            "dynmole, no entropy loss"),
        new("rsLoRA over LoRA at high rank (arXiv 2312.03732)", "rank", "high", "rslora", "lora"),
        .. from setting in (string[])["words", "equal-ends"]
           from worse in (string[])["average", "ties", "arrow"]
           select new Ordering($"PHATGOOSE over {worse} (arXiv 2402.05859), prompts: {setting}", "merges", setting,
               "phatgoose", worse),
    ];

    /// <summary>The claims, what was found, and whether it is more than chance (Holm over all of them).</summary>
    /// <param name="runs">The runs of a study; null where it was not made.</param>
    /// <returns>The table; null where no study that tells was made.</returns>
    public static string? Table(Func<string, IReadOnlyList<Measured>?> runs)
    {
        var found = All.Select(one => (one.Claim, Difference: runs(one.Study) is { } own
                ? DifferenceOf(own, one.Setting, one.Better, one.Worse) : null))
            .Append((
                Claim: "averaging FlyLoRAs loses less than averaging LoRAs (arXiv 2510.08396): difference of losses",
                Difference: runs("merges") is { } merges ? LossesOf(merges) : null)).ToList();
        var told = found.Where(one => one.Difference is not null).ToList();
        var adjusted = HolmCorrection.Adjust([.. told.Select(one => one.Difference!.P)]);
        List<string> lines = ["| claim | difference of the means | p (Holm) | here |", "|---|---|---|---|"];
        foreach (var ((claim, difference), p) in told.Zip(adjusted))
            lines.Add(string.Create(CultureInfo.InvariantCulture,
                $"| {claim} | {Tables.Of(difference!)} | {Tables.P(p)} | {Verdict(difference!, p)} |"));
        if (runs("methods") is { } methods)
            lines.Add(SupportOf(methods));
        return lines.Count > 2 ? string.Join('\n', lines) : null;
    }

    private static string Verdict(SeedsAndRows difference, double p) =>
        p >= Finding.Decided ? "not decided" : difference.Mean > 0 ? "confirmed" : "refuted";

    private static SeedsAndRows? DifferenceOf(IReadOnlyList<Measured> runs, string setting, string better, string worse)
    {
        var (first, second) = (Scores(runs, setting, better), Scores(runs, setting, worse));
        return first.Count == 0 || first.Count != second.Count ? null
            : SeedsAndRows.Of([.. first.Select(task => Finding.Minus(task.Value, second[task.Key]))]);
    }

    // What merging LoRAs loses, less what merging FlyLoRAs loses; the same rows and prompts.
    private static SeedsAndRows? LossesOf(IReadOnlyList<Measured> runs)
    {
        var (lora, loraMerged) = (Scores(runs, "equal-ends", Own), Scores(runs, "equal-ends", "average"));
        var (fly, flyMerged) = (Scores(runs, "flylora", Own), Scores(runs, "flylora", "average"));
        return lora.Count == 0 || fly.Count == 0 ? null : SeedsAndRows.Of([.. lora.Keys.Select(task => Finding.Minus(
            Finding.Minus(lora[task], loraMerged[task]), Finding.Minus(fly[task], flyMerged[task])))]);
    }

    private static Dictionary<string, double[][]> Scores(IReadOnlyList<Measured> runs, string setting, string arm) =>
        Finding.Scores([.. runs.Where(run => run.Setting == setting && run.Arm == arm).OrderBy(run => run.Seed)]);

    private static string SupportOf(IReadOnlyList<Measured> runs)
    {
        var words = runs.Where(run => run.Support.Count > 0).GroupBy(run => run.Arm).Select(arm => string.Create(
            CultureInfo.InvariantCulture,
            $"{arm.Key} {arm.Average(run => run.Support[0]):0.00} to {arm.Average(run => run.Support[^1]):0.00}"));
        return "| ReMix keeps the effective number of experts at k while learned gates collapse (arXiv 2603.10160) | "
            + $"first to last report: {string.Join("; ", words)} | | see the numbers |";
    }
}
