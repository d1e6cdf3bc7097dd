using System.Globalization;
using System.Text;
using System.Text.Json;
using Peft.Adapters.Routing;
using Peft.Formats.Files;

namespace Peft.Training.Metrics;

/// <summary>Writes metrics.jsonl: one JSON object a step and one an evaluation. A resumed run cuts what lies after the
/// checkpoint's step, so that the file reads as if training had never stopped.</summary>
public sealed class JsonLinesSink(string path) : IMetricSink
{
    /// <summary>The file's name in an output directory.</summary>
    public const string FileName = "metrics.jsonl";

    private FileStream? _file;
    private StreamWriter? _writer;

    /// <inheritdoc/>
    public void Start(int afterStep, int totalSteps)
    {
        var keep = new List<string>();
        if (afterStep > 0 && File.Exists(path))
            keep.AddRange(File.ReadLines(path).TakeWhile(line => StepOf(line) is { } step && step <= afterStep));
        AtomicFile.WriteText(path, string.Concat(keep.Select(line => line + "\n")));
        _file = new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read);
        _writer = new StreamWriter(_file, new UTF8Encoding(false)) { NewLine = "\n", AutoFlush = true };
    }

    /// <inheritdoc/>
    public void Write(StepReport report)
    {
        var load = string.Join(',', report.Load.Select(Number));
        WriteLine(
            $"{{\"step\":{report.Step},\"loss\":{Number(report.Loss)},\"aux\":{Number(report.Aux)}," +
            $"\"lr\":{Number(report.LearningRate)},\"grad_norm\":{Number(report.GradNorm)}," +
            $"\"tokens\":{report.Tokens}," +
            $"\"tokens_per_second\":{Number(Math.Round(report.TokensPerSecond, 1))}," +
            (report.PeakMemoryBytes is { } peak ? $"\"peak_memory_bytes\":{peak}," : "") +
            $"\"load\":[{load}]" +
            (report.Skipped is null ? "" : $",\"skipped\":{report.Skipped.Count}") +
            (report.Routing.Count == 0 ? "}"
                : $",\"routing\":{{{string.Join(',', report.Routing.Select(Routing))}}}}}"));
    }

    /// <inheritdoc/>
    public void Write(EvaluationReport report)
    {
        var values = report.Metrics.Select(m => $",{JsonSerializer.Serialize(m.Key)}:{Number(m.Value)}");
        WriteLine($"{{\"step\":{report.Step}{string.Concat(values)}}}");
    }

    /// <inheritdoc/>
    public void Flush() => _file?.Flush(flushToDisk: true);

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            _writer?.Dispose();
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            // A line that did not fit was told when it was written; its rest is still in the buffer.
        }
    }

    private void WriteLine(string line)
    {
        try
        {
            _writer!.WriteLine(line);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(path, error);
        }
    }

    private static string Routing(RoutingStatistics module) =>
        $"{JsonSerializer.Serialize(module.Module)}:{{\"load\":[{Shares(module.Load)}]," +
        $"\"mean_probability\":[{Shares(module.MeanProbability)}]," +
        $"\"entropy\":{(module.Entropy is { } entropy ? Number(Math.Round(entropy, 6)) : "null")}," +
        $"\"effective_support\":{Number(Math.Round(module.EffectiveSupport, 6))}," +
        $"\"experts_per_token\":{Number(Math.Round(module.ExpertsPerToken, 6))}," +
        $"\"dead_experts\":{module.DeadExperts}}}";

    private static string Shares(IReadOnlyList<double> shares) =>
        string.Join(',', shares.Select(share => Number(Math.Round(share, 6))));

    // JSON has no NaN and no infinity; a reader should see that there was no number.
    private static string Number(double value) =>
        double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture) : "null";

    /// <summary>The losses of the steps up to one, as a file holds them; empty without the file.</summary>
    public static IEnumerable<double> Losses(string path, int upToStep)
    {
        if (!File.Exists(path))
            yield break;
        foreach (var line in File.ReadLines(path))
        {
            if (StepOf(line) is not { } step || step > upToStep)
                yield break;
            using var json = JsonDocument.Parse(line);
            if (!json.RootElement.TryGetProperty("skipped", out _)
                && json.RootElement.TryGetProperty("loss", out var loss) && loss.ValueKind == JsonValueKind.Number)
                yield return loss.GetDouble();
        }
    }

    // A line that was cut by a crash does not parse and ends what is kept.
    private static int? StepOf(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.ValueKind == JsonValueKind.Object
                && json.RootElement.TryGetProperty("step", out var step)
                && step.ValueKind == JsonValueKind.Number && step.TryGetInt32(out var n) ? n : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
