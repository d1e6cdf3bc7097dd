using System.Globalization;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>
/// Says which adapter is better, and whether that is more than chance, from the paired differences of main metrics.
/// What is in doubt comes first: adapters among each other, then an adapter and recorded results, then an adapter and
/// the base model.
/// </summary>
public static class VerdictWriter
{
    private const string NotPaired =
        "Only their intervals can be looked at: the scores of the rows are not beside the results.";

    /// <summary>The verdict.</summary>
    public static ReportVerdict Of(ResultsDocument results)
    {
        var adapters = Names(results, Subject.AdapterKind);
        var against = AgainstBase(results, adapters);
        return adapters switch
        {
            [] => new("Only the base model was measured.", "There is nothing to compare it with.", "none"),
            [var one] when Names(results, Subject.RecordedKind) is [.., var recorded] => OfRecorded(
                results, one, recorded, against),
            [var one] => OfOne(results, one),
            [var a, var b] => OfTwo(results, a, b, against),
            _ => OfMany(results, adapters, against),
        };
    }

    /// <summary>The correction in words.</summary>
    public static string CorrectionOf(ResultsDocument results) =>
        $"{char.ToUpperInvariant(results.Settings.Correction[0])}{results.Settings.Correction[1..]}'s correction";

    private static List<string> Names(ResultsDocument results, string kind) =>
        [.. results.Subjects.Where(subject => subject.Kind == kind).Select(subject => subject.Name)];

    // The rows behind recorded numbers are not at hand: a difference is clear where its interval, made of the two
    // intervals, is on one side of zero.
    private static ReportVerdict OfRecorded(ResultsDocument results, string adapter, string recorded, string against)
    {
        var (ahead, behind, within) = (new List<string>(), new List<string>(), new List<string>());
        var hasInterval = true;
        foreach (var task in results.Tasks)
        {
            if (results.ScoreOf(adapter, task.Name, task.Main.Name) is not { Low: { } low, High: { } high }
                || results.ScoreOf(recorded, task.Name, task.Main.Name) is not { } other)
                continue;
            var own = results.ScoreOf(adapter, task.Name, task.Main.Name)!.Value;
            var difference = Interval.OfDifference(
                own, new(low, high), other.Value, new(other.Low ?? other.Value, other.High ?? other.Value));
            var isClear = difference.Low > 0 || difference.High < 0;
            (!isClear ? within : own > other.Value == task.Main.HigherIsBetter ? ahead : behind).Add(task.Name);
            hasInterval &= other.Low is not null;
        }
        var tasks = ahead.Count + behind.Count + within.Count;
        if (tasks == 0)
            return OfOne(results, adapter);
        var rest = within.Count == 0 ? "" : $" On {Words.AllOf(within)} there is no clear difference.";
        var detail = $"{recorded} was recorded earlier: without its rows, differences are judged from "
            + $"the {Percent(results)} {(hasInterval ? "intervals of both" : $"interval of {adapter}")}.";
        return ahead.Count + behind.Count == 0
            ? new(
                $"No clear difference between {adapter} and {recorded} on {OneOrAll(tasks)}.", detail + against,
                "undecided")
            : behind.Count == 0
            ? new(
                $"{adapter} is ahead of {recorded} on {Share(ahead.Count, tasks)}.",
                $"It is ahead on {Words.AllOf(ahead)}.{rest} {detail}{against}", "clear")
            : ahead.Count == 0
            ? new(
                $"{adapter} is behind {recorded} on {Share(behind.Count, tasks)}.",
                $"It is behind on {Words.AllOf(behind)}.{rest} {detail}{against}", "worse")
            : new($"Neither {adapter} nor {recorded} is ahead everywhere.",
                $"{adapter} is ahead on {Words.AllOf(ahead)}, {recorded} on {Words.AllOf(behind)}.{rest} "
                    + $"{detail}{against}", "mixed");
    }

    // A base that solves nothing is no rival: being better than it says little.
    private static ReportVerdict OfOne(ResultsDocument results, string adapter)
    {
        if (
            Names(results, Subject.BaseKind) is not [var name, ..]
                || Tally.Of(results, adapter, name) is not { Tasks: > 0 } tally)
            return new($"{adapter} was measured alone.", "There is nothing to compare it with.", "none");
        var solved = results.Tasks.Where(task => !IsHopeless(results, name, task)).Select(task => task.Name).ToList();
        if (solved.Count == 0)
        {
            var scores = results.Tasks.Select(task => results.ScoreOf(adapter, task.Name, task.Main.Name) is { } score
                ? $"{task.Name}: {ReportText.Words(task.Main.Name)} {ReportText.Number(score.Value)}" : null)
                    .OfType<string>();
            return new(
                $"{adapter} was measured beside the base model only, which scores no better than empty answers on any "
                    + "task.",
                $"{string.Join("; ", scores)}. Evaluate it with another adapter, or record a baseline "
                    + "(evaluation.baselines), to see how good that is.",
                "none");
        }
        var left = results.Tasks.Count - solved.Count;
        var verdict = OfPair(Tally.Of(results, adapter, name, solved), "the base model", results);
        return left == 0 ? verdict : verdict with
        {
            Detail = $"{verdict.Detail} On the other {(left == 1 ? "task" : $"{left} tasks")} the base scores no "
                + "better than empty answers.",
        };
    }

    private static ReportVerdict OfTwo(ResultsDocument results, string a, string b, string against)
    {
        var pair = Tally.Of(results, a, b);
        if (pair.Tasks == 0)
            return new($"{a} and {b} were not compared row by row.", NotPaired + against, "none");
        var verdict = OfPair(pair, null, results);
        return verdict with { Detail = verdict.Detail + against };
    }

    private static ReportVerdict OfPair(Tally pair, string? nameOfB, ResultsDocument results)
    {
        if (pair.Wins.Count == 0 && pair.Losses.Count > 0 && nameOfB is null)
            return OfPair(pair.Reversed(), null, results);
        var (a, b) = (pair.A, nameOfB ?? pair.B);
        if (pair.Wins.Count + pair.Losses.Count == 0 && pair.TooFew.Count == pair.Tasks)
            return new(
                $"Too few rows to tell {a} and {b} apart.",
                $"On {Words.AllOf(pair.TooFew)} no difference could be significant: with so few rows the smallest "
                    + $"possible p is {ReportText.P(RowCheck.SmallestP(results))}, and less than {Alpha(results)} is "
                    + "needed.",
                "undecided");
        var others = pair.Undecided.Count switch
        {
            0 => "",
            1 => $" On the other task ({pair.Undecided[0]}) the difference is within chance.",
            _ => $" On the other {pair.Undecided.Count} tasks the difference is within chance.",
        };
        var level = Level(results);
        return (pair.Wins.Count, pair.Losses.Count) switch
        {
            (0, 0) => new(
                $"No significant difference between {a} and {b}.",
                $"On {(pair.Tasks == 1 ? "the one task" : $"none of the {pair.Tasks} tasks")} measured the paired "
                    + "difference "
                + $"{(pair.Tasks == 1 ? "is within chance" : "is more than chance")} (smallest corrected p = "
                    + $"{ReportText.P(pair.SmallestP)}).",
                "undecided"),
            ( > 0, 0) => new(
                $"{a} is significantly better than {b} on {Share(pair.Wins.Count, pair.Tasks)}.",
                $"On {Words.AllOf(pair.Wins)} the difference is significant{level}.{others}", "clear"),
            (0, _) => new(
                $"{a} is significantly worse than {b} on {Share(pair.Losses.Count, pair.Tasks)}.",
                $"On {Words.AllOf(pair.Losses)} the difference is significant{level}.{others}", "worse"),
            _ => new(
                $"Neither {a} nor {b} is better everywhere.",
                $"{a} is ahead on {Words.AllOf(pair.Wins)}, {b} on {Words.AllOf(pair.Losses)}; these differences are "
                    + $"significant{level}.{others}",
                "mixed"),
        };
    }

    private static ReportVerdict OfMany(ResultsDocument results, List<string> adapters, string against)
    {
        var standings = adapters.Select(name => Standing.Of(results, name, adapters)).OrderByDescending(s => s.Lead)
            .ToList();
        var (first, second) = (standings[0], standings[1]);
        if (standings.All(s => s.Compared == 0))
            return new($"The {adapters.Count} adapters were not compared row by row.", NotPaired + against, "none");
        if (MeasuredAgainst(results, adapters) is { } reference)
            return OfReference(results, reference, [.. adapters.Where(name => name != reference)], against);
        if (standings.All(s => s.Wins == 0))
            return new(
                $"No significant difference among the {adapters.Count} adapters.",
                "None of the paired differences between them is more than chance." + against, "undecided");
        if (first.Lead == second.Lead)
        {
            var tied = standings.TakeWhile(s => s.Lead == first.Lead).Select(s => s.Name).ToList();
            return new(
                $"No single adapter leads: {Words.AllOf(tied)} share the first place.",
                $"Each has {Words.Count(first.Lead, "more significant difference")} in its favor than against "
                    + $"it{Level(results)}.{against}", "mixed");
        }
        return new(
            $"{first.Name} leads the {adapters.Count} adapters.",
            $"Of its {Words.Count(first.Compared, "paired comparison")} with the others, {first.Wins} are "
                + "significantly in its favor and "
            + $"{first.Losses} against it{Level(results)}.{against}", first.Losses == 0 ? "clear" : "mixed");
    }

    // The one that all others were compared with, where they were not compared with each other.
    private static string? MeasuredAgainst(ResultsDocument results, List<string> adapters)
    {
        var pairs = results.Comparisons.Where(c => adapters.Contains(c.A) && adapters.Contains(c.B)).ToList();
        return adapters.Count < 3 ? null : adapters.FirstOrDefault(name =>
            pairs.All(pair => pair.A == name || pair.B == name)
            && adapters.All(other => other == name || pairs.Exists(pair => pair.A == other || pair.B == other)));
    }

    private static ReportVerdict OfReference(
        ResultsDocument results, string reference, List<string> others, string against)
    {
        const int Named = 8;
        var tallies = others.Select(name => Tally.Of(results, name, reference)).ToList();
        List<string> better = [.. tallies.Where(t => t.Wins.Count > 0).Select(t => t.A)];
        List<string> worse = [.. tallies.Where(t => t.Losses.Count > 0).Select(t => t.A)];
        var on = results.Tasks.Count == 1 ? "" : " on at least one task";
        var (headline, tone) = (better.Count, worse.Count) switch
        {
            (0, 0) => ($"None of {others.Count} adapters differs significantly from {reference}.", "undecided"),
            (0, _) => ($"None of {others.Count} adapters is significantly better than {reference}.", "worse"),
            _ => ($"{better.Count} of {others.Count} adapters {(better.Count == 1 ? "is" : "are")} significantly "
                + $"better than {reference}{on}.", worse.Count == 0 ? "clear" : "mixed"),
        };
        return new(
            headline,
            $"Each was compared with {reference}, none with another{Level(results)}.{Of(better, "better")}"
                + $"{Of(worse, "worse")}{against}", tone);

        string Of(List<string> names, string how) => names.Count == 0 ? ""
            : $" Significantly {how}{on}: {(names.Count > Named ? $"{names.Count} of them" : Words.AllOf(names))}.";
    }

    private static string AgainstBase(ResultsDocument results, List<string> adapters)
    {
        if (Names(results, Subject.BaseKind) is not [var name, ..])
            return "";
        var tallies = adapters.Select(adapter => Tally.Of(results, adapter, name)).Where(t => t.Tasks > 0).ToList();
        if (tallies.Count == 0)
            return "";
        var subject = tallies.Count switch { 1 => $"{tallies[0].A} is", 2 => "Both are", _ => "All are" };
        return tallies.All(t => t.Wins.Count == t.Tasks)
            ? $" {subject} significantly better than the base model on {OneOrAll(tallies[0].Tasks)}."
            : " Against the base model: " + string.Join("; ", tallies.Select(t =>
                $"{t.A} is better on {t.Wins.Count} of "
                    + $"{t.Tasks}" + (t.Losses.Count > 0 ? $", worse on {t.Losses.Count}" : ""))) + ".";
    }

    // No row is right, or as many mistakes as there are things to get right: what empty answers score.
    private static bool IsHopeless(ResultsDocument results, string subject, MeasuredTask task) =>
        results.ScoreOf(subject, task.Name, task.Main.Name) is { } score && task.Main.Unit is "rate" or "score"
            && (task.Main.HigherIsBetter ? score.Value <= 0 : score.Value >= 1);

    private static string OneOrAll(int tasks) => tasks == 1 ? "the one task" : "every task";

    private static string Share(int some, int tasks) => some == tasks ? OneOrAll(tasks) : $"{some} of {tasks} tasks";

    private static string Percent(ResultsDocument results) => ReportText.Percent(results.Settings.Confidence);

    private static string Level(ResultsDocument results) =>
        $" (p below {Alpha(results)}"
        + (results.Settings.Correction == "none" ? ")" : $" after {CorrectionOf(results)})");

    private static string Alpha(ResultsDocument results) =>
        (1 - results.Settings.Confidence).ToString("0.##", CultureInfo.InvariantCulture);

    /// <summary>How an adapter does against all others.</summary>
    private sealed record Standing(string Name, int Wins, int Losses, int Compared)
    {
        public int Lead => Wins - Losses;

        public static Standing Of(ResultsDocument results, string name, List<string> adapters)
        {
            var tallies = adapters.Where(other => other != name).Select(other => Tally.Of(results, name, other))
                .ToList();
            return new(
                name, tallies.Sum(t => t.Wins.Count), tallies.Sum(t => t.Losses.Count), tallies.Sum(t => t.Tasks));
        }
    }

    /// <summary>On which tasks a is significantly better than b, and the other way round.</summary>
    private sealed record Tally(
        string A, string B, int Tasks, List<string> Wins, List<string> Losses, List<string> Undecided,
        List<string> TooFew, double SmallestP)
    {
        public static Tally Of(ResultsDocument results, string a, string b, IReadOnlyList<string>? tasks = null)
        {
            var tally = new Tally(a, b, 0, [], [], [], [], 1);
            foreach (var task in results.Tasks.Where(task => tasks is null || tasks.Contains(task.Name)))
            {
                if (results.ComparisonOf(task.Name, task.Main.Name, a, b) is not { } comparison)
                    continue;
                // The difference is b less a.
                var isGain = task.Main.HigherIsBetter ? comparison.Difference < 0 : comparison.Difference > 0;
                (!comparison.Significant ? tally.Undecided : isGain ? tally.Wins : tally.Losses).Add(task.Name);
                if (RowCheck.IsTooFew(results, comparison))
                    tally.TooFew.Add(task.Name);
                tally = tally with
                {
                    Tasks = tally.Tasks + 1,
                    SmallestP = Math.Min(tally.SmallestP, comparison.PAdjusted),
                };
            }
            return tally;
        }

        public Tally Reversed() => this with { A = B, B = A, Wins = Losses, Losses = Wins };
    }
}

/// <summary>Paired differences in words.</summary>
internal static class ComparisonWriter
{
    /// <summary>All of them: adapters with each other before those with the base, in the order of the tasks.</summary>
    public static IReadOnlyList<(ReportComparison Text, bool IsMain)> Of(ResultsDocument results)
    {
        var bases = results.Subjects.Where(s => s.Kind == Subject.BaseKind).Select(s => s.Name).ToHashSet();
        var order = results.Tasks.Index().ToDictionary(t => t.Item.Name, t => t.Index);
        return [.. results.Comparisons
            .OrderBy(c => bases.Contains(c.A) || bases.Contains(c.B))
            .ThenBy(c => order[c.Task])
            .Select(c => Of(results, c, results.Tasks[order[c.Task]]))];
    }

    private static (ReportComparison, bool) Of(ResultsDocument results, Comparison c, MeasuredTask task)
    {
        var metric = task.Metrics.First(m => m.Name == c.Metric);
        var better = ReportBuilder.Better(c, metric);
        var text = new ReportComparison(
            c.Task, c.Metric, ReportText.Words(c.Metric), c.A, c.B, ReportText.Signed(c.Difference),
            ReportText.Interval(c.Low, c.High), ReportText.P(c.P), ReportText.P(c.PAdjusted), better is not null,
            better ?? "",
            better is not null ? $"{better} is significantly better"
            : RowCheck.IsTooFew(results, c) ? "too few rows to tell" : "no significant difference");
        return (text, metric == task.Main);
    }
}

/// <summary>Whether rows are many enough for a difference to be more than chance.</summary>
internal static class RowCheck
{
    /// <summary>True where no outcome at all could have been significant.</summary>
    /// <remarks>
    /// The two outcomes of n rows trade places in 2^n ways, of which two are as extreme as can be: p is 2 / 2^n at
    /// least. Holm's correction multiplies the smallest p by the number of comparisons, and no other ends below it.
    /// </remarks>
    public static bool IsTooFew(ResultsDocument results, Comparison comparison)
    {
        if (comparison.Significant)
            return false;
        var level = 1 - results.Settings.Confidence;
        return OfRows(results.Tasks.First(task => task.Name == comparison.Task).Rows) >= level
            || SmallestP(results) >= level;
    }

    /// <summary>The smallest p, corrected, that any comparison of these results could have had.</summary>
    public static double SmallestP(ResultsDocument results)
    {
        var compared = results.Comparisons.Select(other => other.Task).ToHashSet();
        var least = OfRows(results.Tasks.Where(task => compared.Contains(task.Name)).Max(task => task.Rows));
        return Math.Min(1, results.Settings.Correction == "none" ? least : results.Comparisons.Count * least);
    }

    private static double OfRows(int rows) => Math.Pow(2, 1 - rows);
}
