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
            run.Parameters.Last(p => p.Name.EndsWith("lora_B", StringComparison.Ordinal)).Parameter.fill_(double.PositiveInfinity);
        var before = TinyTraining.Bytes(run);

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        var rows = _tiny.Folder["rows.jsonl"];
        Assert.Contains(error.Message, Orders(
            "step 1: the loss is not a finite number. Rows of the step: {0}. No checkpoint was written yet. "
            + "Train anew with a lower learning_rate or max_grad_norm, or look at the rows named.", $"{rows} row 1", $"{rows} row 2"));
        Assert.Equal(before, TinyTraining.Bytes(run));
    }

    [Fact]
    public void A_run_that_diverges_names_its_last_checkpoint_and_keeps_the_parameters_before_the_step()
    {
        var states = new List<Dictionary<string, byte[]>>();
        var run = _tiny.Build(Options with { LrSchedulerType = "constant", SaveSteps = 1, MaxGradNorm = 0, MaxSteps = 50 }, null);
        var sink = new RecordingSink(_ => states.Add(TinyTraining.Bytes(run)));
        // What a learning rate this high does sooner or later, at a step that is known.
        run = run with
        {
            Sinks = [sink],
            AfterStep = step => { if (step == 2) Poison(run); },
        };

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.Equal(3, states.Count);
        Assert.StartsWith("step 4: the loss is not a finite number.", error.Message, StringComparison.Ordinal);
        Assert.Contains($" The last good state is {_tiny.Folder["out"]}/checkpoint-3. Train anew", error.Message, StringComparison.Ordinal);
        Assert.Equal(states[^1], TinyTraining.Bytes(run));
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
        var up = run.Parameters[1].Parameter;
        run = run with { AuxiliaryLoss = (_, _) => up.sqrt().sum() };

        var error = Assert.Throws<NonFiniteLossException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.StartsWith("step 1: the gradient is not a finite number.", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, TinyTraining.Bytes(run));
    }

    [Fact]
    public void At_most_eight_rows_are_named()
    {
        var error = new NonFiniteLossException("loss", 3, Enumerable.Range(1, 11).Select(i => $"f row {i}"), null);
        Assert.Contains("f row 8 and 3 more. No checkpoint", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("f row 9", error.Message, StringComparison.Ordinal);
    }

    // The loss after the next step cannot be finite; the values saved and compared are those with the infinity.
    private static void Poison(TrainingRun run)
    {
        using var off = torch.no_grad();
        run.Parameters[^1].Parameter.fill_(double.PositiveInfinity);
    }

    private static List<string> Orders(string text, string a, string b) =>
        [string.Format(null, text, $"{a}, {b}"), string.Format(null, text, $"{b}, {a}")];
}
