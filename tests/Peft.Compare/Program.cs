using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Compare;

/// <summary>
/// Behind <c>make compare</c>: every method with the same number of trainable parameters on the embedded base and its
/// tasks.
/// </summary>
internal static class Program
{
    private const string Usage =
        "usage: Peft.Compare [--parameters N] [--steps N] [--seeds N] [--rows N] [--jobs N] [--methods a,b] [--output "
        + "DIR]";

    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower
    };

    public static int Main(string[] args)
    {
        var (parameters, steps, seeds, rows, jobs, output) = (1_400_000L, 300, 3, 200, Environment.ProcessorCount,
            ".artifacts/compare");
        IReadOnlyList<Method> methods = Method.All;
        for (var i = 0; i < args.Length; i += 2)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            var isKnown = args[i] switch
            {
                "--parameters" => long.TryParse(value, CultureInfo.InvariantCulture, out parameters) && parameters > 0,
                "--steps" => int.TryParse(value, CultureInfo.InvariantCulture, out steps) && steps >= 40,
                "--seeds" => int.TryParse(value, CultureInfo.InvariantCulture, out seeds) && seeds > 0,
                "--rows" => int.TryParse(value, CultureInfo.InvariantCulture, out rows) && rows > 0,
                "--jobs" => int.TryParse(value, CultureInfo.InvariantCulture, out jobs) && jobs > 0,
                "--methods" =>
                    (methods = [.. Method.All.Where(method => value.Split(',').Contains(method.Name))]).Count == value
                    .Split(',').Length,
                "--output" => (output = value).Length > 0,
                _ => false,
            };
            if (isKnown)
                continue;
            Console.Error.WriteLine(
                $"{args[i]} {value}: {Usage}; steps from 40; methods: "
                + $"{string.Join(", ", Method.All.Select(method => method.Name))}");
            return 2;
        }

        try
        {
            return Run(parameters, steps, seeds, rows, jobs, methods, output);
        }
        catch (Exception error)
        {
            Console.Error.WriteLine((error as AggregateException)?.InnerException?.Message ?? error.Message);
            return 1;
        }
    }

    private static int Run(long parameters, int steps, int seeds, int rows, int jobs, IReadOnlyList<Method> methods,
        string output)
    {
        var clock = Stopwatch.StartNew();
        // The embedded base and the recipes are found from the checkout; each run is one thread, as many at once as
        // cores.
        var ranks = methods.ToDictionary(method => method, method => RankChoice.For(method.Recipes[0], parameters));
        foreach (var (method, rank) in ranks)
            Console.WriteLine(
                $"{method.Name,-12} rank {rank.Words}: {rank.Trainable:N0} trainable parameters "
                + $"({100.0 * rank.Trainable / parameters - 100:+0.0;-0.0} %)");
        Console.WriteLine(
            $"\n{methods.Count} methods, {seeds} seeds, {steps} steps, {rows} held-out rows a task, {jobs} runs at "
            + $"once");
        var threads = Math.Max(1, Environment.ProcessorCount / jobs);
        var runs = new MethodRun[methods.Count * seeds];
        var done = 0;
        Parallel.For(0, runs.Length, new ParallelOptions { MaxDegreeOfParallelism = jobs }, (i, loop) =>
        {
            var method = methods[i % methods.Count];
            runs[i] = MethodRun.Of(method, ranks[method], 1 + i / methods.Count, steps, rows, threads, output);
            Console.WriteLine(
                $"{clock.Elapsed:h\\:mm\\:ss} {Interlocked.Increment(ref done)}/{runs.Length} {method.Name}, seed "
                + $"{runs[i].Seed}: "
                + string.Join(", ", runs[i].Metrics.Select(metric => $"{metric.Key} {metric.Value:F3}")));
        });

        var table = ComparisonTable.Of([.. methods.Select(method => (method, ranks[method],
            (IReadOnlyList<MethodRun>)[.. runs.Where(run => run.Method == method.Name)]))]);
        AtomicFile.WriteText(Path.Combine(output, "comparison.md"), table + "\n");
        AtomicFile.WriteText(Path.Combine(output, "comparison.json"), JsonSerializer.Serialize(
            new
            {
                parameters,
                steps,
                seeds,
                rows,
                minutes = clock.Elapsed.TotalMinutes,
                ranks = ranks.ToDictionary(pair => pair.Key.Name, pair => pair.Value),
                runs
            },
            Indented) + "\n");
        Console.WriteLine($"\n{table}\n\nunlike in the papers:");
        foreach (var method in methods)
            Console.WriteLine($"  {method.Name}: {method.Difference}");
        Console.WriteLine(
            $"\n{clock.Elapsed.TotalMinutes:F0} minutes; {output}/comparison.md and comparison.json hold the table and "
            + $"every run");
        return 0;
    }
}
