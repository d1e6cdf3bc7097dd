using System.Globalization;
using System.Text.RegularExpressions;
using Peft.Formats.Files;

namespace Peft.Compare;

/// <summary>Findings as tables in Markdown, put between their marks in a file.</summary>
internal static class Tables
{
    /// <summary>The table of a study: one line an arm and setting.</summary>
    /// <param name="study">The study.</param>
    /// <param name="findings">What it found.</param>
    /// <param name="ranks">The rank of each arm.</param>
    public static string Of(Study study, IReadOnlyList<Finding> findings, RankChoices ranks)
    {
        // Tasks have columns where all settings have the same.
        var (manySettings, trains) = (study.Settings.Count > 1, study.Merges.Count == 0);
        var tasks = findings.All(finding => finding.ByTask.Keys.SequenceEqual(findings[0].ByTask.Keys))
            && study.Settings.Count < 4 ? findings[0].ByTask.Keys.ToList() : [];
        var first = findings[0].Runs[0];
        string[] head =
        [
            .. manySettings ? ["setting"] : (string[])[], "arm", .. trains ? ["rank", "trained"] : (string[])[],
            .. tasks.Select(task => task + (first.Tasks[task].HigherIsBetter ? "" : " (lower is better)")),
            "mean of the tasks", $"less {study.Reference}", "p (Holm)",
            .. trains ? ["rate", $"step / {study.Reference}", "peak MB", "experts"] : (string[])[],
        ];
        List<string> lines = [Line(head), Line(head.Select(_ => "---"))];
        foreach (var group in findings.GroupBy(finding => finding.Setting))
        {
            var plain = group.FirstOrDefault(finding => finding.Arm.Name == study.Reference)?.Runs
                .Min(run => run.TokenSeconds);
            lines.AddRange(group.Select(finding => Line(Cells(finding, plain))));
        }
        return string.Join('\n', lines);

        static string Line(IEnumerable<string> cells) => $"| {string.Join(" | ", cells)} |";

        IEnumerable<string> Cells(Finding finding, double? plain)
        {
            if (manySettings)
                yield return finding.Setting.Words;
            yield return finding.Arm.Name;
            if (trains)
            {
                var rank = ranks.Of(finding.Setting, finding.Arm);
                yield return rank.Words;
                yield return rank.Trainable.ToString("N0", CultureInfo.InvariantCulture);
            }
            foreach (var task in tasks)
                yield return WithHalf(finding.ByTask[task]);
            yield return WithHalf(finding.Mean);
            yield return finding.Difference is { } difference ? Of(difference) : "";
            yield return finding.Difference is null ? "" : P(finding.PAdjusted);
            if (!trains)
                yield break;
            yield return finding.Runs[0].Rate.ToString("0.0e-0", CultureInfo.InvariantCulture);
            yield return plain is { } own
                ? Number(finding.Runs.Min(run => run.TokenSeconds) / own, "0.00") : "";
            yield return Number(finding.Runs.Max(run => run.PeakMegabytes), "0");
            yield return finding.Runs.All(run => run.Support.Count > 0)
                ? Number(finding.Runs.Average(run => run.Support[^1]), "0.00") : "";
        }
    }

    /// <summary>Puts a table between <c>&lt;!-- compare: NAME --&gt;</c> and <c>&lt;!-- end --&gt;</c>.</summary>
    /// <exception cref="InvalidOperationException">The file lacks the marks, or has them twice.</exception>
    public static void Put(string file, string name, string table)
    {
        var text = File.ReadAllText(file);
        var place = new Regex(
            $@"(?<=<!-- compare: {Regex.Escape(name)} -->\n).*?(?=<!-- end -->)", RegexOptions.Singleline);
        if (place.Count(text) is var places and not 1)
            throw new InvalidOperationException(
                $"{file}: {places} lines <!-- compare: {name} --> with <!-- end --> below them; expected one");
        AtomicFile.WriteText(file, place.Replace(text, _ => table + "\n"));
    }

    private static string WithHalf(SeedsAndRows value) =>
        $"{Number(value.Mean, "0.000")} ± {Number((value.High - value.Low) / 2, "0.000")}";

    private static string Signed(double value) => Number(value, "+0.000;-0.000;0.000");

    /// <summary>A difference with its interval.</summary>
    public static string Of(SeedsAndRows difference) =>
        $"{Signed(difference.Mean)} [{Signed(difference.Low)}, {Signed(difference.High)}]";

    /// <summary>A p value in words of a table.</summary>
    public static string P(double value) => value < 0.001 ? "< 0.001" : Number(value, "0.000");

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
