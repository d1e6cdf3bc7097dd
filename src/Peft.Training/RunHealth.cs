using System.Globalization;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Training.Metrics;

namespace Peft.Training;

/// <summary>Watches a run for what ends without an error and is worth nothing all the same.</summary>
/// <param name="run">The run.</param>
/// <param name="metrics">Path of metrics.jsonl, which holds the steps before a checkpoint; null where there is
/// none.</param>
public sealed class RunHealth(TrainingRun run, string? metrics) : IMetricSink
{
    private const int FewSteps = 20;         // a batch's loss is noisy: in a short run only a clear rise counts
    private const double ClearRise = 1.05;
    private const double Guessing = 0.97;    // of ln V
    private const double LeastRate = 1e-7;

    private readonly List<double> _losses = [];
    private IReadOnlyList<RoutingStatistics> _routing = [];

    /// <summary>What should make the user look again; empty for a run that looks well.</summary>
    public IReadOnlyList<string> Warnings => [.. Loss(), .. LearningRate(), .. Experts()];

    /// <summary>Whether the loss did not fall, or is that of guessing.</summary>
    public bool HasFailed => Loss().Any();

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps)
    {
        _losses.Clear();
        if (afterStep > 0 && metrics is not null)
            _losses.AddRange(JsonLinesSink.Losses(metrics, afterStep));
    }

    /// <inheritdoc/>
    public void Write(StepReport report)
    {
        if (report.Skipped is null)
            _losses.Add(report.Loss);
        if (report.Routing.Count > 0)
            _routing = report.Routing;
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report)
    {
    }

    /// <inheritdoc/>
    public void Flush()
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private IEnumerable<string> Loss()
    {
        var window = Math.Clamp(_losses.Count / 5, 1, 50);
        if (_losses.Count < 4)
            yield break;
        var (first, last) = (_losses.Take(window).Average(), _losses.TakeLast(window).Average());
        var guess = Math.Log(run.Trainable.Model.Config.VocabularySize);
        var rises = last >= first * (_losses.Count < FewSteps ? ClearRise : 1);
        if (rises)
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"the loss did not fall: {first:F4} at the start, {last:F4} at the end (means over "
                + $"{Words.Count(window, "step")})");
        if (last >= Guessing * guess && (_losses.Count >= FewSteps || rises || last >= Guessing * first))
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"at the end the loss is {last:F4}, about that of guessing among "
                + $"{run.Trainable.Model.Config.VocabularySize:N0} tokens ({guess:F4}): the run has diverged or "
                + $"learned nothing");
    }

    private IEnumerable<string> LearningRate()
    {
        var isWhole = run.Trainable.Modules.Count == 0;
        var most = run.Options.Optim == "sgd" ? 10 : isWhole ? 0.02 : 0.05;
        var what = $"{(isWhole ? "a whole model" : "adapters")} with {run.Options.Optim}";
        var rate = ShownRate(run.Options.LearningRate);
        if (run.Options.LearningRate > most)
            yield return $"learning_rate {rate} is far above what trains {what} (at most about {ShownRate(most)})";
        else if (run.Options.LearningRate < LeastRate)
            yield return $"learning_rate {rate} changes almost nothing in {what}";
    }

    private IEnumerable<string> Experts()
    {
        var idle = _routing.Where(module => module.Load.Count > 1
            && (module.DeadExperts >= module.Load.Count - 1 || module.IsCollapsed)).ToList();
        if (2 * idle.Count > _routing.Count)
            yield return $"in {idle.Count} of {Words.Count(_routing.Count, "module")} all experts but one are idle at "
                + $"the end";
    }

    /// <summary>A learning rate as people write it.</summary>
    public static string ShownRate(double rate) =>
        rate.ToString(rate is > 0 and < 1e-4 ? "0.###e-0" : "0.#######", CultureInfo.InvariantCulture);
}
