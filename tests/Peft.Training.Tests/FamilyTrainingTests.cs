using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;
using Peft.Models.Layers;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>The loop on every family, on the checkpoints of the shared vectors.</summary>
public sealed class FamilyTrainingTests : IDisposable
{
    // Without decay, so that only a gradient changes a value.
    private static readonly TrainingOptions Options = TinyTraining.Options with
    {
        PerDeviceTrainBatchSize = 13,
        MaxSteps = 3,
        WarmupSteps = 0,
        WeightDecay = 0,
        LearningRate = 0.01,
    };

    private readonly TinyTraining _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [SharedTheory]
    [MemberData(nameof(VectorModels.Newer), MemberType = typeof(VectorModels))]
    public void A_lora_and_a_mixture_learn_in_every_projection(string name)
    {
        var model = Learns(name, new AdapterOptions { R = 2, LoraAlpha = 4 });
        // Experts of the base see some tokens alone, which a router cannot decide for.
        var hasExperts = model.Config is DecoderConfig { Experts: not null };
        Learns(name, new AdapterOptions
        {
            Method = AdapterOptions.Mixture, R = 2, LoraAlpha = 4, Experts = new ExpertOptions { Count = 2 },
            Router = new TopKRouterOptions { TopK = 2 },
            ExcludeModules = hasExperts ? ModuleNames.Matching(@".*\.experts\..*") : ModuleNames.None,
        });
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Newer), MemberType = typeof(VectorModels))]
    public void A_base_that_was_trained_whole_is_saved_and_loads(string name)
    {
        var model = Learns(name, null);
        using var scope = torch.NewDisposeScope();
        var ids = torch.tensor(new long[] { 3, 5, 2, 30, 8, 5 }, [1, 6]);
        var expected = model.Forward(ids, ForwardPass.ForInference());

        ModelSaver.Save(_tiny.Folder["saved"], model, model.Config.File.Map, model.Dtype);

        using var again = ModelLoader.Load(_tiny.Folder["saved"], ScalarType.Float32);
        Assert.Equal(0, (expected - again.Forward(ids, ForwardPass.ForInference())).abs().max().ToDouble(), 1e-5);
    }

    private CausalLanguageModel Learns(string name, AdapterOptions? adapter)
    {
        var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32);
        var sink = new RecordingSink();
        var run = _tiny.Build(Options, adapter, model: model) with { Sinks = [sink] };
        var before = TinyTraining.Bytes(run);
        new TrainingLoop(run).Run(new StopRequest());
        Assert.Equal(3, sink.Steps.Count);
        Assert.All(sink.Steps, step => Assert.True(
            double.IsFinite(step.Loss) && double.IsFinite(step.GradNorm) && step.GradNorm > 0, $"{step.Loss}"));
        var still = TinyTraining.Bytes(run).Where(pair => before[pair.Key].AsSpan().SequenceEqual(pair.Value))
            .Select(pair => pair.Key).ToList();
        // One expert of Mixtral's first layer gets none of these tokens, and nothing moves what has no gradient.
        if (name == "models-2/mixtral" && adapter is not null)
            Assert.Equal(adapter.IsPlainLora ? 6 : 0, still.RemoveAll(
                path => path.StartsWith("model.layers.0.block_sparse_moe.experts.1.", StringComparison.Ordinal)));
        Assert.Empty(still);
        return model;
    }
}
