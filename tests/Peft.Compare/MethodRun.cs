using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Recipes;

namespace Peft.Compare;

/// <summary>What one method came to with one seed.</summary>
/// <param name="Metrics">Task to its held-out metric.</param>
/// <param name="HigherIsBetter">Task to the direction of its metric.</param>
/// <param name="TokenSeconds">Seconds of a training step for each of its tokens, of the first recipe: the ninth decile
/// of speed.</param>
/// <param name="PeakMegabytes">Largest resident size of the process.</param>
/// <param name="EffectiveSupport">Mean effective support size over modules at the last reported step; null without
/// routing.</param>
internal sealed record MethodRun(
    string Method, int Seed, IReadOnlyDictionary<string, double> Metrics, IReadOnlyDictionary<string,
    bool> HigherIsBetter,
    double TokenSeconds, double PeakMegabytes, double? EffectiveSupport)
{
    private const string ResultFile = "run.json";
    private const int WarmUp = 20; // steps

    /// <summary>
    /// Trains in processes of their own, so that memory and faults are each run's own; a finished run of the same words
    /// is kept.
    /// </summary>
    public static MethodRun Of(Method method, RankChoice rank, int seed, int steps, int rows, int threads,
        string folder)
    {
        var directory = Path.Combine(folder, $"{method.Name}-{seed}");
        List<string[]> stages = [];
        foreach (var (recipe, number) in method.Recipes.Select((recipe, i) => (recipe, i)))
        {
            var last = number == method.Recipes.Count - 1;
            // Of several stages the first has three quarters of the steps.
            var share = method.Recipes.Count == 1 ? steps : last ? steps / 4 : steps - steps / 4;
            var tasks = Recipe.Load(recipe, []).Evaluation.Tasks.Select(task =>
                $"{{task: {task.Name}, metric: {task.Metric}, rows: {rows}, max_new_tokens: {task.MaxNewTokens}}}");
            List<string> sets = [.. rank.Overrides, $"training.seed={seed}", $"training.max_steps={share}",
                "training.logging_steps=50",
                "training.save_steps=0", "evaluation.base=false", "evaluation.baselines=[]",
                $"evaluation.tasks=[{string.Join(", ", tasks)}]"];
            if (number > 0)
                sets.Add($"adapter.experts.from={Stage(number - 1)}");
            stages.Add(
                ["train", recipe, "--json", "--overwrite", "--output", Stage(number),
                .. sets.SelectMany(set => new[] { "--set", set })]);
        }

        var asked = string.Join('\n', stages.Select(words => string.Join(' ', words)));
        var kept = Path.Combine(directory, ResultFile);
        if (File.Exists(kept) && JsonSerializer.Deserialize<Kept>(File.ReadAllText(kept)) is { } earlier
            && earlier.Asked == asked)
            return earlier.Run;
        Directory.CreateDirectory(directory);
        var (output, peak) = ("", 0.0);
        foreach (var words in stages)
        {
            (output, var megabytes) = Start(words, threads);
            peak = Math.Max(peak, megabytes);
        }

        var results = JsonNode.Parse(output)!["models"]![0]!["tasks"]!.AsArray();
        var run = new MethodRun(
            method.Name, seed,
            results.ToDictionary(task => (string)task!["task"]!, task => (double)task!["value"]!),
            results.ToDictionary(task => (string)task!["task"]!, task => (bool)task!["higher_is_better"]!),
            SecondsAToken(Stage(0)), peak, Support(Stage(method.Recipes.Count - 1)));
        File.WriteAllText(kept, JsonSerializer.Serialize(new Kept(asked, run)));
        return run;

        string Stage(int number) => Path.Combine(directory, $"stage-{number + 1}");
    }

    private static (string Output, double PeakMegabytes) Start(string[] words, int threads)
    {
        var start = new ProcessStartInfo("bin/peft", words)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true
        };
        start.Environment["OMP_NUM_THREADS"] = threads.ToString(CultureInfo.InvariantCulture);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        var peak = 0.0;
        while (!process.WaitForExit(500))
            peak = Math.Max(peak, HighWaterMark(process.Id));
        return process.ExitCode == 0
            ? (output.Result, peak)
            : throw new InvalidOperationException(
            $"bin/peft {string.Join(' ', words)} ended with {process.ExitCode}:\n{errors.Result}");
    }

    private static double HighWaterMark(int process)
    {
        try
        {
            var line = File.ReadLines($"/proc/{process}/status").First(
                line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
            return double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
                CultureInfo.InvariantCulture) * 1024 / 1e6; // kB
        }
        catch (Exception gone) when (gone is IOException or InvalidOperationException)
        {
            return 0; // the process has just ended
        }
    }

    // Several runs share the machine, and whatever else works there: the fast steps are those that nothing disturbed.
    private static double SecondsAToken(string directory)
    {
        var speeds = Steps(directory).Skip(WarmUp).Select(
            line => (double)line["tokens_per_second"]!).OrderDescending().ToList();
        return 1 / speeds[speeds.Count / 10];
    }

    private static double? Support(string directory)
    {
        var routing = Steps(directory).Select(line => line["routing"]?.AsObject()).LastOrDefault(modules => modules
            is { Count: > 0 });
        return routing?.Average(module => (double)module.Value!["effective_support"]!);
    }

    private static List<JsonObject> Steps(string directory) =>
        [.. File.ReadLines(Path.Combine(directory, "metrics.jsonl")).Select(
            line => JsonNode.Parse(line)!.AsObject()).Where(line => line.ContainsKey("loss"))];

    private sealed record Kept(string Asked, MethodRun Run);
}
