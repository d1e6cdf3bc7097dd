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
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", output).IsRefused("the disk is full", output, "free some space");
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
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", Path.Combine(disk.Path, "out")).IsRefused("space", "metrics.jsonl");
    }

    [SmallDiskFact]
    public void A_tokenizer_that_does_not_fit_is_not_left_half_written()
    {
        using var disk = new SmallDisk(kilobytes: 4);
        var texts = Surroundings.WithInput([.. Enumerable.Range(0, 200).Select(i => $"word{i} word{i} another{i} another{i}")]);
        PeftProcess.Run(_folder, texts, "tokenize", "--train", "--vocab-size", "1000", "--tokenizer", disk.Path).IsRefused("the disk is full", "tokenizer.json");
        Assert.Empty(Directory.GetFiles(disk.Path));
    }

    public void Dispose() => _folder.Dispose();
}
