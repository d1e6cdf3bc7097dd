using System.Text.RegularExpressions;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Recipes.Tests.Support;
using Peft.Training;
using Peft.Training.Checkpoints;

namespace Peft.Recipes.Tests;

public sealed class OutputDirectoryTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Out => _folder["out"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_new_or_empty_directory_is_taken()
    {
        Assert.Equal(new OutputDirectory(Out, null), OutputDirectory.Decide(Out, null, false));
        Directory.CreateDirectory(Out);
        Assert.Equal(new OutputDirectory(Out, null), OutputDirectory.Decide(Out, null, false));
    }

    [Fact]
    public void A_directory_that_is_not_empty_is_refused_by_what_it_holds_and_nothing_is_touched()
    {
        _folder.Write("out/notes.txt", "mine");
        Assert.Equal($"{Out}: is not empty, and holds no run. Choose another directory with --output.",
            Message(null, false));
        _folder.Write("out/recipe.resolved.yaml", "");
        Assert.Equal(
            $"{Out}: holds an unfinished run without a checkpoint. Replace it with --overwrite, or choose another "
            + "directory with --output.", Message(null, false));
        Checkpoint(7);
        Assert.Equal(
            $"{Out}: holds an unfinished run, saved at step 7. Continue it with --resume auto, replace it with "
            + $"--overwrite, "
            + "or choose another directory with --output.", Message(null, false));
        _folder.Write("out/bundle.json", "{}");
        Assert.Equal(
            $"{Out}: holds the result of an earlier run. Replace it with --overwrite, or choose another directory with "
            + $"--output.",
            Message(null, false));
        Assert.Equal("mine", File.ReadAllText(_folder["out/notes.txt"]));
    }

    [Fact]
    public void Overwriting_removes_results_and_reports_of_the_bundle_before()
    {
        foreach (
            var name in new[] { "bundle.json", "evaluation/results.json", "evaluation/examples.parquet",
            "evaluation/journal.jsonl", "evaluation/examples.parquet.tmp-7-1", "report/report.html" })
            _folder.Write($"out/{name}", "{}");
        OutputDirectory.Decide(Out, null, true).Prepare().Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(Out));
    }

    [Fact]
    public void Of_the_folders_of_a_run_the_files_that_it_did_not_write_stay()
    {
        string[] mine = ["evaluation/mine.txt", "events/mine.txt", "report/photo.jpg", "report/plan.md"];
        foreach (
            var name in mine.Concat([
            "bundle.json", "evaluation/results.json", "report/report.html",
            "events/events.out.tfevents.1.host.2.0.peft" ]))
            _folder.Write($"out/{name}", "{}");
        OutputDirectory.Decide(Out, null, true).Prepare().Dispose();
        Assert.Equal(mine,
            Directory.GetFiles(Out, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(Out, path))
                .Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("README.md")]
    [InlineData("events/mine.txt")]
    [InlineData("metrics.jsonl")]
    [InlineData("model.safetensors")] // a base model, for example
    [InlineData("adapter_config.json")]
    [InlineData("checkpoint-500/trainer_state.json")] // another trainer's
    public void What_no_run_wrote_is_neither_replaced_nor_continued(string name)
    {
        Checkpoint(4);
        Directory.Move(Out, _folder["elsewhere"]);
        _folder.Write($"out/{name}", "mine");
        var message = $"{Out}: is not empty, and holds no run. Choose another directory with --output.";
        Assert.Equal(message, Message(null, true));
        Assert.Equal(message, Message("auto", false));
        Assert.Equal(message, Message(_folder["elsewhere/checkpoint-4"], false));
        Assert.Equal("mine", File.ReadAllText(_folder[$"out/{name}"]));
    }

    [Fact]
    public void A_directory_that_holds_only_what_a_crash_left_half_written_is_empty()
    {
        _folder.Write("out/recipe.resolved.yaml.tmp-77-5", "half");
        OutputDirectory.Decide(Out, null, false).Prepare().Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(Out));
    }

    [Fact]
    public void A_run_that_does_not_fit_on_the_disk_is_refused_before_it_begins()
    {
        var directory = OutputDirectory.Decide(Out, null, false);
        directory.RequireSpace(1);
        var error = Assert.Throws<FileOperationException>(() => directory.RequireSpace(1L << 60));
        Assert.True(error.IsFull);
        Assert.Matches(
            $"^{Regex.Escape(Out)}: [0-9,.]+ MB free, and result, checkpoints and metrics take about "
            + $"1,099,511,627,776.0 MB. "
            + "Free some space or choose another output.$", error.Message);
        Assert.False(Directory.Exists(Out));
    }

    [Fact]
    public void Overwriting_removes_what_a_run_left_and_nothing_else()
    {
        Checkpoint(3);
        foreach (
            var name in new[] { "bundle.json", "adapter_config.json", "adapter_model.safetensors", "README.md",
            "recipe.resolved.yaml",
            "metrics.jsonl", "results.json", "evaluation.json", "events/events.out.tfevents.1", ".next/bundle.json" })
            _folder.Write($"out/{name}", "{}");
        _folder.Write("out/notes.txt", "mine");
        _folder.Write("out/checkpoint-mine/x", "mine");

        var directory = OutputDirectory.Decide(Out, null, true);
        Assert.Equal(14, Directory.GetFiles(Out, "*", SearchOption.AllDirectories).Length);
        directory.Prepare().Dispose();

        Assert.Equal(["checkpoint-mine", "notes.txt"],
            Directory.GetFileSystemEntries(Out).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_readme_that_belongs_to_no_bundle_is_not_removed()
    {
        _folder.Write("out/README.md", "a project's own");
        _folder.Write("out/recipe.resolved.yaml", "");
        OutputDirectory.Decide(Out, null, true).Prepare().Dispose();
        Assert.Equal("a project's own", File.ReadAllText(_folder["out/README.md"]));
    }

    [Fact]
    public void Resume_auto_takes_the_newest_checkpoint_and_preparing_keeps_everything()
    {
        Checkpoint(9);
        Checkpoint(10);
        _folder.Write("out/metrics.jsonl", "{}");

        var directory = OutputDirectory.Decide(Out, "auto", false);
        directory.Prepare().Dispose();

        Assert.Equal(new CheckpointRef(10, _folder["out/checkpoint-10"]), directory.Resume);
        Assert.True(File.Exists(_folder["out/metrics.jsonl"]));
        Assert.Equal(2, new CheckpointStore(Out).All().Count);
    }

    [Fact]
    public void Resume_auto_without_a_checkpoint_begins_anew()
    {
        Assert.Null(OutputDirectory.Decide(Out, "auto", false).Resume);
        _folder.Write("out/metrics.jsonl", "{}");
        _folder.Write("out/recipe.resolved.yaml", "");
        var directory = OutputDirectory.Decide(Out, "auto", false);
        Assert.True(directory.BeginsAnew);
        Assert.False(OutputDirectory.Decide(Out, null, true).BeginsAnew);
        directory.Prepare().Dispose();
        Assert.Null(directory.Resume);
        Assert.False(File.Exists(_folder["out/metrics.jsonl"]));
    }

    [Theory]
    [InlineData("bundle.json")]
    [InlineData("model.safetensors")]
    public void Resume_auto_does_not_remove_a_finished_result(string file)
    {
        _folder.Write($"out/{file}", "{}");
        _folder.Write("out/recipe.resolved.yaml", "");
        Assert.Equal(
            $"{Out}: holds a finished result and no checkpoint to resume from. "
            + "Replace it with --overwrite, or choose another directory with --output.",
            Message("auto", false));
    }

    [Fact]
    public void A_checkpoint_that_is_named_is_taken_from_wherever_it_is()
    {
        Checkpoint(4);
        var directory = OutputDirectory.Decide(_folder["other"], _folder["out/checkpoint-4"], false);
        Assert.Equal((_folder["other"], new CheckpointRef(4, _folder["out/checkpoint-4"])),
            (directory.Path, directory.Resume));
    }

    [Fact]
    public void A_checkpoint_that_is_none_is_refused() => Assert.Equal(
        $"{_folder.Path}: no trainer_state.json in it. Name a checkpoint-N directory, or use --resume auto.",
        Message(_folder.Path, false));

    [Fact]
    public void Resume_and_overwrite_contradict_each_other() => Assert.Equal(
        "--resume: given with --overwrite; expected one of the two. --resume continues what is there, --overwrite "
        + "removes it.", Message("auto", true));

    [Theory]
    [InlineData(null, false)]
    [InlineData(null, true)]
    [InlineData("auto", false)]
    public void A_file_is_no_directory(string? resume, bool overwrite)
    {
        _folder.Write("out", "");
        Assert.Equal($"{Out}: is a file. Name a directory with --output.", Message(resume, overwrite));
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData("auto", false)]
    public void A_directory_that_another_run_is_writing_is_refused_and_nothing_is_touched(string? resume,
        bool overwrite)
    {
        _folder.Write("out/metrics.jsonl", "mine");
        _folder.Write("out/recipe.resolved.yaml", "");
        var second = OutputDirectory.Decide(Out, resume, overwrite);
        using (OutputDirectory.Decide(Out, "auto", false).Prepare())
        {
            _folder.Write("out/metrics.jsonl", "the first one's");
            _folder.Write("out/recipe.resolved.yaml", "");
            const string Message =
                ": another run is writing here now. Wait until it ends, or choose another directory with --output.";
            Assert.Equal(Out + Message, Assert.Throws<UserException>(() => OutputDirectory.RequireFree(Out)).Message);
            Assert.Equal(Out + Message, Assert.Throws<UserException>(second.Prepare).Message);
            Assert.Equal("the first one's", File.ReadAllText(_folder["out/metrics.jsonl"]));
        }
        OutputDirectory.RequireFree(Out);
        second.Prepare().Dispose();
    }

    [Fact]
    public void What_another_run_wrote_since_the_decision_is_not_touched()
    {
        var (fresh, resumed) = (OutputDirectory.Decide(Out, null, false), OutputDirectory.Decide(Out, "auto", false));
        using (OutputDirectory.Decide(Out, null, false).Prepare())
            Checkpoint(3);

        Assert.Contains("holds an unfinished run, saved at step 3",
            Assert.Throws<UserException>(fresh.Prepare).Message, StringComparison.Ordinal);
        Assert.Equal($"{Out}: another run has just written a checkpoint here. Start again.",
            Assert.Throws<UserException>(resumed.Prepare).Message);
        Assert.Single(new CheckpointStore(Out).All());
    }

    [Fact]
    public void Preparing_removes_what_a_crash_left_half_written()
    {
        Checkpoint(3);
        foreach (
            var name in new[] { "checkpoint-4.tmp-77/adapter_config.json", ".next.tmp-77/bundle.json",
            "metrics.jsonl.tmp-77-5" })
            _folder.Write($"out/{name}", "half");
        OutputDirectory.Decide(Out, "auto", false).Prepare().Dispose();
        Assert.Equal(["checkpoint-3"], Directory.GetFileSystemEntries(Out).Select(Path.GetFileName));
    }

    [Fact]
    public void A_place_that_cannot_be_written_is_a_user_error()
    {
        _folder.Write("file", "");
        var error =
            Assert.Throws<UserException>(() => OutputDirectory.Decide(_folder["file/out"], null, false).Prepare());
        Assert.StartsWith($"{_folder["file/out"]}: cannot be written (", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("). Choose another directory with --output.", error.Message, StringComparison.Ordinal);
    }

    private string Message(string? resume, bool overwrite) =>
        Assert.Throws<UserException>(() => OutputDirectory.Decide(Out, resume, overwrite)).Message;

    private void Checkpoint(int step)
    {
        Directory.CreateDirectory(_folder[$"out/checkpoint-{step}"]);
        TrainerStateFile.Write(_folder[$"out/checkpoint-{step}"],
            new(TrainingState.Start with { Step = step }, 20, "a: 1\n"));
        _folder.Write($"out/checkpoint-{step}/{CheckpointStore.OptimizerFile}", "");
    }
}
