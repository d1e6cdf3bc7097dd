using Peft.Cli.Tests.Crash;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class DiskFullTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [SmallDiskFact]
    public void A_disk_without_room_for_the_bundle_is_told_before_training_and_is_not_the_users_mistake()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 32}", "{max_steps: 1, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 64); // the adapter alone takes 128
        var output = Path.Combine(disk.Path, "out");
        var run = PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).Exits(1)
            .Says($"{output}: 0.1 MB free, and result, checkpoints and metrics take about 0.1 MB. Free some space or "
                + $"choose another output.");
        Assert.DoesNotContain("step 1", run.Error);
        Assert.False(Directory.Exists(output));
    }

    [SmallDiskFact]
    public void Checkpoints_count_before_training_too()
    {
        _folder.Write("r.yaml",
            TinyBase.Recipe("{r: 32}", "{max_steps: 9, save_steps: 1, save_total_limit: 3, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 700); // a checkpoint takes about 400
        PeftProcess.Run(_folder, "train", "r.yaml", "--output",
            Path.Combine(disk.Path, "out")).Exits(1).Says("MB free, and result, checkpoints and metrics take about");
    }

    [SmallDiskFact]
    public void What_overwriting_removes_counts_as_room()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 32}", "{max_steps: 1, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 240); // once 128, not twice
        var output = Path.Combine(disk.Path, "out");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).Succeeds();
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output, "--overwrite").Succeeds();
    }

    [SmallDiskFact]
    public void A_disk_that_fills_up_while_numbers_are_written_is_told_as_such()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2000, save_steps: 0, report_to: none}"));
        using var disk = new SmallDisk(kilobytes: 4096);
        var output = Path.Combine(disk.Path, "out");
        using var filler = Filling(disk, Path.Combine(output, "metrics.jsonl"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).Exits(1).Says("metrics.jsonl",
            "the disk is full", "Free some space");
    }

    [SmallDiskFact]
    public void A_disk_that_fills_up_leaves_the_earlier_checkpoint_which_goes_on_once_there_is_room()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 32}", "{max_steps: 400, save_steps: 2, report_to: none}"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "whole").Succeeds();
        using var disk = new SmallDisk(kilobytes: 4096); // a checkpoint takes about 400
        var output = Path.Combine(disk.Path, "out");

        using (Filling(disk, Path.Combine(output, "checkpoint-2")))
            PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).Exits(1).Says("the disk is full",
                "Free some space");
        Assert.NotEmpty(Directory.GetDirectories(output, "checkpoint-*"));
        Assert.False(TrainedFolder.AssertIntact(output));

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
        File.WriteAllText(Path.Combine(output, "recipe.resolved.yaml"), "");
        disk.Remount("ro");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output, "--overwrite")
            .IsRefused($"{output}: cannot be written (Read-only file system",
                "Choose another directory with --output.");
        PeftProcess.Run(_folder, "train", "r.yaml", "--output",
            Path.Combine(disk.Path, "new")).Exits(2).Says("cannot be written", "--output");
        Assert.Equal(["notes.txt", "recipe.resolved.yaml"],
            Directory.GetFileSystemEntries(output).Select(Path.GetFileName).Order(StringComparer.Ordinal));
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
            "0") with
        { Prefix = ["prlimit", $"--fsize={bytes}:unlimited"] };
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
            disk.Path).Exits(1).Says("the disk is full", "tokenizer.json");
        Assert.Empty(Directory.GetFiles(disk.Path));
    }

    // Somebody else fills the disk once a file or directory is there, until this is disposed of.
    private static Filler Filling(SmallDisk disk, string once) => new(Path.Combine(disk.Path, "filler"), once);

    private sealed class Filler : IDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly string _path;
        private readonly Task _task;

        public Filler(string path, string once)
        {
            _path = path;
            _task = Task.Run(() =>
            {
                while (!Path.Exists(once) && !_stop.IsCancellationRequested)
                    Thread.Sleep(1);
                using var file = new FileStream(_path, FileMode.Append, FileAccess.Write, FileShare.ReadWrite,
                    bufferSize: 0);
                while (!_stop.IsCancellationRequested)
                {
                    try
                    {
                        file.Write(new byte[4096]);
                    }
                    catch (IOException)
                    {
                        Thread.Sleep(1); // full; what the run removes is taken at once
                    }
                }
            });
        }

        public void Dispose()
        {
            _stop.Cancel();
            _task.Wait();
            _stop.Dispose();
            File.Delete(_path);
        }
    }

    public void Dispose() => _folder.Dispose();
}
