using System.Diagnostics;
using Peft.Evaluation;
using Peft.Evaluation.Results;

namespace Peft.Cli.Printing;

/// <summary>Shows an evaluation while it runs: one bar redrawn in place on a terminal, a line a task otherwise.</summary>
public sealed class EvaluationProgressBar(Output output) : IDisposable
{
    private const int BarWidth = 24;

    private (string Subject, string Task) _shown;
    private long _started;
    private bool _barShown;

    /// <summary>Shows where the evaluation is.</summary>
    public void Show(EvaluationProgress progress)
    {
        ArgumentNullException.ThrowIfNull(progress);
        if (_started == 0)
        {
            _started = Stopwatch.GetTimestamp();
            if (progress.Found > 0)
                output.Say($"going on after {progress.Found:N0} of {progress.Total:N0} rows");
        }
        if (progress.Task.Length == 0)
            return;
        var text = $"{progress.Subject} on {progress.Task}  {progress.Done:N0}/{progress.Total:N0} rows{Left(progress)}";
        if (output.IsInteractive)
        {
            var full = (int)(BarWidth * progress.Done / Math.Max(1, progress.Total));
            var line = $"[{new string('=', full)}{new string(' ', BarWidth - full)}] {text}";
            var width = Math.Max(40, Console.WindowWidth) - 1;
            output.SayPart("\r\u001b[K" + (line.Length > width ? line[..width] : line));
            _barShown = true;
        }
        else if (_shown != (progress.Subject, progress.Task))
        {
            output.Say(text);
        }
        _shown = (progress.Subject, progress.Task);
    }

    /// <summary>Takes the bar away.</summary>
    public void Clear()
    {
        if (_barShown)
            output.SayPart("\r\u001b[K");
        _barShown = false;
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    private string Left(EvaluationProgress progress)
    {
        if (progress.Computed == 0)
            return "";
        var left = Stopwatch.GetElapsedTime(_started) / progress.Computed * (progress.Total - progress.Found - progress.Computed);
        return left.TotalHours >= 1 ? $"  {(int)left.TotalHours}:{left.Minutes:D2}:{left.Seconds:D2} left" : $"  {left.Minutes}:{left.Seconds:D2} left";
    }
}
