using System.Diagnostics;
using System.Globalization;
using Peft.Evaluation;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Training.Metrics;

namespace Peft.Cli.Printing;

/// <summary>One line that is redrawn in place on a terminal: a bar, where there is room for one, and a text.</summary>
internal sealed class ProgressBar(Output output)
{
    private const int Widest = 24;
    private const int Narrowest = 8;

    /// <summary>Draws the line over the one before.</summary>
    public void Draw(double share, string text)
    {
        var width = Math.Max(40, Console.WindowWidth) - 1;
        var bar = Math.Min(Widest, width - text.Length - 3);
        var full = (int)(bar * Math.Clamp(share, 0, 1));
        var line = bar < Narrowest ? text : $"[{new string('=', full)}{new string(' ', bar - full)}] {text}";
        output.Draw(line.Length > width ? line[..width] : line);
    }

    /// <summary>Takes the line away.</summary>
    public void Clear() => output.Erase();

    /// <summary>The time left, as a clock shows it.</summary>
    public static string Left(TimeSpan time) => time.TotalHours >= 1
        ? $"{(int)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2} left"
        : $"{time.Minutes}:{time.Seconds:D2} left";
}

/// <summary>Shows a run while it trains: a line every few steps, and on a terminal a bar below them.</summary>
public sealed class TrainingProgress(Output output, int loggingSteps) : IMetricSink
{
    private readonly ProgressBar _bar = new(output);
    private long _started;
    private int _firstStep;
    private int _totalSteps;
    private double _smoothedTokensPerSecond;
    private double _lossSum;
    private int _losses;
    private bool _collapseTold;

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps)
    {
        (_firstStep, _totalSteps, _started) = (afterStep, totalSteps, Stopwatch.GetTimestamp());
        if (afterStep > 0)
            output.Say($"continuing after step {afterStep} of {totalSteps}");
    }

    /// <inheritdoc/>
    /// <remarks>The loss shown is the mean of the steps since the line before: that of one batch jumps about.</remarks>
    public void Write(StepReport report)
    {
        _smoothedTokensPerSecond = _smoothedTokensPerSecond == 0
            ? report.TokensPerSecond
            : 0.9 * _smoothedTokensPerSecond + 0.1 * report.TokensPerSecond;
        if (report.Skipped is { } skipped)
        {
            output.Say($"{skipped.Reason} The step was skipped ({skipped.Count} so far).");
        }
        else
        {
            _lossSum += report.Loss;
            _losses++;
        }
        WarnOfCollapse(report);
        var text = Line(report);
        if (report.Step % loggingSteps == 0 || report.Step == _totalSteps || report.Step - _firstStep == 1)
        {
            output.Say(text);
            (_lossSum, _losses) = (0, 0);
        }
        if (output.IsInteractive && report.Step < _totalSteps)
            _bar.Draw(report.Step / (double)Math.Max(1, _totalSteps), text);
    }

    private string Line(StepReport report)
    {
        var left = Stopwatch.GetElapsedTime(_started) / (report.Step - _firstStep) * (_totalSteps - report.Step);
        var loss = _losses == 0 ? "-" : string.Create(CultureInfo.InvariantCulture, $"{_lossSum / _losses:F4}");
        return string.Create(
            CultureInfo.InvariantCulture,
            $"step {report.Step}/{_totalSteps}  loss {loss}  lr {report.LearningRate:0.00e+00}  " +
            $"{_smoothedTokensPerSecond:N0} tokens/s  {ProgressBar.Left(left)}");
    }

    /// <inheritdoc/>
    public void Evaluating(long sequences)
    {
        var text = $"evaluating {Words.Count(sequences, "sequence")}";
        if (output.IsInteractive)
            _bar.Draw(1, text);
        else
            output.Say(text);
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report)
    {
        var values = report.Metrics.Select(m => $"{m.Key} {m.Value:F4}");
        output.Say($"step {report.Step}  {string.Join("  ", values)}");
    }

    /// <inheritdoc/>
    public void Flush() => _bar.Clear();

    /// <inheritdoc/>
    public void Dispose() => _bar.Clear();

    private void WarnOfCollapse(StepReport report)
    {
        var collapsed = report.Routing.Where(module => module.IsCollapsed).ToList();
        if (_collapseTold || 2 * collapsed.Count <= report.Routing.Count)
            return;
        var worst = collapsed.MinBy(module => module.LoadSupport)!;
        output.Say(
            $"warning: routing has collapsed at step {report.Step}: in {collapsed.Count} of " +
            $"{Words.Count(report.Routing.Count, "module")} almost all tokens go to one expert (the load of " +
            $"{worst.Module} is spread over {worst.LoadSupport:F2} of {Words.Count(worst.Load.Count, "expert")}). " +
            "Raise the balance coefficient, or lower the learning rate.");
        _collapseTold = true;
    }
}

/// <summary>Shows an evaluation while it runs: a bar on a terminal, a line a task otherwise.</summary>
public sealed class EvaluationProgressBar(Output output) : IDisposable
{
    private readonly ProgressBar _bar = new(output);
    private (string Subject, string Task) _shown;
    private long _started;

    /// <summary>Shows where the evaluation is.</summary>
    public void Show(EvaluationProgress progress)
    {
        if (_started == 0)
        {
            _started = Stopwatch.GetTimestamp();
            if (progress.Found > 0)
                output.Say($"resuming after {progress.Found:N0} of {Words.Count(progress.Total, "row")}");
        }
        if (progress.Task.Length == 0)
            return;
        var text = $"{progress.Subject} on {progress.Task}  " +
            $"{progress.Done:N0}/{Words.Count(progress.Total, "row")}{Left(progress)}";
        if (output.IsInteractive)
            _bar.Draw(progress.Done / (double)Math.Max(1, progress.Total), text);
        else if (_shown != (progress.Subject, progress.Task))
            output.Say(text);
        _shown = (progress.Subject, progress.Task);
    }

    /// <summary>Takes the bar away.</summary>
    public void Clear() => _bar.Clear();

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private string Left(EvaluationProgress progress)
    {
        if (progress.Computed == 0)
            return "";
        var rows = progress.Total - progress.Found - progress.Computed;
        return "  " + ProgressBar.Left(Stopwatch.GetElapsedTime(_started) / progress.Computed * rows);
    }
}
