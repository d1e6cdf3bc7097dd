using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

public sealed class NonFiniteLossTests : IDisposable
{
    private static readonly TrainingOptions Options = TinyTraining.Options with
    {
        MaxSteps = 6,
        PerDeviceTrainBatchSize = 2,
        WarmupSteps = 0,
    };

    private readonly TinyTraining _tiny = new(rows: 2);

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void An_infinite_value_stops_the_run_and_the_message_names_step_and_rows()
    {
        var run = _tiny.Build(Options, TinyTraining.Mixture);
        using (torch.no_grad())
            run.Trainable.Parameters.Last(p => p.Name.EndsWith("lora_B", StringComparison.Ordinal)).Parameter.fill_(
                double.PositiveInfinity);
        var before = TinyTraining.Bytes(run);

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        var rows = _tiny.Folder["rows.jsonl"];
        Assert.Contains(error.Message, Orders(
            "step 1: the loss is not a finite number. Rows: {0}. No checkpoint was written yet. "
            + "Train again with a lower learning_rate or max_grad_norm, look at the rows named, or skip such steps "
            + "(training.on_non_finite: skip).", $"{rows}, row 1", $"{rows}, row 2"));
        Assert.Equal(before, TinyTraining.Bytes(run));
    }

    [Fact]
    public void A_trained_value_that_is_not_finite_is_not_saved_and_the_checkpoint_before_is_named()
    {
        var run = _tiny.Build(
            Options with { LrSchedulerType = "constant", SaveSteps = 1, MaxGradNorm = 0, MaxSteps = 50 }, null);
        // What too high a learning rate does sooner or later, at a step that is known.
        run = run with { Trainable = new Changed(run.Trainable) { Applied = step => { if (step == 2) Poison(run); } } };

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith(
            $"step 3: {run.Trainable.Parameters[^1].Name} holds a value that is not a finite number. The last good "
            + $"state is {_tiny.Folder["out"]}/checkpoint-2. ",
            error.Message, StringComparison.Ordinal);
        Assert.Equal([1, 2], run.Checkpoints.All().Select(c => c.Step));
    }

    [Fact]
    public void A_loss_that_is_not_finite_names_the_last_checkpoint_and_only_the_rows_it_comes_from()
    {
        var run = Build(Options with { SaveSteps = 1 });
        run = run with
        {
            Trainable = new Changed(
            run.Trainable)
            { Applied = step => { if (step == 1) BreakToken(run, 5); } }
        };

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith(
            $"step 3: the loss is not a finite number. Rows: {_tiny.Folder["rows.jsonl"]}, row 2. "
            + $"The last good state is {_tiny.Folder["out"]}/checkpoint-2. ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_row_that_shares_its_place_with_others_is_named_alone()
    {
        Build(Options);
        var run = _tiny.Build(Options, TinyTraining.Lora, dataOptions: _tiny.Data with { Packing = true });
        Assert.Equal(2, run.Data.Batches(2, Options.Seed).Next().SequenceCount);
        Assert.Equal(1, run.Data.Batches(2, Options.Seed).Next().BatchSize);
        BreakToken(run, 5);

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith(
            $"step 1: the loss is not a finite number. Rows: {_tiny.Folder["rows.jsonl"]}, row 2. ", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Steps_may_be_skipped_which_is_counted_and_survives_a_checkpoint()
    {
        var options = Options with { PerDeviceTrainBatchSize = 1, OnNonFinite = "skip" };
        var straight = Build(options);
        BreakToken(straight, 5);
        var sink = new RecordingSink();

        var outcome = new TrainingLoop(straight with { Sinks = [sink] }).Run(new StopRequest());

        Assert.Equal((TrainingEnd.Finished, 6, 3), (outcome.End, outcome.Steps, outcome.SkippedSteps));
        var skipped = sink.Steps.Where(step => step.Skipped is not null).ToList();
        Assert.Equal([1, 2, 3], skipped.Select(step => step.Skipped!.Count));
        Assert.All(skipped, step => Assert.Equal(
            $"step {step.Step}: the loss is not a finite number. Rows: {_tiny.Folder["rows.jsonl"]}, row 2.",
            step.Skipped!.Reason));
        Assert.All(sink.Steps.Except(skipped), step => Assert.True(double.IsFinite(step.Loss)));

        var stop = new StopRequest();
        var first = Build(options, "other");
        BreakToken(first, 5);
        new TrainingLoop(
            first with { Sinks = [new RecordingSink(step => { if (step.Step == 4) stop.Request(); })] }).Run(stop);
        var second = Build(options, "other");
        BreakToken(second, 5);
        var resumed = new TrainingLoop(second with { ResumeFrom = second.Checkpoints.Latest() }).Run(new StopRequest());
        Assert.Equal(outcome, resumed);
        Assert.Equal(TinyTraining.Bytes(straight), TinyTraining.Bytes(second));
    }

    [Fact]
    public void Ten_skipped_steps_in_a_row_end_the_run()
    {
        var run = Build(Options with { MaxSteps = 50, OnNonFinite = "skip" });
        BreakToken(run, 5);
        BreakToken(run, 3);
        var before = TinyTraining.Bytes(run);

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith("step 11: the loss is not a finite number. Rows: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(". The 10 steps before were skipped too. No checkpoint", error.Message,
            StringComparison.Ordinal);
        Assert.Equal(before, TinyTraining.Bytes(run));
    }

    [Fact]
    public void A_step_with_an_infinite_gradient_can_be_skipped()
    {
        var run = _tiny.Build(Options with { MaxSteps = 3, OnNonFinite = "skip" }, TinyTraining.Lora);
        var up = run.Trainable.Parameters[1].Parameter;
        var forwards = 0;
        var sink = new RecordingSink();
        // The square root's slope at zero is infinite; later B is zero nowhere.
        var auxiliary = () => forwards++ == 0 ? up.sqrt().sum() : null;
        run = run with { Sinks = [sink], Trainable = new Changed(run.Trainable) { Auxiliary = auxiliary } };

        Assert.Equal(1, new TrainingLoop(run).Run(new StopRequest()).SkippedSteps);
        Assert.StartsWith("step 1: the gradient is not a finite number. Rows: ", sink.Steps[0].Skipped!.Reason,
            StringComparison.Ordinal);
        Assert.All(sink.Steps.Skip(1), step => Assert.True(double.IsFinite(step.GradNorm)));
    }

    [Fact]
    public void A_learning_rate_far_too_high_ends_in_the_typed_error()
    {
        var run = _tiny.Build(Options with { LearningRate = 4e18, LrSchedulerType = "constant" }, null);
        Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));
    }

    [Fact]
    public void A_finite_loss_with_an_infinite_gradient_is_not_applied()
    {
        var run = _tiny.Build(Options, TinyTraining.Lora);
        var before = TinyTraining.Bytes(run);
        // The square root's slope at zero is infinite, its value is not; B begins at zero.
        var up = run.Trainable.Parameters[1].Parameter;
        run = run with { Trainable = new Changed(run.Trainable) { Auxiliary = () => up.sqrt().sum() } };

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith("step 1: the gradient is not a finite number.", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, TinyTraining.Bytes(run));
    }

    [Fact]
    public void At_most_eight_rows_are_named()
    {
        var error = new NonFiniteLossException("loss", 3, Enumerable.Range(1, 11).Select(i => $"f, row {i}"), null);
        Assert.Contains("f, row 8 and 3 more. No checkpoint", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("f, row 9", error.Message, StringComparison.Ordinal);
    }

    // Row 1 has the tokens 3 and 4, row 2 the tokens 5 and 6.
    private TrainingRun Build(TrainingOptions options, string output = "out")
    {
        File.WriteAllLines(_tiny.Folder["rows.jsonl"],
            ["{\"p\": \"3 4\", \"a\": \"3 4\"}", "{\"p\": \"5 6\", \"a\": \"5 6\"}"]);
        return _tiny.Build(options, TinyTraining.Lora, output);
    }

    // A token whose embedding is no number: the loss of every row that has it is none either.
    private static void BreakToken(TrainingRun run, long token)
    {
        using var off = torch.no_grad();
        using var row = run.Trainable.Model.BaseParameters.Single(
            p => p.Name == "model.embed_tokens.weight").Parameter.select(0, token);
        row.fill_(double.NaN);
    }

    // The loss after the next step cannot be finite; the values saved and compared are those with the infinity.
    private static void Poison(TrainingRun run)
    {
        using var off = torch.no_grad();
        run.Trainable.Parameters[^1].Parameter.fill_(double.PositiveInfinity);
    }

    private static List<string> Orders(string text, string a, string b) =>
        [string.Format(null, text, $"{a}; {b}"), string.Format(null, text, $"{b}; {a}")];
}
