using Peft.Formats;
using Peft.Training.Checkpoints;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>How runs end: all steps, a stop, early stopping, and the best parameters put back.</summary>
public sealed class EndOfRunTests : IDisposable
{
    private static readonly TrainingOptions Options = TinyTraining.Options with { MaxSteps = 10, EvalSteps = 2 };
    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void A_stop_finishes_the_step_saves_and_returns()
    {
        var stop = new StopRequest();
        stop.Request();
        var outcome = new TrainingLoop(_tiny.Build(Options, TinyTraining.Lora)).Run(stop);

        Assert.Equal(new TrainingOutcome(TrainingEnd.Interrupted, 1, null, null, _tiny.Folder["out/checkpoint-1"]),
            outcome);
        Assert.True(File.Exists(_tiny.Folder["out/checkpoint-1/trainer_state.json"]));
    }

    [Fact]
    public void A_stop_in_the_last_step_finishes()
    {
        var stop = new StopRequest();
        var sink = new RecordingSink(step =>
        {
            if (step.Step == 10)
                stop.Request();
        });
        var outcome = new TrainingLoop(_tiny.Build(Options, TinyTraining.Lora) with { Sinks = [sink] }).Run(stop);

        Assert.Equal(new TrainingOutcome(TrainingEnd.Finished, 10, null, null, null), outcome);
        Assert.False(Directory.Exists(_tiny.Folder["out"]));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(4)]
    public void A_stop_in_an_evaluation_saves_and_the_continued_run_makes_it_first(int stopIn)
    {
        var straight = Stopped("straight", null);
        Assert.Equal([2, 4, 6, 8, 10], straight.Evaluated);

        var first = Stopped("resumed", stopIn);
        Assert.Equal((TrainingEnd.Interrupted, stopIn), (first.Outcome.End, first.Outcome.Steps));
        Assert.Equal(straight.Evaluated.Where(step => step < stopIn), first.Evaluated);
        var second = Stopped("resumed", null, new CheckpointStore(_tiny.Folder["resumed"]).Latest());

        Assert.Equal(straight.Evaluated.Where(step => step >= stopIn), second.Evaluated);
        Assert.Equal(straight.Outcome, second.Outcome);
        Assert.Equal(straight.End, second.End);
    }

    [Fact]
    public void The_parameters_of_the_best_evaluation_are_put_back()
    {
        var (outcome, states, end) = Train(Options with { LoadBestModelAtEnd = true }, 3, 1, 2, 1.5, 1);

        Assert.Equal(new TrainingOutcome(TrainingEnd.Finished, 10, 4, 1, null), outcome);
        Assert.Equal(states[4], end);
        Assert.NotEqual(states[10], end);
    }

    [Fact]
    public void Without_the_option_the_last_parameters_stay()
    {
        var (outcome, states, end) = Train(Options, 3, 1, 2, 1.5, 1);

        Assert.Equal((4, 1), (outcome.BestStep, outcome.BestEvalLoss));
        Assert.Equal(states[10], end);
        Assert.False(Directory.Exists(_tiny.Folder["out"]));
    }

    [Fact]
    public void The_last_step_may_be_the_best()
    {
        var (outcome, states, end) = Train(Options with { LoadBestModelAtEnd = true, EvalSteps = 4 }, 3, 2, 1);

        Assert.Equal(10, outcome.BestStep);
        Assert.Equal(states[10], end);
    }

    [Fact]
    public void An_evaluation_that_is_no_number_is_never_the_best()
    {
        var (outcome, states, end) = Train(
            Options with { LoadBestModelAtEnd = true }, double.NaN, double.PositiveInfinity, 2, double.NaN, 3);

        Assert.Equal((6, 2), (outcome.BestStep, outcome.BestEvalLoss));
        Assert.Equal(states[6], end);
    }

    [Fact]
    public void Early_stopping_waits_for_its_patience_and_counts_only_real_gains()
    {
        // 2.95 is no gain of more than 0.1 over 3; 2.85 is; then two without one.
        var (outcome, _, _) = Train(
            Options with { MaxSteps = 20, EarlyStoppingPatience = 2, EarlyStoppingThreshold = 0.1 }, 3, 2.95, 2.85,
            2.8, 2.76, 1);
        Assert.Equal(new TrainingOutcome(TrainingEnd.Finished, 10, 6, 2.85, null), outcome);
    }

    [Fact]
    public void An_early_stop_puts_the_best_back_too()
    {
        var (outcome, states, end) = Train(Options with { EarlyStoppingPatience = 1, LoadBestModelAtEnd = true }, 2, 1,
            3);

        Assert.Equal((6, 4), (outcome.Steps, outcome.BestStep));
        Assert.Equal(states[4], end);
    }

    [Fact]
    public void Best_and_patience_survive_a_stop()
    {
        var options = Options with { MaxSteps = 20, EarlyStoppingPatience = 3, LoadBestModelAtEnd = true };
        double Loss(int step) => step == 4 ? 1 : 2;
        var straight = Train(options, Loss, "straight", null);
        Assert.Equal((10, 4), (straight.Outcome.Steps, straight.Outcome.BestStep));

        Train(options, Loss, "resumed", stopAfter: 7);
        var resumed = Train(options, Loss, "resumed", null, new CheckpointStore(_tiny.Folder["resumed"]).Latest());

        Assert.Equal(straight.Outcome, resumed.Outcome);
        Assert.Equal(straight.End, resumed.End);
    }

    [Fact]
    public void Resuming_where_the_best_checkpoint_is_not_is_refused_before_training()
    {
        var options = Options with { LoadBestModelAtEnd = true };
        double Loss(int step) => step;
        Train(options, Loss, "first", stopAfter: 5);
        var sink = new RecordingSink();
        var run = _tiny.Build(options, TinyTraining.Lora, "second") with
        {
            ResumeFrom = CheckpointStore.Open(_tiny.Folder["first/checkpoint-5"]),
            Sinks = [sink],
        };

        var error = Assert.Throws<UserException>(() => new TrainingLoop(run).Run(new StopRequest()));

        Assert.Equal(
            $"{_tiny.Folder["second"]}: no checkpoint-2, which holds the best parameters so far "
            + $"(load_best_model_at_end). "
            + "Copy it there, or continue in the directory that has it.", error.Message);
        Assert.Empty(sink.Calls);
    }

    [Fact]
    public void A_step_is_evaluated_at_the_end_even_without_eval_steps()
    {
        var evaluated = new List<int>();
        var run = _tiny.Build(Options with { EvalSteps = 0 }, TinyTraining.Lora, dataOptions: _tiny.Evaluated);
        double Loss(int step)
        {
            evaluated.Add(step);
            return 1;
        }
        run = run with { Trainable = new Changed(run.Trainable) { EvalLoss = Loss } };
        new TrainingLoop(run).Run(new StopRequest());
        Assert.Equal([10], evaluated);
    }

    // Stops when the evaluation after a step begins.
    private (TrainingOutcome Outcome, List<int> Evaluated, Dictionary<string, byte[]> End) Stopped(
        string output, int? stopIn, CheckpointRef? resume = null)
    {
        var (stop, sink, step) = (new StopRequest(), new RecordingSink(), resume?.Step ?? 0);
        var run = _tiny.Build(Options with { SaveTotalLimit = 0 }, TinyTraining.Lora, output, _tiny.Evaluated);
        var changed = new Changed(run.Trainable)
        {
            Applied = index => step = index + 1,
            Evaluating = () =>
            {
                if (step == stopIn)
                    stop.Request();
            },
        };
        var outcome = new TrainingLoop(run with { ResumeFrom = resume, Sinks = [sink], Trainable = changed }).Run(stop);
        return (outcome, [.. sink.Evaluations.Select(report => report.Step)], TinyTraining.Bytes(run));
    }

    private (TrainingOutcome Outcome, Dictionary<int, Dictionary<string, byte[]>> States, Dictionary<string,
        byte[]> End) Train(
        TrainingOptions options, params double[] losses)
    {
        var next = 0;
        return Train(options, _ => losses[next++], "out", null);
    }

    private (TrainingOutcome Outcome, Dictionary<int, Dictionary<string, byte[]>> States, Dictionary<string,
        byte[]> End) Train(
        TrainingOptions options, Func<int, double> evalLoss, string output, int? stopAfter,
        CheckpointRef? resume = null)
    {
        var stop = new StopRequest();
        var states = new Dictionary<int, Dictionary<string, byte[]>>();
        var run = _tiny.Build(options, TinyTraining.Lora, output, _tiny.Evaluated);
        var sink = new RecordingSink(step =>
        {
            states[step.Step] = TinyTraining.Bytes(run);
            if (step.Step == stopAfter)
                stop.Request();
        });
        run = run with
        {
            ResumeFrom = resume,
            Sinks = [sink],
            Trainable = new Changed(run.Trainable) { EvalLoss = evalLoss },
        };
        var outcome = new TrainingLoop(run).Run(stop);
        return (outcome, states, TinyTraining.Bytes(run));
    }
}
