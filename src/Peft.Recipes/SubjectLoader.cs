using System.Globalization;
using System.Text.Json;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Files;
using Peft.Models.Loading;
using Peft.Recipes.Reading;
using Peft.Training.Metrics;

namespace Peft.Recipes;

/// <summary>Adapters and the base model as subjects of an evaluation.</summary>
internal static class SubjectLoader
{
    /// <summary>The subjects of a request, the base first.</summary>
    /// <exception cref="UserException">A directory holds no adapter, or one of another base.</exception>
    public static IReadOnlyList<EvaluationSubject> Subjects(EvaluationRequest request, string directory,
        string fingerprint)
    {
        var subjects = new List<EvaluationSubject>();
        if (request.MeasuresBase || request.Adapters.Count == 0)
        {
            subjects.Add(new(
                Base(directory), () =>
                    new OpenedSubject(LoadedModel.OpenBase(directory, request.Dtype, request.Device), null), _ =>
                    null));
        }
        foreach (var (adapter, name) in request.Adapters.Zip(Names(request.Adapters)))
        {
            var subject = Adapter(request, directory, fingerprint, adapter, name);
            subjects.Add(subject);
            if (request.Rewiring is { } options)
                subjects.Add(Rewired(subject, options));
        }
        return subjects;
    }

    // Which routers can be fitted is known before anything is measured.
    private static EvaluationSubject Rewired(EvaluationSubject subject, RewiringOptions options)
    {
        Rewiring.RequireRewirable(Bundle.ManifestOf(subject.Description.Path)?.Adapter ?? new AdapterOptions());
        return subject with
        {
            Description = subject.Description with { Name = $"{subject.Name} rewired{options.Changed}" },
            Rewiring = options,
            Open = () =>
            {
                var opened = subject.Open();
                return opened with { Rewiring = new Rewiring(opened.Adapted!, options) };
            },
        };
    }

    // The directory's name; where two are alike, or one is called as the base is, the path as given.
    private static List<string> Names(IReadOnlyList<string> adapters)
    {
        var twice = adapters.GroupBy(Path.GetFullPath).FirstOrDefault(group => group.Count() > 1);
        if (twice is not null)
            throw UserException.At("--adapter", $"{twice.First()} is given twice", "each adapter once");
        var names = adapters.Select(EvaluationBuilder.NameOf).ToList();
        return [.. names.Zip(adapters, (name, path) =>
            NotAsBase(
                names.Count(other => other == name) > 1 ? Path.TrimEndingDirectorySeparator(path) : name, path))];
    }

    /// <summary>A name for an adapter that is not the base's.</summary>
    internal static string NotAsBase(string name, string path) =>
        name != Subject.BaseKind ? name
        : Path.TrimEndingDirectorySeparator(path) is var whole && whole != Subject.BaseKind ? whole : $"./{whole}";

    /// <summary>What results say of the base model.</summary>
    public static Subject Base(string directory) =>
        new(Subject.BaseKind, Subject.BaseKind, directory, null, null, null, 0, null, null, 0, null, null);

    /// <summary>What results say of an adapter, from its directory alone.</summary>
    public static Subject Adapter(string directory, string name)
    {
        if (Bundle.ManifestOf(directory) is not { } manifest)
            return new(
                name, Subject.AdapterKind, directory, AdapterOptions.Lora, null,
                MeasuredBundle.FingerprintOf(directory), 0, null, null, 0, null, null);
        var recipePath = BundleFiles.PathOf(directory, BundleFiles.Recipe);
        var recipe = File.Exists(recipePath) ? YamlReader.ReadFile(recipePath) : null;
        var curves = TrainingHistory.Read(Path.Combine(directory, JsonLinesSink.FileName));
        return new(
            name, Subject.AdapterKind, directory, manifest.Adapter.Method, manifest.Adapter.Router?.Kind,
            MeasuredBundle.FingerprintOf(manifest),
            manifest.TrainableParameters, curves?.StepSeconds, curves?.PeakMemoryBytes, 0,
            recipe is null ? null : JsonSerializer.Deserialize<JsonElement>(ConfigText.ToJson(recipe)), curves?.Curves)
        {
            Written = WrittenAt(BundleFiles.PathOf(directory, BundleFiles.Manifest)),
        };
    }

    // The manifest is the last file of a bundle to be written, and holds no time itself.
    private static string WrittenAt(string manifest) =>
        File.GetLastWriteTimeUtc(manifest).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static EvaluationSubject Adapter(EvaluationRequest request, string directory, string fingerprint,
        string adapter, string name)
    {
        OpenedSubject Open()
        {
            var loaded = LoadedModel.Open(directory, adapter, request.Dtype, request.Device, fingerprint: fingerprint);
            return new OpenedSubject(loaded.Model, loaded.Adapted);
        }
        // Also checks that there is an adapter at all.
        _ = Bundle.BaseNameOf(adapter);
        if (Bundle.ManifestOf(adapter) is not { } manifest)
            return new(Adapter(adapter, name), Open, _ => null);
        if (manifest.Base.Fingerprint != fingerprint)
            throw UserException.At(
                adapter,
                $"trained on {manifest.Base.Name} (fingerprint "
                + $"{CheckpointFingerprint.Short(manifest.Base.Fingerprint)})",
                $"the base here, {directory} (fingerprint {CheckpointFingerprint.Short(fingerprint)})",
                "name its base with --base, or evaluate this adapter by itself");
        var tasks = TaskRouting.Of(adapter);
        return new(Adapter(adapter, name), Open, task => tasks?.IdOf(task));
    }
}

/// <summary>Curves of a training run out of its metrics.jsonl.</summary>
/// <param name="Curves">The curves, thinned.</param>
/// <param name="StepSeconds">Median seconds of a step; null where there is none.</param>
/// <param name="PeakMemoryBytes">The most memory that training held; null where no step tells it.</param>
internal sealed record TrainingHistory(TrainingCurves Curves, double? StepSeconds, long? PeakMemoryBytes)
{
    private const int MostPoints = 500;

    /// <summary>
    /// Reads the file; null where there is none, or no step in it. Lines that are no steps are passed over.
    /// </summary>
    public static TrainingHistory? Read(string path)
    {
        if (!File.Exists(path))
            return null;
        var steps = File.ReadLines(path).Select(Step).OfType<Point>().ToList();
        if (steps.Count == 0)
            return null;
        var seconds = steps.Where(step => step is { Tokens: > 0, TokensPerSecond: > 0 }).Select(
            step => step.Tokens / step.TokensPerSecond).Order().ToList();
        var routed = Thinned([.. steps.Where(step => step.Entropy is not null)]);
        var shown = Thinned(steps);
        var held = Thinned([.. File.ReadLines(path).Select(HeldOut).OfType<HeldPoint>()]);
        var changes = Thinned([.. LoadChanges(path)]);
        return new(
            new TrainingCurves(
                [.. shown.Select(step => step.Step)], [.. shown.Select(step => step.Loss)],
                [.. shown.Select(step => step.Aux)],
                [.. shown.Select(step => step.Rate)], [.. shown.Select(step => step.TokensPerSecond)],
                [.. routed.Select(step => step.Step)],
                [.. routed.Select(step => step.Entropy!.Value)])
            {
                EvalStep = [.. held.Select(point => point.Step)],
                EvalLoss = [.. held.Select(point => point.Loss)],
                LoadStep = [.. changes.Select(point => point.Step)],
                LoadChange = [.. changes.Select(point => point.Change)],
            },
            seconds.Count == 0 ? null : seconds[seconds.Count / 2],
            (long?)steps.Max(step => step.Memory));
    }

    // Evenly, the first and the last among them.
    private static List<T> Thinned<T>(List<T> steps) => steps.Count <= MostPoints
        ? steps
        : [.. Enumerable.Range(0,
        MostPoints).Select(i => steps[(int)((long)i * (steps.Count - 1) / (MostPoints - 1))])];

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
        JsonFile.TryParse<JsonElement>(line, JsonSerializerOptions.Default, out var json)
            && json.ValueKind == JsonValueKind.Object
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

    // Between one step at which routing was logged and the next, over the projections that both hold.
    private static IEnumerable<LoadPoint> LoadChanges(string path)
    {
        Dictionary<string, double[]> before = [];
        foreach (var line in File.ReadLines(path))
        {
            if (Parsed(line) is not { } step || Number(step, "step") is not { } number || Loads(step) is not { } loads)
                continue;
            var changes = loads
                .Where(load => before.TryGetValue(load.Key, out var own) && own.Length == load.Value.Length)
                .Select(load => RoutingMath.TotalVariation(before[load.Key], load.Value)).ToList();
            if (changes.Count > 0)
                yield return new((long)number, changes.Average());
            before = loads;
        }
    }

    private static Dictionary<string, double[]>? Loads(JsonElement step) =>
        step.TryGetProperty("routing", out var routing) && routing.ValueKind == JsonValueKind.Object
            ? routing.EnumerateObject()
                .Where(module => module.Value.ValueKind == JsonValueKind.Object
                    && module.Value.TryGetProperty("load", out var load) && load.ValueKind == JsonValueKind.Array
                    && load.EnumerateArray().All(share => share.ValueKind == JsonValueKind.Number))
                .DistinctBy(module => module.Name)
                .ToDictionary(
                    module => module.Name,
                    module => module.Value.GetProperty("load").EnumerateArray().Select(v => v.GetDouble()).ToArray())
            : null;

    private static double? Number(JsonElement map, string name) =>
        map.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.Number
            && double.IsFinite(value.GetDouble()) ? value.GetDouble() : null;

    private sealed record HeldPoint(long Step, double Loss);

    private sealed record LoadPoint(long Step, double Change);

    private sealed record Point(long Step, double Loss, double Aux, double Rate, double Tokens, double TokensPerSecond,
        double? Memory, double? Entropy);
}
