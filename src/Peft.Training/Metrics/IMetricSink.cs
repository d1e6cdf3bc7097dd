namespace Peft.Training.Metrics;

/// <summary>Somewhere the numbers of a run go: a file, an event log, the terminal.</summary>
public interface IMetricSink : IDisposable
{
    /// <summary>Called once before the first step with the step that training starts after (0, or a checkpoint's).</summary>
    void Start(int afterStep, int totalSteps);

    /// <summary>Called after each optimizer step.</summary>
    void Write(StepReport report);

    /// <summary>Called after each evaluation.</summary>
    void Write(EvaluationReport report);

    /// <summary>Called before a checkpoint is written: what was reported so far must be safe on disk.</summary>
    void Flush();
}
