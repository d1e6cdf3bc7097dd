using Peft.Adapters.Routing;

namespace Peft.Training.Metrics;

/// <summary>Somewhere the numbers of a run go: a file, an event log, the terminal.</summary>
public interface IMetricSink : IDisposable
{
    /// <summary>
    /// Called once before the first step with the step that training starts after (0, or a checkpoint's).
    /// </summary>
    void Start(int afterStep, int totalSteps);

    /// <summary>Called after each optimizer step.</summary>
    void Write(StepReport report);

    /// <summary>The evaluation after the last step begins, which may take long.</summary>
    /// <param name="sequences">How many held-out sequences there are.</param>
    void Evaluating(long sequences)
    {
    }

    /// <summary>Called after each evaluation.</summary>
    void Write(EvaluationReport report);

    /// <summary>Called before a checkpoint is written: what was reported so far must be safe on disk.</summary>
    void Flush();
}

/// <summary>The plain numbers of one optimizer step; one line of metrics.jsonl.</summary>
/// <param name="Step">Optimizer steps done, this one included.</param>
/// <param name="Loss">Mean cross-entropy over the learned tokens of the step, in nats.</param>
/// <param name="Aux">Auxiliary loss that was added, its coefficients included.</param>
/// <param name="LearningRate">Learning rate of the step.</param>
/// <param name="GradNorm">Norm of all gradients before clipping.</param>
/// <param name="Tokens">Real (not padding) tokens of the step.</param>
/// <param name="TokensPerSecond">Real tokens a second of wall time.</param>
/// <param name="Load">Share of the gate weight that each expert got, averaged over modules and tokens; empty without
/// experts.</param>
public sealed record StepReport(
    int Step, double Loss, double Aux, double LearningRate, double GradNorm, long Tokens, double TokensPerSecond,
    IReadOnlyList<double> Load)
{
    /// <summary>The most memory that the process has held so far, in bytes, libtorch's included; null where it computes
    /// on another
    /// device, whose memory this does not count.</summary>
    public long? PeakMemoryBytes { get; init; }

    /// <summary>
    /// What each module's routing did in the step's last pass; empty without routing and between logging steps.
    /// </summary>
    public IReadOnlyList<RoutingStatistics> Routing { get; init; } = [];

    /// <summary>Set when the step was not applied.</summary>
    public SkippedStep? Skipped { get; init; }
}

/// <summary>Why a step was not applied.</summary>
/// <param name="Count">How many steps of the run were not, this one included.</param>
/// <param name="Reason">What was not a finite number, on which rows.</param>
public sealed record SkippedStep(int Count, string Reason);

/// <summary>The numbers of one evaluation while training.</summary>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="Metrics">Name to value, e.g. <c>eval_loss</c>.</param>
public sealed record EvaluationReport(int Step, IReadOnlyDictionary<string, double> Metrics);
