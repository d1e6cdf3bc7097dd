using Peft.Data.Batches;
using Peft.Formats;
using Peft.Training.Checkpoints;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests.Checkpoints;

public sealed class CheckpointStoreTests : IDisposable
{
    private static readonly TrainingOptions Options = TinyTraining.Options with { MaxSteps = 8 };
    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void A_checkpoint_holds_a_bundle_the_optimizer_and_the_trainers_state()
    {
        Train(Options with { SaveSteps = 5 });

        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors", "bundle.json", "optimizer.safetensors",
                "trainer_state.json"],
            Directory.GetFileSystemEntries(_tiny.Folder["out/checkpoint-5"]).Select(Path.GetFileName).Order(
                StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(0, new[] { 1, 2, 3, 4, 5, 6, 7 })]
    [InlineData(1, new[] { 7 })]
    [InlineData(2, new[] { 6, 7 })]
    [InlineData(3, new[] { 5, 6, 7 })]
    public void The_newest_are_kept(int limit, int[] kept)
    {
        Train(Options with { SaveSteps = 1, SaveTotalLimit = limit });
        Assert.Equal(kept, Steps());
    }

    [Theory]
    [InlineData(1, new[] { 2, 7 })]
    [InlineData(2, new[] { 2, 6, 7 })]
    public void The_best_is_kept_beside_the_newest(int limit, int[] kept)
    {
        Train(Options with { SaveSteps = 1, SaveTotalLimit = limit, EvalSteps = 2 }, step => step == 2 ? 1 : 2);
        Assert.Equal(kept, Steps());
    }

    [Fact]
    public void A_better_one_takes_the_place_of_the_best()
    {
        Train(Options with { SaveSteps = 1, SaveTotalLimit = 1, EvalSteps = 2 }, step => step <= 4 ? 5 - step : 9);
        Assert.Equal([4, 7], Steps());
    }

    [Fact]
    public void Without_save_steps_nothing_is_written_but_on_a_stop()
    {
        Train(Options);
        Assert.Empty(Steps());
    }

    [Fact]
    public void Other_directories_are_no_checkpoints()
    {
        var store = new CheckpointStore(_tiny.Folder["out"]);
        Assert.Empty(store.All());
        Assert.Null(store.Latest());
        foreach (
            var name in new[] { "checkpoint-10", "checkpoint-9", "checkpoint-", "checkpoint-x", "checkpoint-7.tmp-123",
            "checkpoint--3", "other-99" })
        {
            Directory.CreateDirectory(_tiny.Folder[$"out/{name}"]);
            File.WriteAllText(_tiny.Folder[$"out/{name}/{CheckpointStore.OptimizerFile}"], "");
        }
        Directory.CreateDirectory(_tiny.Folder["out/checkpoint-500"]); // another trainer's
        File.WriteAllText(_tiny.Folder["out/checkpoint-500/trainer_state.json"], "{}");

        Assert.Equal([9, 10], Steps());
        Assert.Equal(10, store.Latest()!.Step);
    }

    [Fact]
    public void A_failed_save_leaves_the_old_checkpoint_and_nothing_beside_it()
    {
        var run = _tiny.Build(Options, TinyTraining.Lora);
        TrainerStateFile At(int? best) =>
            new(TrainingState.Start with { Step = 3, BestStep = best }, run.TotalSteps, run.RecipeIdentity);
        run.Checkpoints.Save(At(null), run.Trainable, run.Optimizer, 0);
        var before = File.ReadAllText(_tiny.Folder["out/checkpoint-3/trainer_state.json"]);
        var broken = new Changed(run.Trainable) { Saving = () => throw new InvalidOperationException("full") };

        Assert.Throws<InvalidOperationException>(() => run.Checkpoints.Save(At(1), broken, run.Optimizer, 0));

        Assert.Equal(["checkpoint-3"], Directory.GetFileSystemEntries(_tiny.Folder["out"]).Select(Path.GetFileName));
        Assert.Equal(before, File.ReadAllText(_tiny.Folder["out/checkpoint-3/trainer_state.json"]));
    }

    [Fact]
    public void A_directory_that_is_no_checkpoint_is_refused_by_name()
    {
        var error = Assert.Throws<UserException>(() => CheckpointStore.Open(_tiny.Folder.Path));
        Assert.Equal(
            $"{_tiny.Folder.Path}: no trainer_state.json in it. Name a checkpoint-N directory, or use --resume auto.",
            error.Message);
    }

    [Fact]
    public void A_checkpoint_may_have_been_moved()
    {
        Train(Options with { SaveSteps = 5 });
        Directory.Move(_tiny.Folder["out/checkpoint-5"], _tiny.Folder["elsewhere"]);
        Assert.Equal(new CheckpointRef(5, _tiny.Folder["elsewhere"]), CheckpointStore.Open(_tiny.Folder["elsewhere"]));
    }

    [Fact]
    public void The_trainers_state_reads_back_as_it_was()
    {
        var data = new BatchStreamState(7, 4, 2, 64, 13, "ab", 3, 1, 2, [5, 8]);
        var file = new TrainerStateFile(new TrainingState(12, data, 8, 1.0 / 3, 2, true), 100, "a: 1\n");
        TrainerStateFile.Write(_tiny.Folder.Path, file);
        var read = TrainerStateFile.Read(_tiny.Folder.Path);

        Assert.Equal(data.Drawn, read.State.Data!.Drawn);
        Assert.Equal(file, read with { State = read.State with { Data = data } });
        Assert.Equal(data, read.State.Data with { Drawn = data.Drawn });
    }

    [Theory]
    [InlineData("{\"format_version\": 2, \"runner\": {}}", "format 2; expected format 1, which this version reads.")]
    [InlineData("{\"format_version\": 1}", "cannot be read (")]
    [InlineData("{\"format_version\": 1, \"trainer\": null}", "cannot be read (")]
    [InlineData("{\"format_version\": 1, \"trainer\": {\"state\": {}, \"total_steps\": 1, \"recipe\": \"\"}}",
        "cannot be read (")]
    [InlineData("null", "holds no training state. Resume from another checkpoint.")]
    [InlineData("{\"format_version\": 1, \"trainer\": {\"sta", "cannot be read (")]
    [InlineData("", "cannot be read (")]
    public void A_damaged_state_is_a_user_error(string text, string expected)
    {
        File.WriteAllText(_tiny.Folder["trainer_state.json"], text);
        var error = Assert.Throws<UserException>(() => TrainerStateFile.Read(_tiny.Folder.Path));
        Assert.StartsWith($"{_tiny.Folder["trainer_state.json"]}: {expected}", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"total_steps\": 100", "\"total_steps\": 0", "total_steps", "at least 1")]
    [InlineData("\"step\": 12", "\"step\": -1", "step", "a number from 0 to total_steps, which is 100")]
    [InlineData("\"step\": 12", "\"step\": 101", "step", "a number from 0 to total_steps, which is 100")]
    [InlineData("\"best_step\": 8", "\"best_step\": 13", "best_step", "a number from 0 to step, which is 12")]
    [InlineData("\"evaluations_without_gain\": 2", "\"evaluations_without_gain\": -2", "evaluations_without_gain",
        "at least 0")]
    public void A_number_out_of_range_is_a_fault_of_its_key(string was, string by, string place, string allowed)
    {
        WriteState(was, by);
        var error = Assert.Throws<FaultsException>(() => TrainerStateFile.Read(_tiny.Folder.Path));
        Assert.Contains($"  {place}  ", error.Message, StringComparison.Ordinal);
        Assert.Contains($"; expected {allowed}. Resume from another checkpoint.", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_key_that_stands_twice_is_refused()
    {
        WriteState("\"step\": 12", "\"step\": 12, \"step\": 13");
        var error = Assert.Throws<UserException>(() => TrainerStateFile.Read(_tiny.Folder.Path));
        Assert.Contains("cannot be read (", error.Message, StringComparison.Ordinal);
        Assert.Contains("step", error.Message, StringComparison.Ordinal);
    }

    private void WriteState(string was, string by)
    {
        var file = new TrainerStateFile(new TrainingState(12, null, 8, 0.5, 2, true), 100, "a: 1\n");
        TrainerStateFile.Write(_tiny.Folder.Path, file);
        var text = File.ReadAllText(_tiny.Folder["trainer_state.json"]);
        Assert.Contains(was, text, StringComparison.Ordinal);
        File.WriteAllText(_tiny.Folder["trainer_state.json"], text.Replace(was, by, StringComparison.Ordinal));
    }

    private void Train(TrainingOptions options, Func<int, double>? evalLoss = null)
    {
        var run = _tiny.Build(options, TinyTraining.Lora, dataOptions: evalLoss is null ? null : _tiny.Evaluated);
        run = run with { Trainable = new Changed(run.Trainable) { EvalLoss = evalLoss } };
        new TrainingLoop(run).Run(new StopRequest());
    }

    private IEnumerable<int> Steps() => new CheckpointStore(_tiny.Folder["out"]).All().Select(c => c.Step);
}
