using System.Globalization;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>Routers beside each other, in words and rows of text.</summary>
internal static class RouterWriter
{
    private const double AsLarge = 1.0; // of a cache that holds as many experts as a token uses
    private static readonly double[] CacheSizes = [0.5, 1, 1.5, 2, 3, 4, 8];

    /// <summary>The comparison of all adapters with routing.</summary>
    /// <param name="results">What was measured.</param>
    /// <param name="colors">Number of each subject's colour.</param>
    public static ReportRouters Of(ResultsDocument results, IReadOnlyList<int> colors)
    {
        var compared = results.Routing.Select(routing => new Compared(results, routing)).ToList();
        var (headline, detail) = Verdict(compared);
        return new(
            headline, detail, [.. compared.Select(one => RouterOf(results, colors, one))],
            [.. RouterProfiles.Of(results).Select((profile, index) => ProfileOf(results, profile, index))]);
    }

    private static ReportRouter RouterOf(ResultsDocument results, IReadOnlyList<int> colors, Compared one)
    {
        var (place, subject) = results.Subjects.Index().First(other => other.Item.Name == one.Routing.Subject);
        var routing = one.Routing;
        return new(
            subject.Name, place, colors[place], subject.Router ?? subject.Method ?? "",
            $"{ReportText.Share(RouterProfiles.OpenGates(routing))} of {one.ExpertsText}", Text(one.Information),
            Text(one.Cosine), Text(one.Evenness), routing.Modules.Sum(module => module.DeadExperts), Text(one.Entropy),
            Text(one.Srp), Text(one.Sch), Text(one.Change));
    }

    private static ReportProfile ProfileOf(ResultsDocument results, RouterProfile profile, int index)
    {
        var places = profile.Name == "sch"
            ? CacheSizes.Where(size => profile.Curves.Any(curve => curve.At(size) is not null)).ToList()
            : [.. profile.Curves.SelectMany(curve => curve.X).Distinct().Order()];
        var shown = ReportBuilder.Thinned(places.Count, all: profile.Across != "step").Select(i => places[i]).ToList();
        return new(
            profile.Name, index, profile.Title, profile.Note, profile.Across,
            [.. shown.Select(place => place.ToString("0.##", CultureInfo.InvariantCulture))],
            [.. profile.Curves.Select(curve => new ReportRow(
                results.Subjects[curve.Subject].Name, [.. shown.Select(place => Text(curve.At(place)))]))]);
    }

    // What stands out, each only where it can be told from the next one by the digits that are shown.
    private static (string Headline, string Detail) Verdict(List<Compared> compared)
    {
        if (compared is [])
            return ("None of these adapters has a router.", "");
        if (compared is [var single])
            return ($"{single.Routing.Subject} is the only one of these adapters with a router.", "");
        var choosing = compared.Where(one => one.Chooses).ToList();
        var headline = Most(compared, one => one.Information, most: true) is { } informed
            ? $"{informed.Name} tells the tasks apart most: task information {informed.Value} of 1."
            : "No router tells the tasks apart more than the others.";
        List<string> details = [];
        if (Most(choosing, one => one.Srp, most: true) is { } held)
            details.Add(
                $"{held.Name} keeps its experts longest (SRP of {RouterProfiles.Segment} tokens {held.Value}).");
        if (Most(compared, one => one.Evenness, most: true) is { } even)
            details.Add($"{even.Name} spreads its load most evenly ({even.Value} of even).");
        if (Most(compared, one => one.Change, most: false) is { } steady)
            details.Add($"The load of {steady.Name} changes least late in training ({steady.Value}).");
        return (headline, string.Join(' ', details));
    }

    private static (string Name, string Value)? Most(
        IReadOnlyList<Compared> compared, Func<Compared, double?> value, bool most)
    {
        var known = compared.Where(one => value(one) is not null)
            .OrderBy(one => most ? -value(one)!.Value : value(one)!.Value).ToList();
        return known is [var first, var second, ..] && Text(value(first)) is var text && text != Text(value(second))
            ? (first.Routing.Subject, text) : null;
    }

    private static string Text(double? value) => value is { } known ? ReportText.Signed2(known) : ReportText.Dash;

    /// <summary>The numbers by which one router is compared with others.</summary>
    private sealed class Compared(ResultsDocument results, SubjectRouting routing)
    {
        public SubjectRouting Routing => routing;

        /// <summary>Whether it leaves experts out: without that, experts are kept by all tokens.</summary>
        public bool Chooses => routing.Modules.Any(module => module.ExpertsPerToken < module.Load.Count - 1e-6);

        public string ExpertsText => routing.Modules.Select(module => module.Load.Count).Distinct().Order().ToList()
            is [var few, .., var many] ? $"{few} to {many}"
                : $"{(routing.Modules is [var first, ..] ? first.Load.Count : 0)}";

        public double? Information => RoutingWriter.Information(routing);

        public double? Entropy => Mean(RouterProfiles.EntropyShare);

        public double? Evenness => Mean(RouterProfiles.Evenness);

        public double? Srp => routing.Srp is { } srp && srp.Segments.ToList().IndexOf(RouterProfiles.Segment)
            is >= 0 and var at ? srp.Values[at] : null;

        public double? Sch => RouterProfiles.Cache(routing) is { X.Count: > 0 } cache
            ? new RouterCurve(0, cache.X, cache.Y).At(AsLarge) : null;

        /// <summary>Mean cosine of two different experts.</summary>
        public double? Cosine => routing.Similarity is { Count: > 1 } cosines
            ? (cosines.Sum(row => row.Sum()) - cosines.Index().Sum(row => row.Item[row.Index]))
                / (cosines.Count * (cosines.Count - 1)) : null;

        /// <summary>Mean change of the load over the second half of what was logged.</summary>
        public double? Change => results.Subjects.First(subject => subject.Name == routing.Subject).Training
            is { LoadChange: { Count: > 0 } changes } ? changes.Skip(changes.Count / 2).Average() : null;

        private double? Mean(Func<ModuleRouting, double?> value) =>
            routing.Modules.Select(value).OfType<double>().ToList() is { Count: > 0 } values ? values.Average() : null;
    }
}
