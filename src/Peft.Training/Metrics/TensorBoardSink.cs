using System.Runtime.CompilerServices;
using Peft.Formats.Files;
using Tensorboard;
using TorchSharp.Modules;

namespace Peft.Training.Metrics;

/// <summary>Scalars for TensorBoard, in the library's event files.</summary>
/// <remarks>A resumed run adds a file, which begins a session after its checkpoint: TensorBoard then drops what earlier
/// files hold of
/// later steps. Errors: <see cref="FileOperationException"/> when the files cannot be written.</remarks>
/// <param name="directory">Where the event files go.</param>
/// <param name="clock">Gives the times that TensorBoard shows.</param>
public sealed class TensorBoardSink(string directory, TimeProvider clock) : IMetricSink
{
    /// <summary>The folder's name in an output directory.</summary>
    public const string FolderName = "events";

    private const string FilePrefix = "events.out.tfevents."; // the library's

    private SummaryWriter? _writer;
    private string _path = "";

    /// <summary>Whether a file's name is one that event files get.</summary>
    public static bool IsEventFile(string name) => name.StartsWith(FilePrefix, StringComparison.Ordinal);

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps) => Write(() =>
    {
        _path = directory;
        Directory.CreateDirectory(directory);
        var before = Directory.GetFiles(directory);
        _writer = torch.utils.tensorboard.SummaryWriter(directory, "peft");
        _path = Directory.GetFiles(directory).Except(before).Single();
        if (afterStep == 0)
            return;
        WriteEvent(null, _path, new Event
        {
            WallTime = Now,
            Step = afterStep + 1,
            SessionLog = new SessionLog { Status = SessionLog.Types.SessionStatus.Start },
        });
    });

    /// <inheritdoc/>
    public void Write(StepReport report)
    {
        var values = new List<(string, double)>
        {
            ("train/loss", report.Loss), ("train/aux", report.Aux), ("train/learning_rate", report.LearningRate),
            ("train/grad_norm", report.GradNorm), ("train/tokens_per_second", report.TokensPerSecond),
        };
        values.AddRange(report.Load.Select((share, expert) => ($"routing/load/expert_{expert}", share)));
        foreach (var module in report.Routing)
        {
            if (module.Entropy is { } entropy)
                values.Add(($"routing/entropy/{module.Module}", entropy));
            values.Add(($"routing/effective_support/{module.Module}", module.EffectiveSupport));
            values.Add(($"routing/load_support/{module.Module}", module.LoadSupport));
            values.Add(($"routing/experts_per_token/{module.Module}", module.ExpertsPerToken));
            values.Add(($"routing/dead_experts/{module.Module}", module.DeadExperts));
        }
        WriteScalars(report.Step, values);
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report) =>
        WriteScalars(report.Step, report.Metrics.Select(m => ($"eval/{m.Key.Replace("eval_", "")}", m.Value)));

    /// <inheritdoc/>
    /// <remarks>Until the disk has them: a checkpoint must not be newer than what is known of its steps.</remarks>
    public void Flush() => Write(() =>
    {
        using var file = new FileStream(_path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite);
        file.Flush(flushToDisk: true);
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        // The library opens the file for each event and closes it again.
    }

    // Seconds since 1970, as TensorBoard reads them; the library would take ticks.
    private long Now => clock.GetUtcNow().ToUnixTimeSeconds();

    private void WriteScalars(int step, IEnumerable<(string Tag, double Value)> values) => Write(() =>
    {
        foreach (var (tag, value) in values)
            _writer!.add_scalar(tag, (float)value, step, Now);
    });

    private void Write(Action write)
    {
        try
        {
            write();
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(_path, error);
        }
    }

    // The library writes sessions nowhere itself, and keeps the method that could.
    [UnsafeAccessor(UnsafeAccessorKind.StaticMethod)]
    private static extern void WriteEvent(SummaryWriter? type, string fileName, Event evnt);
}
