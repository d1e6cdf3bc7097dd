using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Models;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests;

/// <summary>Running blocks again in the backward pass changes no number.</summary>
public sealed class GradientCheckpointingTests
{
    private static readonly AdapterOptions Mixture = new()
    {
        Method = AdapterOptions.Mixture, R = 2, LoraAlpha = 4, LoraDropout = 0.3,
        Experts = new ExpertOptions { Count = 3 },
        Router = new TopKRouterOptions { TopK = 2, Balance = new() { Kind = "switch", Coefficient = 0.1 } },
    };

    private static readonly TokenSequence[] Sequences =
        [.. new[] { 7, 4, 3, 6, 2 }.Select((length, at) => Sequence(at, length))];

    public static TheoryData<string, string, string, bool> Cases
    {
        get
        {
            var cases = new TheoryData<string, string, string, bool>();
            foreach (
                var kind in new[] { "lora", "dropout", "upper", "top-k", "pooled", "soft", "specialized", "hard",
                "head", "full", "dora", "pissa", "goat", "comol", "poly", "hydra", "lily", "rexmoe", "x-lora",
                "rmoe", "blockffn", "similarity", "attention", "mixlora", "ffn-split", "factorllm",
                "chain-of-experts", "expert-choice", "union", "sinkhorn", "sparsegen", "rexmoe-shared" })
            {
                cases.Add("llama", "", kind, false);
                cases.Add("mistral", "\"sliding_window\": 3", kind, true);
            }

            cases.Add("qwen3", "\"head_dim\": 8", "top-k", true);
            cases.Add("llama", "", "glider", false);
            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Losses_gradients_and_records_are_the_same_bit_for_bit(string modelType, string extra, string kind,
        bool isPacked)
    {
        using var tiny = new TinyDecoder(modelType, extra, Adapter(kind), ScalarType.Float32);
        var batch = isPacked ? TokenBatch.OfRows([Sequences[..2], Sequences[2..4], Sequences[4..]], 2)
            : TokenBatch.Of(Sequences, 2);
        if (kind == "dora")
        {
            // The norms of the rows are kept from the first pass on.
            Step(tiny, batch, gradientCheckpointing: false);
            tiny.TakeGradients();
        }

        var before = LiveTensors.Settled();
        var kept = Step(tiny, batch, gradientCheckpointing: false);
        var expected = tiny.TakeGradients();

        var again = Step(tiny, batch, gradientCheckpointing: true);

        Assert.Equal(kept, again);
        var found = tiny.TakeGradients();
        Assert.Equal(expected.Keys, found.Keys);
        Assert.All(expected, pair =>
        {
            // What all layers share gets the sum of their gradients, here in another order.
            if (kind is "lily" or "rexmoe" or "x-lora" || pair.Key.Contains(".router.gru_", StringComparison.Ordinal)
                || pair.Key.Contains(".router.sparsity_", StringComparison.Ordinal))
                Assert.All(pair.Value.Zip(found[pair.Key]), values => Assert.Equal(values.First, values.Second, 1e-6));
            else
                Assert.Equal(pair.Value, found[pair.Key]);
        });
        Assert.True(expected.Values.All(values => values.Any(value => value != 0)), "a tensor has no gradient");
        LiveTensors.AssertNoMoreThan(before);
    }

    [Fact]
    public void A_run_has_the_same_numbers_and_keeps_no_tensor()
    {
        using var tiny = new TinyTraining();
        var options = TinyTraining.Options with { GradientAccumulationSteps = 2 };
        var runs = new[] { false, true }.Select(checkpointing =>
        {
            var counts = new List<long>();
            var sink = new RecordingSink(_ => counts.Add(TorchRuntime.LiveTensorCount));
            var run = tiny.Build(options with { GradientCheckpointing = checkpointing },
                TinyTraining.Mixture) with
            { Sinks = [sink] };
            var before = LiveTensors.Settled();
            new TrainingLoop(run).Run(new StopRequest());
            Assert.All(counts, count => Assert.InRange(count, 0, before));
            return (Numbers: sink.Numbers.ToList(), Bytes: TinyTraining.Bytes(run));
        }).ToList();

        Assert.Equal(runs[0].Numbers, runs[1].Numbers);
        Assert.Equal(runs[0].Bytes, runs[1].Bytes);
    }

    [Fact]
    public void The_loss_alone_ends_at_the_last_block()
    {
        using var scope = torch.NewDisposeScope();
        using var tiny = new TinyDecoder("llama", "", TinyTraining.Lora, ScalarType.Float32);
        using var tensors = BatchTensors.From(TokenBatch.Of(Sequences, 2), torch.CPU);
        var pass = tensors.TrainingPass(gradientCheckpointing: true);
        var loss = tiny.Model.Hidden(tensors.Ids, pass).sum();
        // Nothing of a block is in the graph: that is what is saved.
        loss.backward();
        Assert.All(tiny.Parameters, parameter => Assert.Null(parameter.Parameter.grad));
    }

    [Fact]
    public void What_a_block_takes_from_an_earlier_ones_record_gets_its_gradient()
    {
        using var tiny = new TinyDecoder("llama", "",
            TinyTraining.Lora with { TargetModules = ModuleNames.List(["v_proj"]) }, ScalarType.Float32);
        tiny.Model.Wrap("model.layers.0.mlp.down_proj", inner => new Emitting(inner, () => true));
        tiny.Model.Wrap("model.layers.2.mlp.down_proj", inner => new Reading(inner));
        var batch = TokenBatch.Of(Sequences, 2);
        var kept = Step(tiny, batch, gradientCheckpointing: false);
        var expected = tiny.TakeGradients();

        Assert.Equal(kept, Step(tiny, batch, gradientCheckpointing: true));

        Assert.InRange(TinyDecoder.Distance(expected, tiny.TakeGradients()), 0, 1e-6);
    }

    [Fact]
    public void A_block_that_is_not_the_same_again_is_an_error()
    {
        using var tiny = new TinyDecoder("llama", "",
            TinyTraining.Lora with { TargetModules = ModuleNames.List(["v_proj"]) }, ScalarType.Float32);
        var calls = 0;
        tiny.Model.Wrap("model.layers.1.mlp.up_proj", inner => new Emitting(inner, () => calls++ == 0));

        var error =
            Assert.Throws<InvalidOperationException>(() => Step(tiny, TokenBatch.Of(Sequences, 2),
            gradientCheckpointing: true));

        Assert.StartsWith("a block emitted other records when it was run again", error.Message,
            StringComparison.Ordinal);
    }

    private static AdapterOptions? Adapter(string kind) => kind switch
    {
        "lora" => TinyTraining.Lora,
        "dropout" => TinyTraining.Lora with { LoraDropout = 0.3 },
        "upper" => TinyTraining.Lora with { LayersToTransform = [2] },
        "head" => TinyTraining.Lora with { LoraDropout = 0.3, TargetModules = ModuleNames.List(["q_proj", "lm_head"]) },
        "top-k" => Mixture,
        "pooled" => Mixture with
        {
            Router = new TopKRouterOptions
            {
                TopK = 1, Normalize = false,
                Balance = new() { Kind = "switch", Coefficient = 0.1, Scope = "model" }
            },
        },
        "soft" =>
            Mixture with { Router = new SoftRouterOptions { Balance = new() { Kind = "switch", Coefficient = 0.1 } } },
        "specialized" =>
            Mixture with
            {
                Router =
            new HardSoftRouterOptions { Specialization = new RoutingSpecializationOptions { Lambda = 0.2 } }
            },
        "dora" => TinyTraining.Lora with { LoraDropout = 0.3, UseDora = true },
        "pissa" => TinyTraining.Lora with { InitLoraWeights = "pissa" },
        "goat" => Mixture with { InitLoraWeights = "goat" },
        "comol" => Mixture with { Router = new ComolRouterOptions() },
        "rmoe" => Mixture with { Router = new RmoeRouterOptions { HiddenSize = 4, TopK = 2 } },
        "poly" => Mixture with { Router = new PolyRouterOptions { Tasks = 3, Splits = 2 } },
        "hydra" => Mixture with { Router = new HydraRouterOptions() },
        "lily" => Mixture with { Router = new LilyRouterOptions { StrideA = 2 } },
        "rexmoe" => Mixture with { Router = new RexmoeRouterOptions { StartStep = 5, EndStep = 9 } },
        "rexmoe-shared" => Mixture with
        {
            Experts = new ExpertOptions { Count = 3, Shared = 1 },
            Router = new RexmoeRouterOptions(),
        },
        // Of few hidden units none may be active.
        "sparsegen" => Mixture with { Router = new SparsegenRouterOptions { HiddenSize = 300 } },
        "x-lora" => Mixture with { Router = new XloraRouterOptions { XloraDepth = 2, XloraSize = 5 } },
        "glider" => Mixture with { Router = new GliderRouterOptions() },
        "blockffn" => Mixture with { Router = new BlockFfnRouterOptions { ChunkSize = 3, InitStd = 0.1 } },
        "mixlora" => Mixture with
        {
            Router = new MixLoraRouterOptions { Jitter = 0.1, InitStd = 1 },
        },
        "ffn-split" => Mixture with
        {
            Experts = new ExpertOptions { Count = 1 },
            Router = new FfnSplitRouterOptions { InitStd = 1 },
        },
        "factorllm" => Mixture with
        {
            Experts = new ExpertOptions { Count = 1 },
            Router = new FactorLlmRouterOptions { Count = 4 },
        },
        "similarity" => Mixture with { Router = new GraphOfTokensRouterOptions() },
        "attention" => Mixture with
        {
            TargetModules = ModuleNames.List(["o_proj", "up_proj", "down_proj"]),
            Router = new GraphOfTokensRouterOptions { Similarity = GraphOfTokensRouterOptions.Attention },
        },
        "hard" => Mixture with { Router = new HardSoftRouterOptions { Stage = HardSoftRouterOptions.Hard } },
        "chain-of-experts" => Mixture with
        {
            TargetModules = ModuleNames.List(["q_proj", "o_proj"]),
            Router = new ChainRouterOptions { Iterations = 3, TopK = 6 },
        },
        "expert-choice" => Mixture with { Router = new ExpertChoiceRouterOptions() },
        "union" => Mixture with
        {
            Experts = new ExpertOptions { Count = 1 },
            Router = new UnionRouterOptions { Weigh = true },
        },
        "sinkhorn" => Mixture with
        {
            Router = new TopKRouterOptions { Balance = new() { Kind = "sinkhorn", Fraction = 0.01, Noise = 0.3 } },
        },
        _ => null,
    };

    private static TokenSequence Sequence(int seed, int length)
    {
        var random = new Random(seed);
        return new TokenSequence(
            [.. Enumerable.Range(0, length).Select(_ => random.Next(3, 32))],
            1, seed % 3, new RowId("f", seed + 1), 0);
    }

    private static (double Token, double Auxiliary, int Records, string Load) Step(TinyDecoder tiny, TokenBatch batch,
        bool gradientCheckpointing)
    {
        using var scope = torch.NewDisposeScope();
        using var random = Seeds.GeneratorFor(3, "step");
        using var tensors = BatchTensors.From(batch, torch.CPU);
        var pass = tensors.TrainingPass(random, gradientCheckpointing);
        var token = TokenLoss.PerToken(tiny.Model, tiny.Model.Hidden(tensors.Ids, pass), tensors,
            pass).sum() / batch.LearnedTokens;
        var auxiliary = tiny.Adapted?.AuxiliaryLoss(pass, tensors.TokenMask);
        pass.Backward(auxiliary is null ? token : token + auxiliary);
        return (
            token.ToDouble(), auxiliary?.ToDouble() ?? 0, pass.Records<RoutingRecord>().Count,
            string.Join(' ', ExpertLoad.Of(pass, tensors.TokenMask)));
    }

    private sealed record Seen(Tensor Output) : IPassRecord
    {
        public IEnumerable<Tensor> Tensors => [Output, Output];
    }

    private sealed class Emitting(Projection inner, Func<bool> emits)
        : Projection(inner.Path, inner.InFeatures, inner.OutFeatures)
    {
        private readonly Projection _inner = inner;

        public override Tensor Forward(Tensor x, ForwardPass pass)
        {
            var output = _inner.Forward(x, pass);
            if (emits())
                pass.Emit(new Seen(output.mean([-1])));
            return output;
        }
    }

    private sealed class Reading(Projection inner) : Projection(inner.Path, inner.InFeatures, inner.OutFeatures)
    {
        private readonly Projection _inner = inner;

        public override Tensor Forward(Tensor x, ForwardPass pass) =>
            _inner.Forward(x, pass) * (pass.Records<Seen>().Single().Output.unsqueeze(-1) * 3 + 1);
    }
}
