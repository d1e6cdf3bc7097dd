using Peft.Adapters.Routing;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>What is said at the end of a run that ended without an error and is worth nothing all the same.</summary>
public sealed class RunHealthTests : IDisposable
{
    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void A_run_that_learns_is_told_nothing()
    {
        var run = _tiny.Build(TinyTraining.Options with { MaxSteps = 40 }, TinyTraining.Mixture);
        var health = new RunHealth(run, null);
        new TrainingLoop(run with { Sinks = [health] }).Run(new StopRequest());
        Assert.Empty(health.Warnings);
    }

    [Fact]
    public void A_run_with_an_absurd_learning_rate_is_told_so()
    {
        var options = TinyTraining.Options with
        {
            MaxSteps = 40,
            LearningRate = 50,
            LrSchedulerType = "constant",
            WarmupSteps = 0
        };
        var run = _tiny.Build(options, TinyTraining.Lora);
        var health = new RunHealth(run, null);
        new TrainingLoop(run with { Sinks = [health] }).Run(new StopRequest());
        Assert.Contains("learning_rate 50 is far above what trains adapters with adamw (at most about 0.05)",
            health.Warnings);
    }

    [Theory]
    [InlineData(new double[] { }, new string[] { })]
    // ln 32 = 3.4657
    [InlineData(new[] { 3.0, 2, 1, 0.5, 0.4 }, new string[] { })]
    [InlineData(new[] { 2.0, 2.02, 2.0, 2.01, 2.02 }, new string[] { })] // too few steps to tell
    [InlineData(new[] { 2.0, 2.1, 2.2, 2.1, 2.3 },
        new[] { "the loss did not fall: 2.0000 at the start, 2.3000 at the end (means over 1 step)" })]
    [InlineData(new[] { 3.46, 3.47, 3.46, 3.45, 3.46 }, new[]
    {
        "at the end the loss is 3.4600, about that of guessing among 32 tokens (3.4657): the run has diverged or "
        + "learned nothing",
    })]
    [InlineData(new[] { 1.0, 9, 9, 9, 9 }, new[]
    {
        "the loss did not fall: 1.0000 at the start, 9.0000 at the end (means over 1 step)",
        "at the end the loss is 9.0000, about that of guessing among 32 tokens (3.4657): the run has diverged or "
        + "learned nothing",
    })]
    public void The_losses_decide(double[] losses, string[] warnings)
    {
        var health = Watched(TinyTraining.Options);
        foreach (var (i, loss) in losses.Index())
            health.Write(Report(i + 1, loss));
        Assert.Equal(warnings, health.Warnings);
    }

    [Fact]
    public void In_a_long_run_a_loss_that_is_not_below_its_start_is_enough()
    {
        var health = Watched(TinyTraining.Options);
        for (var step = 1; step <= 20; step++)
            health.Write(Report(step, step <= 10 ? 1 : 1.001));
        Assert.Equal(["the loss did not fall: 1.0000 at the start, 1.0010 at the end (means over 4 steps)"],
            health.Warnings);
    }

    [Theory]
    [InlineData(0, "learning_rate 0 changes almost nothing in adapters with adamw")]
    [InlineData(1e-9, "learning_rate 1e-9 changes almost nothing in adapters with adamw")]
    [InlineData(0.06, "learning_rate 0.06 is far above what trains adapters with adamw (at most about 0.05)")]
    public void A_learning_rate_that_suits_no_method_is_told(double rate, string warning) =>
        Assert.Equal([warning], Watched(TinyTraining.Options with { LearningRate = rate }).Warnings);

    [Fact]
    public void All_experts_but_one_idle_is_told()
    {
        var health = Watched(TinyTraining.Options);
        RoutingStatistics Module(string name, params double[] load) =>
            new(name, load, load, 0.5, 1, 1, load.Count(share => share == 0));
        health.Write(
            Report(1,
            1) with
            {
                Routing = [Module("a", 1, 0, 0, 0), Module("b", 0.99, 0.01, 0, 0),
            Module("c", 0.25, 0.25, 0.25, 0.25)]
            });
        Assert.Equal(["in 2 of 3 modules all experts but one are idle at the end"], health.Warnings);
    }

    [Fact]
    public void A_run_that_was_continued_is_judged_by_all_its_steps()
    {
        var path = _tiny.Folder["metrics.jsonl"];
        using (var file = new JsonLinesSink(path))
        {
            file.Start(0, 40);
            for (var step = 1; step <= 20; step++)
                file.Write(Report(step, 1));
        }
        var health = new RunHealth(_tiny.Build(TinyTraining.Options, TinyTraining.Lora), path);
        health.Start(10, 40);
        for (var step = 11; step <= 20; step++)
            health.Write(Report(step, 2));
        Assert.Equal(["the loss did not fall: 1.0000 at the start, 2.0000 at the end (means over 4 steps)"],
            health.Warnings);
    }

    private RunHealth Watched(TrainingOptions options)
    {
        var health = new RunHealth(_tiny.Build(options, TinyTraining.Lora), null);
        health.Start(0, 100);
        return health;
    }

    private static StepReport Report(int step, double loss) => new(step, loss, 0, 0.01, 1, 10, 100, []);
}
