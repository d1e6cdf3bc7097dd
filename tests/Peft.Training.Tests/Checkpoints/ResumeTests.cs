using System.Text.RegularExpressions;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Data.Batches;
using Peft.Formats;
using Peft.Training.Checkpoints;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests.Checkpoints;

/// <summary>
/// A run that was stopped and continued is, number for number and byte for byte, the run that never stopped.
/// </summary>
public sealed partial class ResumeTests : IDisposable
{
    private static readonly TrainingOptions Options = TinyTraining.Options with
    {
        GradientAccumulationSteps = 2,
        SaveSteps = 5,
        SaveTotalLimit = 0
    };
    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    public static TheoryData<string> Methods => ["mixture", "lora", "full", "full-sgd", .. TinyTraining.Routers.Keys];

    [Theory]
    [MemberData(nameof(Methods))]
    public void Stopping_and_resuming_changes_no_bit(string method)
    {
        var straight = Run(method, "straight", stopAfter: null);
        Assert.Equal(TrainingEnd.Finished, straight.Outcome.End);

        var first = Run(method, "resumed", stopAfter: 7);
        Assert.Equal((TrainingEnd.Interrupted, 7), (first.Outcome.End, first.Outcome.Steps));
        Assert.Equal(_tiny.Folder["resumed/checkpoint-7"], first.Outcome.Checkpoint);
        var second = Run(method, "resumed", stopAfter: null,
            resume: new CheckpointStore(_tiny.Folder["resumed"]).Latest());

        Assert.Equal(["start 7/12"], second.Sink.Calls.Take(1));
        Assert.Equal(straight.Sink.Numbers, first.Sink.Numbers.Concat(second.Sink.Numbers));
        Assert.Equal(straight.Bytes, second.Bytes);
        Assert.Equal(FinalFiles(straight.Run, "a"), FinalFiles(second.Run, "b"));
        Assert.Equal(Metrics("straight"), Metrics("resumed"));
    }

    [Theory]
    [MemberData(nameof(Methods))]
    public void A_crash_goes_on_from_the_last_checkpoint_and_changes_no_bit(string method)
    {
        var straight = Run(method, "straight", stopAfter: null);

        Assert.Throws<IOException>(() => Run(method, "crashed", stopAfter: null, crashAfter: 8));
        var latest = new CheckpointStore(_tiny.Folder["crashed"]).Latest();
        Assert.Equal(5, latest!.Step);
        var second = Run(method, "crashed", stopAfter: null, resume: latest);

        Assert.Equal(straight.Bytes, second.Bytes);
        Assert.Equal(Metrics("straight"), Metrics("crashed"));
    }

    [Fact]
    public void A_run_may_be_stopped_at_every_step()
    {
        var straight = Run("mixture", "straight", stopAfter: null);
        var numbers = new List<string>();
        for (var step = 1; step <= 12; step++)
        {
            var part = Run("mixture", "parts", stopAfter: step,
                resume: new CheckpointStore(_tiny.Folder["parts"]).Latest());
            numbers.AddRange(part.Sink.Numbers);
            if (step == 12)
                Assert.Equal(straight.Bytes, part.Bytes);
        }

        Assert.Equal(straight.Sink.Numbers, numbers);
    }

    [Fact]
    public void Another_recipe_is_refused_with_the_lines_that_differ()
    {
        Run("lora", "out", stopAfter: 2);
        var checkpoint = new CheckpointStore(_tiny.Folder["out"]).Latest();
        var run = Build("lora", "out") with
        {
            ResumeFrom = checkpoint,
            RecipeIdentity = "training:\n  learning_rate: 0.5\n  seed: 7\n  optim: sgd\n",
        };
        var before = TinyTraining.Bytes(run, withOptimizer: true);

        var error = Assert.Throws<UserException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.Equal(
            $"{checkpoint!.Path}: written by another recipe. Continue with that recipe, or train again with "
            + $"--overwrite.\n"
            + "  checkpoint: training.learning_rate: 0.02\n  recipe:     training.learning_rate: 0.5\n"
            + "  recipe:     training.optim: sgd",
            error.Message);
        Assert.Equal(before, TinyTraining.Bytes(run, withOptimizer: true));
    }

    [Theory]
    [InlineData("a: 1\nb: 2\n", "b: 2\na: 1\n", true)]
    [InlineData("a: 1\n", "a: 1\nb: null\nc: []\n", true)] // a key of a later version that says nothing
    [InlineData("s:\n  a: 1\nt:\n  a: 2\n", "s:\n  a: 2\nt:\n  a: 1\n", false)]
    [InlineData("l:\n- a: 1\n- a: 2\n", "l:\n- a: 2\n- a: 1\n", false)]
    [InlineData("l:\n- a: 1\n  b: 2\n- a: 2\n", "l:\n- b: 2\n  a: 1\n- a: 2\n", true)]
    [InlineData("l:\n- 1\n- 2\n", "l:\n- 2\n- 1\n", false)]
    [InlineData("columns:\n  a: 1\n  b: 2\n", "columns:\n  b: 2\n  a: 1\n", false)]
    public void The_order_of_keys_is_no_difference_that_of_lists_is(string then, string now, bool isSame)
    {
        var file = new TrainerStateFile(TrainingState.Start, 12, then);
        var error = Record.Exception(() => file.RequireSameRecipe("c", now));
        Assert.Equal(isSame, error is null);
    }

    [Fact]
    public void Other_data_is_refused()
    {
        Run("lora", "out", stopAfter: 2);
        _tiny.WriteRows(12);
        var run = Build("lora", "out") with { ResumeFrom = new CheckpointStore(_tiny.Folder["out"]).Latest() };

        var error = Assert.Throws<UserException>(() => new TrainingLoop(run).Run(new StopRequest()));
        Assert.Contains("number of sequences was 13 when the checkpoint was written and is 12 now", error.Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("adapter_model.safetensors")]
    [InlineData("optimizer.safetensors")]
    [InlineData("trainer_state.json")]
    public void A_damaged_checkpoint_is_a_user_error_that_names_the_file(string name)
    {
        Run("lora", "out", stopAfter: 2);
        var checkpoint = new CheckpointStore(_tiny.Folder["out"]).Latest()!;
        var path = Path.Combine(checkpoint.Path, name);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..100]);
        AssertRefused();
        File.Delete(path);
        AssertRefused();

        void AssertRefused()
        {
            var run = Build("lora", "out") with { ResumeFrom = checkpoint };
            var error = Assert.ThrowsAny<UserException>(() => new TrainingLoop(run).Run(new StopRequest()));
            Assert.Contains(name, error.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_optimizer_state_of_other_parameters_is_a_user_error()
    {
        Run("lora", "out", stopAfter: 2);
        Run("full", "other", stopAfter: 2);
        var checkpoint = new CheckpointStore(_tiny.Folder["out"]).Latest()!;
        var path = Path.Combine(checkpoint.Path, "optimizer.safetensors");
        File.Copy(_tiny.Folder["other/checkpoint-2/optimizer.safetensors"], path, overwrite: true);
        var run = Build("lora", "out") with { ResumeFrom = checkpoint };

        var error = Assert.Throws<UserException>(() => new TrainingLoop(run).Run(new StopRequest()));
        Assert.StartsWith($"{path}: does not fit this run (optimizer state: 'exp_avg.", error.Message,
            StringComparison.Ordinal);
        Assert.EndsWith("). Resume from another checkpoint.", error.Message, StringComparison.Ordinal);
    }

    private (TrainingRun Run, TrainingOutcome Outcome, RecordingSink Sink, Dictionary<string, byte[]> Bytes) Run(
        string method, string output, int? stopAfter, CheckpointRef? resume = null, int? crashAfter = null)
    {
        var stop = new StopRequest();
        var sink = new RecordingSink(step =>
        {
            if (step.Step == stopAfter)
                stop.Request();
            if (step.Step == crashAfter)
                throw new IOException("pulled");
        });
        using var file = new JsonLinesSink(_tiny.Folder[$"{output}/metrics.jsonl"]);
        Directory.CreateDirectory(_tiny.Folder[output]);
        var run = Build(method, output) with { ResumeFrom = resume, Sinks = [file, sink] };
        var outcome = new TrainingLoop(run).Run(stop);
        return (run, outcome, sink, TinyTraining.Bytes(run, withOptimizer: true));
    }

    private TrainingRun Build(string method, string output) => method switch
    {
        "mixture" => _tiny.Build(Options, TinyTraining.Mixture, output),
        "lora" => _tiny.Build(Options, TinyTraining.Lora with { LoraDropout = 0.1 }, output),
        "full" => _tiny.Build(Options, null, output),
        _ when TinyTraining.Routers.TryGetValue(method, out var router) =>
            _tiny.Build(Options, TinyTraining.WithRouter(router), output),
        _ => _tiny.Build(Options with { Optim = "sgd", Momentum = 0.9 }, null, output),
    };

    private Dictionary<string, string> FinalFiles(TrainingRun run, string name)
    {
        run.Trainable.SaveExactly(_tiny.Folder[name]);
        var files = Directory.GetFiles(_tiny.Folder[name]).ToDictionary(f => Path.GetFileName(f),
            f => Convert.ToHexString(File.ReadAllBytes(f)));
        Assert.NotEmpty(files);
        return files;
    }

    // Wall time is no part of a run's numbers.
    private List<string> Metrics(string output) =>
        [.. File.ReadLines(_tiny.Folder[$"{output}/metrics.jsonl"]).Select(line => Speed().Replace(line, ""))];

    [GeneratedRegex("\"(tokens_per_second|peak_memory_bytes)\":[^,]*,")]
    private static partial Regex Speed();
}
