using System.Text.Json;
using Peft.Evaluation.Results;
using Peft.Formats.Files;

namespace Peft.Recipes.Evaluation;

/// <summary>Curves of a training run out of its metrics.jsonl.</summary>
/// <param name="Curves">The curves, thinned.</param>
/// <param name="StepSeconds">Median seconds of a step; null where there is none.</param>
/// <param name="PeakMemoryBytes">The most memory that training held; null where no step tells it.</param>
internal sealed record TrainingHistory(TrainingCurves Curves, double? StepSeconds, long? PeakMemoryBytes)
{
    private const int MostPoints = 500;

    /// <summary>Reads the file; null where there is none, or no step in it. Lines that are no steps are passed over.</summary>
    public static TrainingHistory? Read(string path)
    {
        if (!File.Exists(path))
            return null;
        var steps = File.ReadLines(path).Select(Step).OfType<Point>().ToList();
        if (steps.Count == 0)
            return null;
        var seconds = steps.Where(step => step is { Tokens: > 0, TokensPerSecond: > 0 }).Select(step => step.Tokens / step.TokensPerSecond).Order().ToList();
        var routed = Thinned([.. steps.Where(step => step.Entropy is not null)]);
        var shown = Thinned(steps);
        var held = Thinned([.. File.ReadLines(path).Select(HeldOut).OfType<HeldPoint>()]);
        return new(
            new TrainingCurves(
                [.. shown.Select(step => step.Step)], [.. shown.Select(step => step.Loss)], [.. shown.Select(step => step.Aux)],
                [.. shown.Select(step => step.Rate)], [.. shown.Select(step => step.TokensPerSecond)], [.. routed.Select(step => step.Step)],
                [.. routed.Select(step => step.Entropy!.Value)])
            {
                EvalStep = [.. held.Select(point => point.Step)],
                EvalLoss = [.. held.Select(point => point.Loss)],
            },
            seconds.Count == 0 ? null : seconds[seconds.Count / 2],
            (long?)steps.Max(step => step.Memory));
    }

    // Evenly, the first and the last among them.
    private static List<T> Thinned<T>(List<T> steps) => steps.Count <= MostPoints
        ? steps
        : [.. Enumerable.Range(0, MostPoints).Select(i => steps[(int)((long)i * (steps.Count - 1) / (MostPoints - 1))])];

    private static Point? Step(string line) =>
        Parsed(line) is { } step && Number(step, "step") is { } number && Number(step, "loss") is { } loss
            ? new(
                (long)number, loss, Number(step, "aux") ?? 0, Number(step, "lr") ?? 0, Number(step, "tokens") ?? 0,
                Number(step, "tokens_per_second") ?? 0, Number(step, "peak_memory_bytes"), Entropy(step))
            : null;

    private static HeldPoint? HeldOut(string line) =>
        Parsed(line) is { } held && Number(held, "step") is { } number && Number(held, "eval_loss") is { } loss
            ? new((long)number, loss)
            : null;

    private static JsonElement? Parsed(string line) =>
        JsonFile.TryParse<JsonElement>(line, JsonSerializerOptions.Default, out var json) && json.ValueKind == JsonValueKind.Object
            ? json
            : null;

    private static double? Entropy(JsonElement step)
    {
        if (!step.TryGetProperty("routing", out var routing) || routing.ValueKind != JsonValueKind.Object)
            return null;
        var values = routing.EnumerateObject().Where(module => module.Value.ValueKind == JsonValueKind.Object)
            .Select(module => Number(module.Value, "entropy")).OfType<double>().ToList();
        return values.Count == 0 ? null : values.Average();
    }

    private static double? Number(JsonElement map, string name) =>
        map.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number && double.IsFinite(value.GetDouble()) ? value.GetDouble() : null;

    private sealed record HeldPoint(long Step, double Loss);

    private sealed record Point(long Step, double Loss, double Aux, double Rate, double Tokens, double TokensPerSecond, double? Memory, double? Entropy);
}
