using System.Globalization;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Reports;

/// <summary>Routing diagnostics as rows of text.</summary>
internal static class RoutingWriter
{
    /// <summary>The tables of one adapter.</summary>
    public static ReportRouting Of(SubjectRouting routing, int index)
    {
        var experts = routing.Modules.Select(m => m.Load.Count).DefaultIfEmpty(0).Max();
        var entropies = routing.Modules.Select(m => m.Entropy).OfType<double>().ToList();
        return new(
            routing.Subject, index, routing.Modules.Count, experts,
            routing.SharedExperts > 0 ? $", beside {routing.SharedExperts} shared" : "", Names(experts),
            entropies.Count == 0 ? ReportText.Dash : ReportText.Share(entropies.Average()),
            Mean(routing, m => m.EffectiveSupportSize), Mean(routing, m => m.ExpertsPerToken),
            routing.Modules.Sum(m => m.DeadExperts),
            [.. Layers(routing).Select(layer => new ReportRow($"layer {layer.Layer}", Padded(layer.Load, experts)))],
            [.. routing.Modules.Select(m => new ReportRow(m.Name,
                [
                    m.Entropy is { } entropy ? ReportText.Share(entropy) : ReportText.Dash,
                    ReportText.Share(m.EffectiveSupportSize),
                    ReportText.Share(m.ExpertsPerToken), m.DeadExperts.ToString(CultureInfo.InvariantCulture)]))],
            routing.ExpertByTask is not { } matrix
                ? []
                :
                [
                    .. routing.Tasks.Zip(matrix.Matrix)
                        .Select(row => new ReportRow(row.First, Padded(row.Second, experts))),
                ],
            routing.ExpertByTask is { } information
                ? $"{ReportText.Share(information.MutualInformation)} nats" : ReportText.Dash,
            routing.ExpertByTask is { } share ? ReportText.Share(share.NormalizedMutualInformation) : ReportText.Dash,
            Information(routing) is { } informed ? ReportText.Share(informed) : ReportText.Dash,
            routing.TaskDistance is not { } distances
                ? []
                :
                [
                    .. routing.Tasks.Zip(distances)
                        .Select(row => new ReportRow(row.First, [.. row.Second.Select(ReportText.Share)])),
                ],
            routing.Similarity is not { } cosines
                ? [] : [.. cosines.Select((row, e) => new ReportRow($"e{e}", [.. row.Select(ReportText.Signed2)]))],
            routing.Srp is not { } srp
                ? []
                :
                [
                    .. srp.Segments.Zip(srp.Values)
                        .Select(v => new ReportRow($"{v.First} tokens", [ReportText.Share(v.Second)])),
                ],
            routing.Sch is not { } sizes
                ? [] : [.. sizes.CacheSizes.Select(size => size == 1 ? "1 expert" : $"{size} experts")],
            routing.Sch is not { } sch
                ? []
                :
                [
                    .. sch.Segments.Zip(sch.Values)
                        .Select(v => new ReportRow($"{v.First} tokens", [.. v.Second.Select(ReportText.Share)])),
                ]);
    }

    /// <summary>Task information, mean over projections; of results that hold none of single projections, that of the
    /// matrix over all of them; null where tasks were not counted apart.</summary>
    public static double? Information(SubjectRouting routing) =>
        routing.Modules.Select(module => module.TaskInformation).OfType<double>().ToList() is { Count: > 0 } values
            ? values.Average() : routing.ExpertByTask?.NormalizedMutualInformation;

    /// <summary>Load by layer, mean over the layer's projections that have the most experts.</summary>
    public static IReadOnlyList<(int Layer, IReadOnlyList<double> Load)> Layers(SubjectRouting routing) =>
        [.. routing.Modules.GroupBy(m => m.Layer).OrderBy(g => g.Key).Select(layer =>
        {
            var experts = layer.Max(m => m.Load.Count);
            var full = layer.Where(m => m.Load.Count == experts).ToList();
            return (
                layer.Key,
                (IReadOnlyList<double>)[.. Enumerable.Range(0, experts).Select(e => full.Average(m => m.Load[e]))]);
        })];

    public static IReadOnlyList<string> Names(int experts) => [.. Enumerable.Range(0, experts).Select(e => $"e{e}")];

    private static IReadOnlyList<string> Padded(IReadOnlyList<double> values, int count) =>
        [.. values.Select(ReportText.Share), .. Enumerable.Repeat(ReportText.Dash, Math.Max(0, count - values.Count))];

    private static string Mean(SubjectRouting routing, Func<ModuleRouting, double> value) =>
        routing.Modules.Count == 0 ? ReportText.Dash : ReportText.Share(routing.Modules.Average(value));
}
