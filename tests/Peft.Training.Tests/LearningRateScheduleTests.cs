namespace Peft.Training.Tests;

/// <summary>
/// Against transformers/optimization.py; the expected values were worked out by hand from its lambdas.
/// </summary>
public sealed class LearningRateScheduleTests
{
    private const double Tolerance = 1e-15;

    [Theory]
    // get_constant_schedule_with_warmup: step / max(1, warmup), then 1.
    [InlineData("constant", 4, 0, 0.0)]
    [InlineData("constant", 4, 1, 0.25)]
    [InlineData("constant", 4, 3, 0.75)]
    [InlineData("constant", 4, 4, 1.0)]
    [InlineData("constant", 4, 99, 1.0)]
    [InlineData("constant", 0, 0, 1.0)]
    // get_linear_schedule_with_warmup: max(0, (total - step) / max(1, total - warmup)), total 20.
    [InlineData("linear", 4, 2, 0.5)]
    [InlineData("linear", 4, 4, 1.0)]
    [InlineData("linear", 4, 8, 0.75)]
    [InlineData("linear", 4, 12, 0.5)]
    [InlineData("linear", 4, 19, 0.0625)]
    [InlineData("linear", 4, 20, 0.0)]
    [InlineData("linear", 0, 0, 1.0)]
    [InlineData("linear", 0, 5, 0.75)]
    // get_cosine_schedule_with_warmup: 0.5 (1 + cos(pi (step - warmup) / (total - warmup))).
    [InlineData("cosine", 4, 1, 0.25)]
    [InlineData("cosine", 4, 4, 1.0)]
    [InlineData("cosine", 4, 8, 0.85355339059327376)] // 0.5 (1 + sqrt(1/2))
    [InlineData("cosine", 4, 12, 0.5)]
    [InlineData("cosine", 4, 16, 0.14644660940672624)]
    [InlineData("cosine", 4, 20, 0.0)]
    [InlineData("cosine", 0, 10, 0.5)]
    public void The_share_of_the_peak_is_hugging_faces(string kind, int warmup, int step, double share)
    {
        var schedule = new LearningRateSchedule(kind, 2e-4, warmup, 20);

        Assert.Equal(2e-4 * share, schedule.At(step), Tolerance);
    }

    [Theory]
    [InlineData("linear", 4, 1.0)]
    [InlineData("linear", 12, 0.55)]
    [InlineData("linear", 20, 0.1)]
    [InlineData("cosine", 12, 0.55)]
    [InlineData("cosine", 20, 0.1)]
    [InlineData("constant", 20, 1.0)]
    public void A_floor_lifts_the_end(string kind, int step, double share) =>
        Assert.Equal(share, new LearningRateSchedule(kind, 1, 4, 20, floor: 0.1).At(step), Tolerance);

    [Theory]
    [InlineData("constant")]
    [InlineData("linear")]
    [InlineData("cosine")]
    public void No_step_is_outside_zero_and_the_peak(string kind)
    {
        foreach (var (warmup, total) in new[] { (0, 1), (1, 1), (5, 3), (3, 10), (10, 10) })
        {
            var schedule = new LearningRateSchedule(kind, 1, warmup, total);
            Assert.All(Enumerable.Range(0, 30), step => Assert.InRange(schedule.At(step), 0, 1));
        }
    }

    [Fact]
    public void Warm_up_steps_come_before_the_ratio_which_is_rounded_up()
    {
        var options = new TrainingOptions { WarmupRatio = 0.05 };
        Assert.Equal(6, LearningRateSchedule.From(options, 101).WarmupSteps);
        // ceil(5.05), as TrainingArguments.get_warmup_steps
        Assert.Equal(5, LearningRateSchedule.From(options, 100).WarmupSteps);
        Assert.Equal(0, LearningRateSchedule.From(options with { WarmupRatio = 0 }, 100).WarmupSteps);
        Assert.Equal(9, LearningRateSchedule.From(options with { WarmupSteps = 9 }, 100).WarmupSteps);
    }

    [Fact]
    public void The_options_peak_kind_and_floor_are_used()
    {
        var options = new TrainingOptions { LearningRate = 0.5, LrSchedulerType = "linear", MinLrRatio = 0.2 };
        Assert.Equal([0.5, 0.3, 0.1],
            new[] { 0, 5, 10 }.Select(LearningRateSchedule.From(options, 10).At).Select(lr => Math.Round(lr, 12)));
    }

    [Fact]
    public void An_unknown_kind_is_refused() =>
        Assert.Throws<ArgumentException>(() => new LearningRateSchedule("cubic", 1, 0, 10).At(1));
}
