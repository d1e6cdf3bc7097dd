using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Peft.Formats.Files;
using Peft.Models;
using Peft.Recipes;

namespace Peft.Compare;

/// <summary>One training to be measured.</summary>
/// <param name="Study">Name of its study.</param>
/// <param name="Setting">Its setting.</param>
/// <param name="Arm">Its arm.</param>
/// <param name="Seed">Its seed; that of choices is none of the others.</param>
/// <param name="Rate">Its learning rate.</param>
/// <param name="IsChoice">Whether it is measured on validation rows, to choose the rate.</param>
internal sealed record Run(string Study, Setting Setting, Arm Arm, int Seed, double Rate, bool IsChoice);

/// <summary>
/// Trains and measures in processes of their own, as many at once as asked for, each with its share of the cores; a run that
/// has been made before from the same recipe, base and data is kept.
/// </summary>
/// <param name="folder">Where runs go.</param>
/// <param name="jobs">Runs at once.</param>
/// <param name="rows">Test rows of a task.</param>
/// <param name="share">Share of the plan's steps that is trained: less than 1 for a quick look.</param>
/// <param name="ranks">The rank of each arm in each setting.</param>
internal sealed class Runner(string folder, int jobs, int rows, double share, RankChoices ranks)
{
    private const string ResultFile = "run.json";
    private const int ValidationRows = 300;

    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private readonly Dictionary<string, string> _hashes = [];
    private readonly string _base = ModelLoader.Fingerprint("data/base");

    /// <summary>Makes the runs in their order.</summary>
    /// <param name="runs">What is asked for.</param>
    /// <param name="stop">Ends it: running ones are ended, finished ones stay.</param>
    /// <returns>The runs that were made or kept, in their order.</returns>
    public IReadOnlyList<(Run Run, Measured Measured)> All(IReadOnlyList<Run> runs, CancellationToken stop)
    {
        var made = new Measured?[runs.Count];
        for (var i = 0; i < runs.Count; i++)
            made[i] = Kept(runs[i]);
        var open = Enumerable.Range(0, runs.Count).Where(i => made[i] is null).ToList();
        if (open.Count < runs.Count)
            Console.WriteLine($"{runs.Count - open.Count} of {runs.Count} runs are kept from earlier");
        var (clock, done, failures) = (Stopwatch.StartNew(), 0, new List<string>());
        var options = new ParallelOptions { MaxDegreeOfParallelism = jobs };
        // One after the other, so that whole seeds are there when it is ended.
        Parallel.ForEach(Partitioner.Create(open, EnumerablePartitionerOptions.NoBuffering),
            options, i =>
            {
                if (stop.IsCancellationRequested)
                    return;
                try
                {
                    made[i] = Make(runs[i], stop);
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    lock (failures)
                        failures.Add($"{Named(runs[i])}: {e.Message}");
                    return;
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                var ended = Interlocked.Increment(ref done);
                var left = clock.Elapsed / ended * (open.Count - ended);
                Console.WriteLine($"{clock.Elapsed:h\\:mm\\:ss} {ended}/{open.Count} {Named(runs[i])}: "
                    + $"{Words(made[i]!)}; {left:h\\:mm} left");
            });
        stop.ThrowIfCancellationRequested();
        return failures.Count == 0
            ? [.. runs.Zip(made, (run, measured) => (run, measured!))]
            : throw new InvalidOperationException($"{failures.Count} of {open.Count} runs failed; the first:\n{failures[0]}");
    }

    private static string Named(Run run) => string.Create(CultureInfo.InvariantCulture,
        $"{run.Study}, {run.Setting.Name}, {run.Arm.Name}, {(run.IsChoice ? $"rate {run.Rate}" : $"seed {run.Seed}")}");

    private static string Words(Measured measured) => measured.ValidationLoss is { } loss
        ? string.Create(CultureInfo.InvariantCulture, $"validation loss {loss:F4}")
        : string.Join(", ", measured.Tasks.Select(task => string.Create(CultureInfo.InvariantCulture,
            $"{task.Key} {task.Value.Values().Average():F3}")));

    private string DirectoryOf(Run run) => Path.Combine(folder, run.Study, run.Setting.Name, string.Create(
        CultureInfo.InvariantCulture,
        $"{run.Arm.Name.Replace(", ", "-").Replace(' ', '-')}-{(run.IsChoice ? $"rate-{run.Rate}" : run.Seed)}"));

    private Measured? Kept(Run run)
    {
        var file = Path.Combine(DirectoryOf(run), ResultFile);
        return File.Exists(file) && JsonSerializer.Deserialize<Record>(File.ReadAllText(file), Json) is { } kept
            && kept.Asked == Asked(run) ? kept.Measured : null;
    }

    private string Asked(Run run) => string.Join('\n',
        [_base, .. run.Setting.Files.Select(file => $"{file} {HashOf(file)}"),
            .. Commands(run).Select(words => string.Join(' ', words))]);

    private string HashOf(string file)
    {
        lock (_hashes)
        {
            if (!_hashes.TryGetValue(file, out var hash))
                _hashes.Add(file, hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file))));
            return hash;
        }
    }

    private List<List<string>> Commands(Run run)
    {
        var (setting, commands) = (run.Setting, new List<List<string>>());
        var recipe = Recipe.Load(setting.Recipe, []);
        var names = setting.TaskNames;
        var tasks = recipe.Evaluation.Tasks.Where(task => names.Contains(task.Name)).Select(task =>
            $"{{task: {task.Name}, metric: {task.Metric}, rows: {rows}, max_new_tokens: {task.MaxNewTokens}}}");
        var sets = recipe.Data.Train.Where(set => names.Contains(set.Name)).Select(set =>
            $"{{name: {set.Name}, files: {HeldOut(set.Files.Single(), run.IsChoice)}, "
            + $"limit: {(run.IsChoice ? ValidationRows : rows)}}}");
        var steps = Math.Max(40, (int)Math.Round(setting.Steps * share));
        foreach (var (number, stage) in run.Arm.Stages.Index())
        {
            var last = number == run.Arm.Stages.Count - 1;
            // Of several stages the first has three quarters of the steps.
            var part = run.Arm.Stages.Count == 1 ? steps : last ? steps / 4 : steps - steps / 4;
            List<string> keys =
            [
                .. stage.SetsIn(setting), .. ranks.Of(setting, run.Arm).Overrides,
                $"data.only=[{string.Join(", ", names)}]",
                $"data.eval=[{string.Join(", ", last ? sets : [])}]",
                $"evaluation.tasks=[{string.Join(", ", run.IsChoice || !last ? [] : tasks)}]",
                "evaluation.base=false", "evaluation.baselines=[]", $"training.seed={run.Seed}",
                $"training.max_steps={part}", "training.logging_steps=50", "training.save_steps=0",
                "training.report_to=none",
            ];
            if (number == 0)
                keys.Add(string.Create(CultureInfo.InvariantCulture, $"training.learning_rate={run.Rate}"));
            else
                keys.Add($"adapter.experts.from={StageOf(run, number - 1)}");
            commands.Add(["train", stage.Recipe ?? setting.Recipe, "--json", "--overwrite", "--output",
                StageOf(run, number), .. keys.SelectMany(key => new[] { "--set", key })]);
        }
        return commands;
    }

    private static string HeldOut(string train, bool isChoice) =>
        train.Replace("train.parquet", isChoice ? "validation.parquet" : "test.parquet", StringComparison.Ordinal);

    private string StageOf(Run run, int number) => Path.Combine(DirectoryOf(run), $"stage-{number + 1}");

    private Measured Make(Run run, CancellationToken stop)
    {
        var directory = DirectoryOf(run);
        if (Directory.Exists(directory))
            Directory.Delete(directory, true);
        Directory.CreateDirectory(directory);
        var peak = 0.0;
        foreach (var words in Commands(run))
            peak = Math.Max(peak, Start(words, Math.Max(1, Environment.ProcessorCount / jobs), stop));
        var stages = run.Arm.Stages.Count;
        var measured = Measured.Read(run.Setting, run.Arm, run.Seed, run.Rate,
            ranks.Of(run.Setting, run.Arm).Trainable, peak, StageOf(run, 0), StageOf(run, stages - 1), run.IsChoice);
        AtomicFile.WriteText(Path.Combine(directory, ResultFile),
            JsonSerializer.Serialize(new Record(Asked(run), measured), Json) + "\n");
        // Adapters of hundreds of runs would fill the disk.
        for (var number = 0; number < stages; number++)
            Directory.Delete(StageOf(run, number), true);
        return measured;
    }

    /// <summary>Runs <c>bin/peft</c> to its end.</summary>
    /// <returns>The largest resident size, in megabytes.</returns>
    public static double Start(IEnumerable<string> words, int threads, CancellationToken stop)
    {
        var start = new ProcessStartInfo("bin/peft", words) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["OMP_NUM_THREADS"] = threads.ToString(CultureInfo.InvariantCulture);
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        var peak = 0.0;
        while (!process.WaitForExit(500))
        {
            peak = Math.Max(peak, HighWaterMark(process.Id));
            if (stop.IsCancellationRequested)
                process.Kill();
        }
        stop.ThrowIfCancellationRequested();
        output.Wait(CancellationToken.None);
        return process.ExitCode == 0 ? peak : throw new InvalidOperationException(
            $"bin/peft {string.Join(' ', start.ArgumentList)} ended with {process.ExitCode}:\n{errors.Result}");
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

    private sealed record Record(string Asked, Measured Measured);
}
