using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;

namespace Peft.Evaluation.Reports;

/// <summary>Says which adapter is better, and whether that is more than chance, from the paired differences of main metrics.</summary>
internal static class VerdictWriter
{
    /// <summary>The verdict.</summary>
    public static ReportVerdict Of(ResultsDocument results)
    {
        var adapters = results.Subjects.Where(s => s.Kind == Subject.AdapterKind).Select(s => s.Name).ToList();
        var bases = results.Subjects.Where(s => s.Kind == Subject.BaseKind).Select(s => s.Name).ToList();
        if (adapters.Count == 0)
            return new("The bare base alone was measured.", "Nothing was compared.", "none");
        if (adapters.Count == 1)
        {
            return bases.Count > 0 && Tally.Of(results, adapters[0], bases[0]) is { Tasks: > 0 } alone
                ? OfPair(alone, "the bare base", results)
                : new($"{adapters[0]} was measured alone.", "There is nothing to compare it with.", "none");
        }
        var against = AgainstBase(results, adapters, bases);
        if (adapters.Count == 2)
        {
            var pair = Tally.Of(results, adapters[0], adapters[1]);
            if (pair.Tasks == 0)
                return new($"{adapters[0]} and {adapters[1]} were not compared row by row.", NotPaired + against, "none");
            var verdict = OfPair(pair, null, results);
            return verdict with { Detail = verdict.Detail + against };
        }
        return OfMany(results, adapters, against);
    }

    private const string NotPaired = "Only their intervals can be looked at: the rows' own scores do not lie beside the results.";

    private static ReportVerdict OfPair(Tally pair, string? nameOfB, ResultsDocument results)
    {
        if (pair.Wins.Count == 0 && pair.Losses.Count > 0 && nameOfB is null)
            return OfPair(pair.Reversed(), null, results);
        var (a, b) = (pair.A, nameOfB ?? pair.B);
        var rest = pair.Tasks - pair.Wins.Count - pair.Losses.Count;
        var others = rest switch
        {
            0 => "",
            1 => $" On the other task ({pair.Undecided[0]}) the difference is within chance.",
            _ => $" On the other {rest} tasks the difference is within chance.",
        };
        if (pair.Wins.Count > 0 && pair.Losses.Count == 0)
        {
            return new(
                pair.Wins.Count < pair.Tasks ? $"{a} is better than {b} on {pair.Wins.Count} of {pair.Tasks} tasks."
                    : pair.Tasks == 1 ? $"{a} is better than {b}." : $"{a} is better than {b} on every task.",
                $"On {ReportText.Listed(pair.Wins)} the difference is real{Level(results)}.{others}", "clear");
        }
        if (pair.Losses.Count > 0 && pair.Wins.Count == 0)
            return new($"{a} is worse than {b} on {pair.Losses.Count} of {pair.Tasks} tasks.",
                $"On {ReportText.Listed(pair.Losses)} the difference is real{Level(results)}.{others}", "clear");
        if (pair.Losses.Count > 0)
            return new($"Neither {a} nor {b} is better everywhere.",
                $"{a} is ahead on {ReportText.Listed(pair.Wins)}, {b} on {ReportText.Listed(pair.Losses)}; these differences are real{Level(results)}.{others}",
                "mixed");
        return new($"No real difference between {a} and {b}.",
            $"On {(pair.Tasks == 1 ? "the one task" : $"none of the {pair.Tasks} tasks")} measured the paired difference "
            + $"{(pair.Tasks == 1 ? "is within chance" : "is more than chance")} (smallest corrected p = {ReportText.P(pair.SmallestP)}).", "undecided");
    }

    private static ReportVerdict OfMany(ResultsDocument results, List<string> adapters, string against)
    {
        var standing = adapters.Select(name =>
        {
            var tallies = adapters.Where(other => other != name).Select(other => Tally.Of(results, name, other)).ToList();
            return (Name: name, Wins: tallies.Sum(t => t.Wins.Count), Losses: tallies.Sum(t => t.Losses.Count), Compared: tallies.Sum(t => t.Tasks));
        }).OrderByDescending(s => s.Wins - s.Losses).ToList();
        var (first, second) = (standing[0], standing[1]);
        if (standing.All(s => s.Compared == 0))
            return new($"The {adapters.Count} adapters were not compared row by row.", NotPaired + against, "none");
        if (standing.All(s => s.Wins == 0))
            return new($"No real difference among the {adapters.Count} adapters.",
                "None of the paired differences between them is more than chance." + against, "undecided");
        if (first.Wins - first.Losses == second.Wins - second.Losses)
        {
            var tied = standing.TakeWhile(s => s.Wins - s.Losses == first.Wins - first.Losses).Select(s => s.Name).ToList();
            return new($"No single adapter leads: {ReportText.Listed(tied)} share the first place.",
                $"Each has {first.Wins - first.Losses} more real {(first.Wins - first.Losses == 1 ? "difference" : "differences")} in its favour than against it{Level(results)}.{against}", "mixed");
        }
        return new($"{first.Name} leads the {adapters.Count} adapters.",
            $"Of its {first.Compared} paired comparisons with the others {first.Wins} are real differences in its favour, {first.Losses} against it{Level(results)}."
            + against, first.Losses == 0 ? "clear" : "mixed");
    }

    private static string AgainstBase(ResultsDocument results, List<string> adapters, List<string> bases)
    {
        if (bases.Count == 0)
            return "";
        var tallies = adapters.Select(name => Tally.Of(results, name, bases[0])).Where(t => t.Tasks > 0).ToList();
        if (tallies.Count == 0)
            return "";
        return tallies.All(t => t.Wins.Count == t.Tasks) ? $" {(tallies.Count == 2 ? "Both" : "All")} are better than the bare base on every task."
            : " Against the bare base: " + string.Join("; ", tallies.Select(t =>
                $"{t.A} is better on {t.Wins.Count} of {t.Tasks}" + (t.Losses.Count > 0 ? $", worse on {t.Losses.Count}" : ""))) + ".";
    }

    private static string Level(ResultsDocument results) =>
        $" (p below {1 - results.Settings.Confidence:0.##}"
        + (results.Settings.Correction == "none" ? ")" : $" after {CorrectionOf(results)})");

    /// <summary>The correction in words.</summary>
    public static string CorrectionOf(ResultsDocument results) =>
        $"{char.ToUpperInvariant(results.Settings.Correction[0])}{results.Settings.Correction[1..]}'s correction";

    /// <summary>On which tasks a is really better than b, and the other way round.</summary>
    private sealed record Tally(string A, string B, int Tasks, List<string> Wins, List<string> Losses, List<string> Undecided, double SmallestP)
    {
        public static Tally Of(ResultsDocument results, string a, string b)
        {
            var tally = new Tally(a, b, 0, [], [], [], 1);
            foreach (var task in results.Tasks)
            {
                if (results.ComparisonOf(task.Name, task.Main.Name, a, b) is not { } comparison)
                    continue;
                var isGain = task.Main.HigherIsBetter ? comparison.Difference < 0 : comparison.Difference > 0; // b less a
                (!comparison.Significant ? tally.Undecided : isGain ? tally.Wins : tally.Losses).Add(task.Name);
                tally = tally with { Tasks = tally.Tasks + 1, SmallestP = Math.Min(tally.SmallestP, comparison.PAdjusted) };
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
            .Select(c => Of(c, results.Tasks[order[c.Task]]))];
    }

    private static (ReportComparison, bool) Of(Comparison c, MeasuredTask task)
    {
        var metric = task.Metrics.First(m => m.Name == c.Metric);
        var better = ReportBuilder.Better(c, metric);
        return (new(
            c.Task, c.Metric, ReportText.Words(c.Metric), c.A, c.B, ReportText.Signed(c.Difference), ReportText.Interval(c.Low, c.High),
            ReportText.P(c.P), ReportText.P(c.PAdjusted), better is not null, better ?? "", better is null ? "no real difference" : $"{better} is better"),
            metric == task.Main);
    }
}
