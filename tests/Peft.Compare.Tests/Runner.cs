using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Compare;

/// <summary>Something that is trained and measured by itself, and kept.</summary>
internal interface IRun
{
    /// <summary>How progress lines call it.</summary>
    string Name { get; }

    /// <summary>Its folder, below that of all runs.</summary>
    string Folder { get; }

    /// <summary>The recipes and data files that it depends on beside its words.</summary>
    IEnumerable<string> Files { get; }

    /// <summary>The words of <c>bin/peft</c>, one command after the other.</summary>
    /// <param name="folder">Where it works.</param>
    /// <param name="rows">Test rows of a task.</param>
    /// <param name="share">Share of the plan's steps.</param>
    IEnumerable<IReadOnlyList<string>> Commands(string folder, int rows, double share);

    /// <summary>What the finished commands have left.</summary>
    /// <param name="folder">Where they worked.</param>
    /// <param name="megabytes">Largest resident size of a process.</param>
    IReadOnlyList<Measured> Read(string folder, double megabytes);
}

/// <summary>
/// Trains and measures in processes of their own, as many at once as asked for, each with its share of the cores; a
/// run that
/// has been made before from the same words, recipes, base and data is kept.
/// </summary>
/// <param name="folder">Where runs go.</param>
/// <param name="jobs">Runs at once.</param>
/// <param name="rows">Test rows of a task.</param>
/// <param name="share">Share of the plan's steps that is trained: less than 1 for a quick look.</param>
internal sealed class Runner(string folder, int jobs, int rows, double share)
{
    private const string ResultFile = "run.json";

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    private readonly Dictionary<string, string> _hashes = [];

    /// <summary>Makes the runs, begun in their order, so that whole seeds are there when it is ended.</summary>
    /// <param name="runs">What is asked for.</param>
    /// <param name="stop">Ends it: running ones are ended, finished ones stay.</param>
    /// <returns>What each run measured, in their order.</returns>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    /// <exception cref="InvalidOperationException">Runs failed; the others were finished before this is
    /// thrown.</exception>
    public IReadOnlyList<IReadOnlyList<Measured>> All(IReadOnlyList<IRun> runs, CancellationToken stop)
    {
        var made = runs.Select(Kept).ToArray();
        var open = Enumerable.Range(0, runs.Count).Where(i => made[i] is null).ToList();
        if (open.Count < runs.Count)
            Console.WriteLine($"{runs.Count - open.Count} of {runs.Count} runs are kept from earlier");
        var (clock, done, failures) = (Stopwatch.StartNew(), 0, new ConcurrentQueue<string>());
        Parallel.ForEach(
            Partitioner.Create(open, EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = jobs }, i =>
            {
                if (stop.IsCancellationRequested)
                    return;
                try
                {
                    made[i] = Make(runs[i], stop);
                    var ended = Interlocked.Increment(ref done);
                    Console.WriteLine($"{clock.Elapsed:h\\:mm\\:ss} {ended}/{open.Count} {runs[i].Name}: "
                        + $"{Words(made[i]!)}; "
                        + $"{clock.Elapsed / ended * (open.Count - ended):h\\:mm} left");
                }
                catch (Exception e) when (!stop.IsCancellationRequested)
                {
                    failures.Enqueue($"{runs[i].Name}: {e.Message}");
                }
                catch (OperationCanceledException)
                {
                    // What was running is made again by the next start.
                }
            });
        stop.ThrowIfCancellationRequested();
        return failures.TryPeek(out var first)
            ? throw new InvalidOperationException($"{failures.Count} of {open.Count} runs failed; the first:\n{first}")
            : [.. made.Select(measured => measured!)];
    }

    private static string Words(IReadOnlyList<Measured> measured) => string.Join("; ", measured.Select(one =>
        one.ValidationLoss is { } loss ? string.Create(CultureInfo.InvariantCulture, $"validation loss {loss:F4}")
        : (measured.Count > 1 ? one.Arm + " " : "") + string.Join(", ", one.Tasks.Select(task =>
            string.Create(CultureInfo.InvariantCulture, $"{task.Key} {task.Value.Values().Average():F3}")))));

    private string DirectoryOf(IRun run) => Path.Combine(folder, run.Folder);

    private IReadOnlyList<Measured>? Kept(IRun run)
    {
        var file = Path.Combine(DirectoryOf(run), ResultFile);
        try
        {
            return File.Exists(file) && JsonSerializer.Deserialize<Record>(File.ReadAllText(file), Json) is { } kept
                && kept.Asked == Asked(run) ? kept.Measured : null;
        }
        catch (JsonException)
        {
            return null; // of another version of this program: made anew
        }
    }

    private IReadOnlyList<Measured> Make(IRun run, CancellationToken stop)
    {
        var directory = DirectoryOf(run);
        if (Directory.Exists(directory))
            Directory.Delete(directory, true);
        Directory.CreateDirectory(directory);
        var peak = 0.0;
        foreach (var words in run.Commands(directory, rows, share))
            peak = Math.Max(peak, Start(words, Math.Max(1, Environment.ProcessorCount / jobs), stop));
        var measured = run.Read(directory, peak);
        AtomicFile.WriteText(Path.Combine(directory, ResultFile),
            JsonSerializer.Serialize(new Record(Asked(run), measured), Json) + "\n");
        // Adapters of hundreds of runs would fill the disk.
        foreach (var left in Directory.GetDirectories(directory))
            Directory.Delete(left, true);
        return measured;
    }

    private string Asked(IRun run) => string.Join('\n',
    [
        Plan.BaseFingerprint,
        .. run.Files.Distinct().Order(StringComparer.Ordinal).SelectMany(file =>
            file.EndsWith(".yaml", StringComparison.Ordinal) ? Lines(file) : [$"{file} {HashOf(file)}"]),
        .. run.Commands(DirectoryOf(run), rows, share).Select(words => string.Join(' ', words)),
    ]);

    // A recipe's lines and those of what it extends, without remarks.
    private static IEnumerable<string> Lines(string recipe)
    {
        const string Extends = "extends:";
        foreach (var line in File.ReadLines(recipe).Select(line => line.Split(" #")[0].TrimEnd()))
        {
            if (line.StartsWith(Extends, StringComparison.Ordinal))
            {
                var extended = Path.Combine(Path.GetDirectoryName(recipe)!, line[Extends.Length..].Trim());
                foreach (var inner in Lines(extended))
                    yield return inner;
            }
            else if (line.Length > 0 && line[0] != '#')
            {
                yield return line;
            }
        }
    }

    private string HashOf(string file)
    {
        lock (_hashes)
        {
            if (!_hashes.TryGetValue(file, out var hash))
                _hashes.Add(file, hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file))));
            return hash;
        }
    }

    /// <summary>Runs <c>bin/peft</c> to its end.</summary>
    /// <returns>The largest resident size, in megabytes.</returns>
    private static double Start(IEnumerable<string> words, int threads, CancellationToken stop)
    {
        var start = new ProcessStartInfo("bin/peft", words)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
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

    private sealed record Record(string Asked, IReadOnlyList<Measured> Measured);
}
