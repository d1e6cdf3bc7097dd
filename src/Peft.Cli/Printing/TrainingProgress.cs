using System.Diagnostics;
using Peft.Training.Metrics;

namespace Peft.Cli.Printing;

/// <summary>Shows a run while it trains: one bar redrawn in place on a terminal, plain lines otherwise.</summary>
public sealed class TrainingProgress(Output output, int loggingSteps) : IMetricSink
{
    private const int BarWidth = 24;

    private long _started;
    private int _firstStep;
    private int _totalSteps;
    private double _smoothedTokensPerSecond;
    private bool _barShown;
    private bool _collapseTold;

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps)
    {
        (_firstStep, _totalSteps, _started) = (afterStep, totalSteps, Stopwatch.GetTimestamp());
        if (afterStep > 0)
            output.Say($"continuing after step {afterStep} of {totalSteps}");
    }

    /// <inheritdoc/>
    public void Write(StepReport report)
    {
        _smoothedTokensPerSecond = _smoothedTokensPerSecond == 0
            ? report.TokensPerSecond
            : 0.9 * _smoothedTokensPerSecond + 0.1 * report.TokensPerSecond;
        var done = report.Step - _firstStep;
        var elapsed = Stopwatch.GetElapsedTime(_started);
        var left = elapsed / done * (_totalSteps - report.Step);
        if (report.Skipped is { } skipped)
        {
            Clear();
            output.Say($"{skipped.Reason} The step was skipped ({skipped.Count} so far).");
        }
        if (report.Routing.Count(module => module.IsCollapsed) is var collapsed && 2 * collapsed > report.Routing.Count && !_collapseTold)
        {
            Clear();
            output.Say(Collapse(report, collapsed));
            _collapseTold = true;
        }
        var text = $"step {report.Step}/{_totalSteps}  loss {report.Loss:F4}  lr {report.LearningRate:0.00e+00}  " +
                   $"{_smoothedTokensPerSecond:F0} tokens/s  {Clock(left)} left";
        if (output.IsInteractive)
            Redraw($"[{Bar(report.Step)}] {text}");
        else if (report.Step % loggingSteps == 0 || report.Step == _totalSteps || done == 1)
            output.Say(text);
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report)
    {
        Clear();
        var values = report.Metrics.Select(m => $"{m.Key} {m.Value:F4}");
        output.Say($"step {report.Step}  {string.Join("  ", values)}");
    }

    /// <inheritdoc/>
    public void Flush() => Clear();

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private static string Collapse(StepReport report, int collapsed)
    {
        var worst = report.Routing.Where(module => module.IsCollapsed).MinBy(module => module.LoadSupport)!;
        return $"warning: routing has collapsed at step {report.Step}: in {collapsed} of {report.Routing.Count} modules almost all tokens go to " +
               $"one expert (load spread over {worst.LoadSupport:F2} of {worst.Load.Count} experts in {worst.Module}) - raise the balance " +
               "coefficient, or lower the learning rate";
    }

    private string Bar(int step)
    {
        var full = (int)((long)BarWidth * step / Math.Max(1, _totalSteps));
        return new string('=', full) + new string(' ', BarWidth - full);
    }

    private void Redraw(string line)
    {
        var width = Math.Max(40, Console.WindowWidth) - 1;
        output.SayPart("\r\u001b[K" + (line.Length > width ? line[..width] : line));
        _barShown = true;
    }

    private void Clear()
    {
        if (_barShown)
            output.SayPart("\r\u001b[K");
        _barShown = false;
    }

    private static string Clock(TimeSpan time) =>
        time.TotalHours >= 1 ? $"{(int)time.TotalHours}:{time.Minutes:D2}:{time.Seconds:D2}" : $"{time.Minutes}:{time.Seconds:D2}";
}
