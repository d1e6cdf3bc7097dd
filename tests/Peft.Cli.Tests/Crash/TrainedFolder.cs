using System.Text.Json;
using Peft.Adapters.Bundles;
using Peft.Cli.Tests.Support;
using Peft.Recipes.Transfer;
using Peft.Training.Checkpoints;

namespace Peft.Cli.Tests.Crash;

/// <summary>What must hold of a run's folder at every moment, and what of a finished one.</summary>
internal sealed record TrainedFolder(
    IReadOnlyDictionary<string, byte[]> Files, IReadOnlyList<string> Names, IReadOnlyList<string> Metrics,
    string Scores)
{
    // All that does not depend on the clock, but the checkpoints: which ones are kept depends on where a run was
    // stopped.
    private static readonly string[] SameBytes =
        ["adapter_model.safetensors", "adapter_config.json", "bundle.json", "recipe.resolved.yaml", "README.md"];

    /// <summary>Reads the folder of a finished run.</summary>
    public static TrainedFolder Read(string folder) => new(
        SameBytes.ToDictionary(name => name, name => File.ReadAllBytes(Path.Combine(folder, name))),
        [.. Directory.EnumerateFileSystemEntries(folder).Select(path => Path.GetFileName(path)!)
            .Where(name => !name.StartsWith("checkpoint-", StringComparison.Ordinal)).Order(StringComparer.Ordinal)],
        [.. File.ReadLines(Path.Combine(folder, "metrics.jsonl")).Select(WithoutClock)], ScoresOf(folder));

    /// <summary>Asserts that everything in the folder that calls itself complete is.</summary>
    /// <returns>Whether there is a bundle.</returns>
    public static bool AssertIntact(string folder)
    {
        foreach (var checkpoint in new CheckpointStore(folder).All())
        {
            Assert.Equal(checkpoint.Step, TrainerStateFile.Read(checkpoint.Path).State.Step);
            AdapterVerification.Run(checkpoint.Path, null, _ => { });
        }
        if (!BundleFiles.IsBundle(folder))
            return false;
        AdapterVerification.Run(folder, null, _ => { });
        return true;
    }

    /// <summary>Asserts that a finished folder is the same as this one and holds nothing that a crash left.</summary>
    public void AssertSame(string folder)
    {
        var other = Read(folder);
        Assert.Equal(Names, other.Names);
        Assert.All(SameBytes,
            name => Assert.True(Files[name].AsSpan().SequenceEqual(other.Files[name]), $"{name} differs"));
        Assert.Equal(Metrics, other.Metrics);
        Assert.Equal(Scores, other.Scores);
        Assert.DoesNotContain(
            Directory.EnumerateFileSystemEntries(folder, "*", SearchOption.AllDirectories),
            path => path.Contains(".tmp-", StringComparison.Ordinal) || path.Contains(".old-", StringComparison.Ordinal)
                || path.EndsWith(".next", StringComparison.Ordinal));
    }

    // The results tell when they were made, too.
    private static string ScoresOf(string folder)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "results.json")));
        return json.RootElement.GetProperty("scores").GetRawText()
            + json.RootElement.GetProperty("comparisons").GetRawText();
    }

    // Without what a clock says, and what is told at logging steps only: a run may be continued with other
    // logging_steps.
    private static string WithoutClock(string line)
    {
        using var json = JsonDocument.Parse(line);
        return string.Join(
            ' ', json.RootElement.EnumerateObject().Where(key => key.Name
                is not ("tokens_per_second" or "peak_memory_bytes" or "routing")).Select(key => key.ToString()));
    }
}
