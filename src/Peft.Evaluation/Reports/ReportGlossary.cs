using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;

namespace Peft.Evaluation.Reports;

/// <summary>What the terms of a report mean, for those who point at one, and for its glossary.</summary>
/// <param name="Interval">Interval.</param>
/// <param name="PValue">p.</param>
/// <param name="CorrectedP">Corrected p.</param>
/// <param name="Base">Bare base.</param>
/// <param name="Recorded">Recorded results.</param>
/// <param name="TrainableParameters">Trainable parameters.</param>
/// <param name="TrainingStep">Training step.</param>
/// <param name="PeakMemory">Peak memory.</param>
/// <param name="Evaluation">Evaluation time.</param>
/// <param name="Loss">Loss.</param>
/// <param name="HeldOutLoss">Held-out loss.</param>
/// <param name="Auxiliary">Auxiliary losses.</param>
/// <param name="Nat">Nat.</param>
/// <param name="Entropy">Router entropy.</param>
/// <param name="EffectiveExperts">Effective experts.</param>
/// <param name="OpenGates">Open gates.</param>
/// <param name="UnusedExperts">Unused experts.</param>
/// <param name="TaskInformation">Task information.</param>
/// <param name="Load">Load.</param>
/// <param name="Cosine">Cosine of updates.</param>
/// <param name="Srp">SRP.</param>
/// <param name="Sch">SCH.</param>
/// <param name="Evenness">Evenness of the load.</param>
/// <param name="LoadChange">Change of the load.</param>
/// <param name="TaskDistance">Distance of tasks.</param>
/// <param name="Shots">Shots.</param>
/// <param name="Truncated">Cut rows.</param>
/// <param name="Ties">Ties.</param>
public sealed record ReportTerms(
    string Interval, string PValue, string CorrectedP, string Base, string Recorded, string TrainableParameters,
    string TrainingStep,
    string PeakMemory, string Evaluation, string Loss, string HeldOutLoss, string Auxiliary, string Nat, string Entropy,
    string EffectiveExperts, string OpenGates, string UnusedExperts, string TaskInformation, string Load, string Cosine,
    string Srp,
    string Sch, string Evenness, string LoadChange, string TaskDistance, string Shots, string Truncated, string Ties);

/// <summary>Terms and metrics with their meanings.</summary>
internal static class ReportGlossary
{
    /// <summary>The terms, each by its name.</summary>
    public static ReportTerms Terms { get; } = new(
        Interval: "The range in which the value would lie for most other samples of rows of this kind, found by "
            + "drawing the rows again.",
        PValue: "The chance of a difference at least this large if the two models were equally good.",
        CorrectedP: "The p value after allowing for all the comparisons that were made; below 0.05 a difference counts "
            + "as significant.",
        Base: "The base model as it was before training, without any adapter.",
        Recorded: "Numbers of another model that were measured earlier and kept; its answers to the rows are not at "
            + "hand.",
        TrainableParameters: "How many numbers training was allowed to change.",
        TrainingStep: "Median time of one update of the parameters.",
        PeakMemory: "The most memory that the training process held.",
        Evaluation: "Time that it took to answer all rows of all tasks.",
        Loss: "Mean negative log-likelihood of a token of the expected answers; lower is better.",
        HeldOutLoss: "The loss on rows that are not trained on; it rises when the model begins to learn the training "
            + "rows by heart.",
        Auxiliary: "What is added to the loss to guide the routers, such as a reward for even loads.",
        Nat: "Unit of information with the natural logarithm; 1 nat is 1.44 bits.",
        Entropy: "How evenly the router spreads its probability over the experts: 0 for one expert, ln E for E equal "
            + "ones.",
        EffectiveExperts: "How many experts carry a token's weight: 1 for one of them, E for E equal ones.",
        OpenGates: "How many experts are computed for a token.",
        UnusedExperts: "Experts that no token of the evaluated rows used, summed over all projections.",
        TaskInformation:
            "How much the choice of experts tells about the task: 0 when all tasks use the same experts, 1 when each "
                + "has its own.",
        Load: "Share of the gate weight that an expert gets.",
        Cosine: "How alike two experts' updates of the weights are: 1 the same direction, 0 unrelated, -1 opposite.",
        Srp: "Segment routing best performance: how well one fixed set of experts could serve so many tokens in a row, "
            + "from 0 to 1.",
        Sch: "Segment cache hit rate: how often a needed expert is in a cache of that size that knows the next tokens.",
        Evenness: "How many experts carry the load of all tokens together, over the number of experts: 1 where all "
            + "carry as much.",
        LoadChange: "How far the experts' loads moved from one logged step to the next: 0 not at all, 1 to other "
            + "experts altogether. It stays above 0, since each step has other rows.",
        TaskDistance: "How unlike the experts of two tasks are: 0 for the same experts, 1 for none in common "
            + "(Jensen-Shannon divergence over ln 2).",
        Shots: "Solved examples in front of each prompt.",
        Truncated: "Rows that were too long for the context and lost their beginning.",
        Ties: "Rows for which several choices had the same score; the first one counts.");

    private static readonly IReadOnlyList<ReportTerm> General =
    [
        new("base model", Terms.Base), new("corrected p", Terms.CorrectedP), new("cut", Terms.Truncated),
        new("evaluation", Terms.Evaluation),
        new("interval", Terms.Interval), new("p", Terms.PValue), new("peak memory", Terms.PeakMemory),
        new("shots", Terms.Shots),
        new("ties", Terms.Ties), new("trainable parameters", Terms.TrainableParameters),
        new("training step", Terms.TrainingStep),
    ];

    private static readonly IReadOnlyList<ReportTerm> OfTraining =
    [
        new("auxiliary", Terms.Auxiliary), new("held-out loss", Terms.HeldOutLoss), new("loss", Terms.Loss),
        new("nat", Terms.Nat),
    ];

    private static readonly IReadOnlyList<ReportTerm> OfRouting =
    [
        new("change of the load", Terms.LoadChange), new("cosine", Terms.Cosine),
        new("distance of tasks", Terms.TaskDistance),
        new("effective experts", Terms.EffectiveExperts), new("evenness", Terms.Evenness), new("load", Terms.Load),
        new("nat", Terms.Nat),
        new("open gates", Terms.OpenGates), new("router entropy", Terms.Entropy), new("SCH", Terms.Sch),
        new("SRP", Terms.Srp),
        new("task information", Terms.TaskInformation), new("unused experts", Terms.UnusedExperts),
    ];

    /// <summary>What a metric says; empty for one that this program does not know.</summary>
    public static string OfMetric(string name) => Metric.All.FirstOrDefault(metric => metric.Name == name) is { } known
        ? char.ToUpperInvariant(known.Description[0]) + known.Description[1..] + "." : "";

    /// <summary>The terms that a report of these results uses, by alphabet.</summary>
    public static IReadOnlyList<ReportTerm> Of(ResultsDocument results)
    {
        var metrics = results.Tasks.SelectMany(task => task.Metrics).Select(metric => metric.Name).Distinct()
            .Select(name => new ReportTerm(ReportText.Words(name), OfMetric(name)))
                .Where(term => term.Meaning.Length > 0);
        return
        [
            .. General.Concat(metrics)
                .Concat(results.Subjects.Any(subject => subject.Training is not null) ? OfTraining : [])
                .Concat(results.Routing.Count > 0 ? OfRouting : [])
                .Concat(
                    results.Subjects.Any(subject => subject.Kind == Subject.RecordedKind)
                        ? [new("recorded", Terms.Recorded)] : [])
                .DistinctBy(term => term.Name).OrderBy(term => term.Name, StringComparer.OrdinalIgnoreCase),
        ];
    }
}
