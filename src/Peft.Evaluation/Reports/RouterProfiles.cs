using Peft.Evaluation.Results;
using Peft.Evaluation.Routing;

namespace Peft.Evaluation.Reports;

/// <summary>Curves in which routers are compared, a line an adapter, as numbers.</summary>
/// <param name="Name">Name that the page's script and glossary know it by.</param>
/// <param name="Title">What goes up.</param>
/// <param name="Note">How it is measured.</param>
/// <param name="Across">What goes to the right.</param>
/// <param name="High">Upper end of the axis; null where the values tell it.</param>
/// <param name="Curves">One an adapter that has it.</param>
internal sealed record RouterProfile(
    string Name, string Title, string Note, string Across, double? High, IReadOnlyList<RouterCurve> Curves);

/// <summary>One adapter's curve.</summary>
/// <param name="Subject">Place of the adapter among the subjects.</param>
/// <param name="X">Where, rising.</param>
/// <param name="Y">The values there.</param>
internal sealed record RouterCurve(int Subject, IReadOnlyList<double> X, IReadOnlyList<double> Y)
{
    /// <summary>The value at a place, linear between two that are known; null beyond both ends.</summary>
    public double? At(double x)
    {
        for (var i = 0; i < X.Count; i++)
        {
            if (X[i] >= x)
                return X[i] == x ? Y[i]
                    : i == 0 ? null : Y[i - 1] + (Y[i] - Y[i - 1]) * (x - X[i - 1]) / (X[i] - X[i - 1]);
        }
        return null;
    }
}

/// <summary>What results hold of routers, made comparable between unlike numbers of experts.</summary>
internal static class RouterProfiles
{
    /// <summary>Tokens of the segments that are compared by one number.</summary>
    public const int Segment = 16;

    /// <summary>The curves; those that no adapter has are left out.</summary>
    public static IReadOnlyList<RouterProfile> Of(ResultsDocument results)
    {
        IReadOnlyList<RouterProfile> all =
        [
            new(
                "information", "Task information by layer",
                "how much the experts that a layer uses tell about the task; mean over its projections", "layer", 1,
                Routed(results, routing => ByLayer(routing, module => module.TaskInformation))),
            new(
                "entropy", "Router entropy by layer", "share of the entropy of equal experts, ln E", "layer", 1,
                Routed(results, routing => ByLayer(routing, EntropyShare))),
            new(
                "evenness", "Evenness of the load by layer",
                "effective number of experts that the whole load is spread over, as a share of E", "layer", 1,
                Routed(results, routing => ByLayer(routing, Evenness))),
            new(
                "srp", "SRP by length of segment", "how well one set of experts serves so many tokens in a row",
                "tokens", 1,
                Routed(results, routing => routing.Srp is { } srp
                    ? ([.. srp.Segments.Select(length => (double)length)], srp.Values) : ([], []))),
            new(
                "sch", "SCH by size of the cache", $"hit rate with {Segment} tokens looked ahead; 1 is room for as "
                    + "many experts as a token uses", "experts in the cache over experts per token", 1,
                Routed(results, Cache)),
            new(
                "change", "Change of the load over training",
                "total variation from the load that was logged before; part of it is that batches differ", "step", null,
                Trained(results, training => (training.LoadStep, training.LoadChange))),
            new(
                "training", "Router entropy over training", "nats per token, mean over projections", "step", null,
                Trained(results, training => (training.RoutingStep, training.RoutingEntropy))),
        ];
        return [.. all.Where(profile => profile.Curves.Count > 0)];
    }

    /// <summary>Mean entropy of a projection's distributions over that of equal experts; null where it has
    /// none.</summary>
    public static double? EntropyShare(ModuleRouting module) =>
        module.Entropy is { } entropy && module.Load.Count > 1 ? entropy / Math.Log(module.Load.Count) : null;

    /// <summary>Effective number of experts of a projection's load, as a share of all.</summary>
    public static double? Evenness(ModuleRouting module) =>
        module.Load.Count > 0 ? RoutingMath.EffectiveSupportSize(module.Load) / module.Load.Count : null;

    /// <summary>Mean number of open gates.</summary>
    public static double OpenGates(SubjectRouting routing) =>
        routing.Modules.Select(module => module.ExpertsPerToken).DefaultIfEmpty(0).Average();

    /// <summary>Hit rates at the compared look-ahead by size of the cache over the open gates; empty where there are
    /// none.</summary>
    public static (IReadOnlyList<double> X, IReadOnlyList<double> Y) Cache(SubjectRouting routing) =>
        routing.Sch is { } sch && sch.Segments.ToList().IndexOf(Segment) is >= 0 and var row
        && OpenGates(routing) is > 0 and var open
            ? ([.. sch.CacheSizes.Select(size => size / open)], sch.Values[row]) : ([], []);

    // The head belongs to no layer.
    private static (IReadOnlyList<double> X, IReadOnlyList<double> Y) ByLayer(
        SubjectRouting routing, Func<ModuleRouting, double?> value)
    {
        var layers = routing.Modules.Where(module => module.Layer >= 0).GroupBy(module => module.Layer)
            .OrderBy(layer => layer.Key)
            .Select(layer => (X: (double)layer.Key, Y: layer.Select(value).OfType<double>().ToList()))
            .Where(layer => layer.Y.Count > 0).ToList();
        return ([.. layers.Select(layer => layer.X)], [.. layers.Select(layer => layer.Y.Average())]);
    }

    private static IReadOnlyList<RouterCurve> Routed(
        ResultsDocument results, Func<SubjectRouting, (IReadOnlyList<double> X, IReadOnlyList<double> Y)> curve) =>
        [.. results.Routing.Select(routing => (Place: PlaceOf(results, routing.Subject), Curve: curve(routing)))
            .Where(made => made.Curve.X.Count > 0)
            .Select(made => new RouterCurve(made.Place, made.Curve.X, made.Curve.Y))];

    private static IReadOnlyList<RouterCurve> Trained(
        ResultsDocument results, Func<TrainingCurves, (IReadOnlyList<long> Step, IReadOnlyList<double> Value)> curve) =>
        [.. results.Routing.Select(routing => PlaceOf(results, routing.Subject))
            .Where(place => results.Subjects[place].Training is not null)
            .Select(place => (Place: place, Curve: curve(results.Subjects[place].Training!)))
            .Where(made => made.Curve.Step.Count > 0)
            .Select(made => new RouterCurve(
                made.Place, [.. made.Curve.Step.Select(step => (double)step)], made.Curve.Value))];

    private static int PlaceOf(ResultsDocument results, string subject) =>
        results.Subjects.Index().First(other => other.Item.Name == subject).Index;
}
