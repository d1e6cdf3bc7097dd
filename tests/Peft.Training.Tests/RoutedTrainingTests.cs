using Peft.Adapters.Routing;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>What routers do in a step beside their losses.</summary>
public sealed class RoutedTrainingTests : IDisposable
{
    private readonly TinyTraining _tiny = new();

    public static TheoryData<string> Routers => [.. TinyTraining.Routers.Keys];

    public void Dispose() => _tiny.Dispose();

    [Theory]
    [MemberData(nameof(Routers))]
    public void Every_router_lowers_the_loss_and_leaves_no_tensor(string name)
    {
        var losses = new List<double>();
        var run = _tiny.Build(TinyTraining.Options with { MaxSteps = 30, LearningRate = 0.05 },
            TinyTraining.WithRouter(TinyTraining.Routers[name])) with
        {
            Sinks = [new RecordingSink(step => losses.Add(step.Loss))],
        };
        var before = LiveTensors.Settled();

        new TrainingLoop(run).Run(new StopRequest());

        Assert.True(losses[^5..].Average() < losses[..5].Average(),
            $"{losses[..5].Average()} to {losses[^5..].Average()}");
        LiveTensors.AssertNoMoreThan(before);
    }

    [Theory]
    [InlineData("rloo")]
    [InlineData("factorllm")]
    [InlineData("random-projection")]
    [InlineData("loss-free")]
    [InlineData("bip")]
    [InlineData("quantile")]
    [InlineData("sinkhorn")]
    public void Routers_without_a_gradient_of_their_own_learn_or_balance(string name)
    {
        var run = _tiny.Build(TinyTraining.Options with { MaxSteps = 3 },
            TinyTraining.WithRouter(TinyTraining.Routers[name]));
        var adapted = run.Trainable.Model.Projections.OfType<Peft.Adapters.Lora.MixtureProjection>().ToList();
        Tensor[] Watched() => [.. adapted.SelectMany(module => name is "rloo" or "factorllm"
            ? module.Router?.parameters().Select(p => (Tensor)p) ?? []
            : module.Router!.named_buffers().Select(pair => pair.buffer))];
        var first = Watched().Select(tensor => tensor.detach().clone()).ToList();

        new TrainingLoop(run).Run(new StopRequest());

        Assert.All(Watched().Zip(first), pair => Assert.False(pair.First.SameAs(pair.Second)));
    }

    [Fact]
    public void Statistics_of_every_module_are_reported_at_logging_steps()
    {
        var reports = new List<StepReport>();
        var run = _tiny.Build(TinyTraining.Options with { MaxSteps = 5, LoggingSteps = 2 }, TinyTraining.Mixture) with
        {
            Sinks = [new RecordingSink(reports.Add)],
        };

        new TrainingLoop(run).Run(new StopRequest());

        Assert.Equal([0, 7, 0, 7, 7],
            reports.Select(report => report.Routing.Count / (run.Trainable.Model.Config.LayerCount)));
        Assert.All(reports.SelectMany(report => report.Routing), module =>
        {
            Assert.Equal(1, module.Load.Sum(), 1e-5);
            Assert.Equal(1, module.MeanProbability.Sum(), 1e-5);
            Assert.Equal(2, module.ExpertsPerToken, 1e-5);
            Assert.InRange(module.EffectiveSupport, 1, 2);
            Assert.InRange(module.Entropy!.Value, 0, Math.Log(4));
        });
    }

    [Theory]
    [InlineData(new[] { 0.25, 0.25, 0.25, 0.25 }, false)]
    [InlineData(new[] { 0.95, 0.03, 0.01, 0.01 }, true)]
    [InlineData(new[] { 0.5, 0.5, 0.0, 0.0 }, false)]
    public void Routing_has_collapsed_when_one_expert_has_almost_all_load(double[] load, bool collapsed)
    {
        Assert.Equal(collapsed, new RoutingStatistics("m", load, load, 0.5, 1, 1, 0).IsCollapsed);
    }
}
