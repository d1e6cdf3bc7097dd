using Peft.Adapters.Lora;
using Peft.Data;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

public sealed class TrainingLoopTests : IDisposable
{
    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void The_loss_falls()
    {
        var sink = Train(TinyTraining.Options with { MaxSteps = 60 }, TinyTraining.Mixture);

        var (first, last) = (sink.Steps.Take(5).Average(s => s.Loss), sink.Steps.TakeLast(5).Average(s => s.Loss));
        Assert.True(last < 0.7 * first, $"from {first} to {last}");
    }

    [Fact]
    public void Only_the_adapter_changes()
    {
        var run = _tiny.Build(TinyTraining.Options, TinyTraining.Mixture);
        var frozen = run.Trainable.Model.BaseParameters.ToDictionary(p => p.Name, p => p.Parameter.ToBytes());
        var trained = TinyTraining.Bytes(run);

        new TrainingLoop(run).Run(new StopRequest());

        Assert.All(run.Trainable.Model.BaseParameters, p => Assert.Equal(frozen[p.Name], p.Parameter.ToBytes()));
        Assert.All(TinyTraining.Bytes(run), p => Assert.NotEqual(trained[p.Key], p.Value));
    }

    [Fact]
    public void The_same_seed_gives_the_same_losses_and_the_same_parameters()
    {
        var runs = new[] { 7L, 7L, 8L }.Select(seed =>
        {
            var sink = new RecordingSink();
            var run = _tiny.Build(TinyTraining.Options with { Seed = seed },
                TinyTraining.Mixture) with
            { Sinks = [sink] };
            new TrainingLoop(run).Run(new StopRequest());
            return (Numbers: sink.Numbers.ToList(), Bytes: TinyTraining.Bytes(run));
        }).ToList();

        Assert.Equal(runs[0].Numbers, runs[1].Numbers);
        Assert.Equal(runs[0].Bytes, runs[1].Bytes);
        Assert.NotEqual(runs[0].Numbers, runs[2].Numbers);
    }

    [Fact]
    public void Dropout_differs_from_step_to_step_and_between_micro_batches()
    {
        // Two rows alike and nothing learned (lr 0): only dropout can tell the steps apart. B must not be zero.
        File.WriteAllLines(_tiny.Folder["rows.jsonl"], Enumerable.Repeat("""{"p": "5 6 7", "a": "8 9"}""", 2));
        var options = TinyTraining.Options with
        {
            LearningRate = 0,
            MaxSteps = 4,
            PerDeviceTrainBatchSize = 1,
            WeightDecay = 0
        };
        List<double> Losses(double dropout, int accumulation)
        {
            var sink = new RecordingSink();
            var run = _tiny.Build(
                options with { GradientAccumulationSteps = accumulation },
                TinyTraining.Lora with { LoraDropout = dropout }) with
            { Sinks = [sink] };
            using (torch.no_grad())
            {
                foreach (
                    var (name,
                    parameter) in run.Trainable.Parameters.Where(p =>
                    p.Name.EndsWith("lora_B", StringComparison.Ordinal)))
                    parameter.fill_(0.5);
            }
            new TrainingLoop(run).Run(new StopRequest());
            return [.. sink.Steps.Select(s => s.Loss)];
        }

        Assert.Single(Losses(0, 1).Distinct());
        var single = Losses(0.3, 1);
        Assert.Equal(4, single.Distinct().Count());
        // The mean of two micro-batches with one mask would be the loss of one of them.
        Assert.NotEqual(single[0], Losses(0.3, 2)[0], 9);
    }

    [Fact]
    public void Accumulating_equals_one_large_batch()
    {
        // Each row is 1 to 5 tokens and counts by its learned tokens: a mean of the means of batches would be another
        // number.
        var data = _tiny.Data with { Shuffle = false };
        _tiny.WriteRows(24);
        var options = TinyTraining.Options with
        {
            MaxSteps = 3,
            Optim = "sgd",
            LearningRate = 0.5,
            WarmupSteps = 0,
            MaxGradNorm = 0.8
        };
        var parts = new List<(List<double> Losses, List<double> Norms, float[] Values)>();
        foreach (var (batch, accumulation) in new[] { (8, 1), (2, 4), (1, 8) })
        {
            var sink = new RecordingSink();
            var run = _tiny.Build(
                options with { PerDeviceTrainBatchSize = batch, GradientAccumulationSteps = accumulation },
                TinyTraining.Lora,
                dataOptions: data) with
            { Sinks = [sink] };
            new TrainingLoop(run).Run(new StopRequest());
            parts.Add(([.. sink.Steps.Select(s => s.Loss)], [.. sink.Steps.Select(s => s.GradNorm)],
                [.. run.Trainable.Parameters.SelectMany(p => p.Parameter.detach().data<float>().ToArray())]));
            Assert.Equal(TokensOf(data, 8), sink.Steps.Select(s => s.Tokens));
        }

        Assert.All(parts.Skip(1), part =>
        {
            Assert.All(parts[0].Losses.Zip(part.Losses), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
            Assert.All(parts[0].Norms.Zip(part.Norms), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
            Assert.All(parts[0].Values.Zip(part.Values), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
        });
        Assert.True(parts[0].Losses[2] < parts[0].Losses[0]);
    }

    [Fact]
    public void An_auxiliary_loss_is_reported_and_averaged_over_micro_batches()
    {
        var options = TinyTraining.Options with { MaxSteps = 1, GradientAccumulationSteps = 4 };
        var sink = new RecordingSink();
        var run = _tiny.Build(options, TinyTraining.Lora);
        run = run with
        {
            Sinks = [sink],
            Trainable = new Changed(run.Trainable) { Auxiliary = () => torch.tensor(0.5f, requires_grad: true) },
        };
        new TrainingLoop(run).Run(new StopRequest());

        Assert.Equal(0.5, sink.Steps.Single().Aux, 1e-6);
    }

    [Fact]
    public void The_learning_rate_of_each_step_is_the_schedules_and_a_rate_of_zero_changes_nothing()
    {
        var before = new Dictionary<string, byte[]>();
        var run = _tiny.Build(TinyTraining.Options, TinyTraining.Lora);
        var started = TinyTraining.Bytes(run);
        var sink = new RecordingSink(step =>
        {
            if (step.Step == 1)
                before = TinyTraining.Bytes(run);
        });
        new TrainingLoop(run with { Sinks = [sink] }).Run(new StopRequest());

        Assert.Equal(Enumerable.Range(0, 12).Select(run.Schedule.At), sink.Steps.Select(s => s.LearningRate));
        Assert.Equal(0, sink.Steps[0].LearningRate);
        Assert.Equal(started, before);
    }

    [Fact]
    public void The_load_is_the_experts_share_of_the_gates()
    {
        var sink = Train(TinyTraining.Options with { GradientAccumulationSteps = 2, MaxSteps = 3 },
            TinyTraining.Mixture);

        Assert.All(sink.Steps, step =>
        {
            Assert.Equal(4, step.Load.Count);
            Assert.Equal(1, step.Load.Sum(), 1e-5);
        });
        Assert.Empty(Train(TinyTraining.Options with { MaxSteps = 1 }, TinyTraining.Lora).Steps[0].Load);
    }

    [Fact]
    public void What_is_trained_hears_of_each_step_with_its_index()
    {
        var steps = new List<int>();
        var run = _tiny.Build(TinyTraining.Options with { MaxSteps = 3 }, TinyTraining.Lora);
        new TrainingLoop(run with { Trainable = new Changed(run.Trainable) { Applied = steps.Add } }).Run(
            new StopRequest());
        Assert.Equal([0, 1, 2], steps);
    }

    [Fact]
    public void Sinks_hear_of_everything_in_order_and_are_flushed_before_a_checkpoint()
    {
        var sink = new RecordingSink();
        var options = TinyTraining.Options with { MaxSteps = 4, SaveSteps = 2, EvalSteps = 3 };
        var run = _tiny.Build(options, TinyTraining.Lora, dataOptions: _tiny.Evaluated) with { Sinks = [sink] };
        new TrainingLoop(run).Run(new StopRequest());

        Assert.Equal(
            ["start 0/4", "step 1", "step 2", "flush", "step 3", "eval 3", "step 4", "eval 4", "flush"], sink.Calls);
    }

    [Fact]
    public void Live_tensors_are_balanced_over_steps_of_any_shape()
    {
        var counts = new List<long>();
        var sink = new RecordingSink(_ => counts.Add(TorchRuntime.LiveTensorCount));
        var run = _tiny.Build(
            TinyTraining.Options with
            {
                MaxSteps = 30,
                GradientAccumulationSteps = 2,
                SaveSteps = 7,
                EvalSteps = 5,
                PerDeviceEvalBatchSize = 4
            },
            TinyTraining.Mixture, dataOptions: _tiny.Evaluated) with
        { Sinks = [sink] };
        var before = LiveTensors.Settled();
        new TrainingLoop(run).Run(new StopRequest());

        // The same at every step from the first on: no module and no list keeps anything between steps.
        Assert.All(counts, count => Assert.InRange(count, 0, before));
        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void A_failed_step_frees_its_tensors()
    {
        var run = _tiny.Build(TinyTraining.Options, TinyTraining.Mixture);
        run = run with
        {
            Trainable = new Changed(
            run.Trainable)
            { Auxiliary = () => throw new InvalidOperationException("no") }
        };
        var before = LiveTensors.Settled();
        Assert.Throws<InvalidOperationException>(() => new TrainingLoop(run).Run(new StopRequest()));
        LiveTensors.AssertNoMoreThan(before);
    }

    private RecordingSink Train(TrainingOptions options, AdapterOptions? adapter)
    {
        var sink = new RecordingSink();
        new TrainingLoop(_tiny.Build(options, adapter) with { Sinks = [sink] }).Run(new StopRequest());
        return sink;
    }

    private long[] TokensOf(DataOptions data, int rows)
    {
        var set = _tiny.Open(data).Train;
        return [.. Enumerable.Range(0,
            (int)set.Count).Select(i => (long)set[i].Ids.Length).Chunk(rows).Select(chunk => chunk.Sum())];
    }
}
