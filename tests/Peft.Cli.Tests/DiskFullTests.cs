using Peft.Cli.Tests.Crash;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class DiskFullTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [SmallDiskFact]
    public void A_disk_that_is_full_when_the_bundle_is_written_leaves_no_half_bundle()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 32}", "{max_steps: 1, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 64); // the adapter alone takes 128
        var output = Path.Combine(disk.Path, "out");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).IsRefused("the disk is full", output,
            "free some space");
        Assert.Equal(
            ["metrics.jsonl", "recipe.resolved.yaml"],
            Directory.GetFileSystemEntries(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [SmallDiskFact]
    public void A_disk_that_is_full_when_numbers_are_written_is_the_users_mistake()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 200, save_steps: 0, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 16);
        // Leaves a page for the directory's two small files; the numbers of 200 steps take 40 KB.
        PeftProcess.Run(_folder, "train", "r.yaml", "--output",
            Path.Combine(disk.Path, "out")).IsRefused("metrics.jsonl", "the disk is full", "free some space");
    }

    [SmallDiskFact]
    public void A_disk_that_fills_up_leaves_the_earlier_checkpoint_which_goes_on_once_there_is_room()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 32}", "{max_steps: 3, save_steps: 1, report_to: none}"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "whole").Succeeds();
        using var disk = new SmallDisk(kilobytes: 700); // a checkpoint takes about 400
        var output = Path.Combine(disk.Path, "out");

        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).IsRefused("checkpoint-2", "the disk is full",
            "free some space");
        Assert.Equal(
            ["checkpoint-1", "metrics.jsonl", "recipe.resolved.yaml"],
            Directory.GetFileSystemEntries(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.False(TrainedFolder.AssertIntact(output));

        disk.Remount("size=4m");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output, "--resume", "auto").Succeeds();
        Assert.True(TrainedFolder.AssertIntact(output));
        Assert.Equal(File.ReadAllBytes(_folder["whole/adapter_model.safetensors"]),
            File.ReadAllBytes(Path.Combine(output, "adapter_model.safetensors")));
    }

    [SmallDiskFact]
    public void A_read_only_file_system_is_told_and_what_stands_there_stays()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 1, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 64);
        var output = Path.Combine(disk.Path, "out");
        Directory.CreateDirectory(output);
        File.WriteAllText(Path.Combine(output, "notes.txt"), "mine");
        disk.Remount("ro");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output, "--overwrite")
            .Exits(2).Says("the file system is read-only", output, "choose another output");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output",
            Path.Combine(disk.Path, "new")).Exits(2).Says("cannot be written", "--output");
        Assert.Equal(["notes.txt"], Directory.GetFileSystemEntries(output).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData("{r: 32}", 100_000, "out/.next", "metrics.jsonl",
        "recipe.resolved.yaml")] // the adapter alone takes 128 KB
    [InlineData("{r: 2}", 4096, "out/metrics.jsonl", "metrics.jsonl", "recipe.resolved.yaml")]
    public void A_file_larger_than_the_shell_allows_is_told_and_not_left_half_written(string adapter, int bytes,
        string file, params string[] left)
    {
        _folder.Write("r.yaml", TinyBase.Recipe(adapter, "{max_steps: 60, save_steps: 0, report_to: none}"));
        // The runtime needs one large file in memory for its own protection; with this it does without.
        var limited = Surroundings.With("DOTNET_EnableWriteXorExecute",
            "0") with { Prefix = ["prlimit", $"--fsize={bytes}:unlimited"] };
        PeftProcess.Run(_folder, limited, "train", "r.yaml", "--output", "out")
            .IsRefused(file, "larger than this shell or file system allows", "ulimit -f");
        Assert.Equal(left,
            Directory.GetFileSystemEntries(_folder["out"]).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [SmallDiskFact]
    public void A_tokenizer_that_does_not_fit_is_not_left_half_written()
    {
        using var disk = new SmallDisk(kilobytes: 4);
        var texts = Surroundings.WithInput(
            [.. Enumerable.Range(0, 200).Select(i => $"word{i} word{i} another{i} another{i}")]);
        PeftProcess.Run(_folder, texts, "tokenize", "--train", "--vocab-size", "1000", "--tokenizer",
            disk.Path).IsRefused("the disk is full", "tokenizer.json");
        Assert.Empty(Directory.GetFiles(disk.Path));
    }

    public void Dispose() => _folder.Dispose();
}
