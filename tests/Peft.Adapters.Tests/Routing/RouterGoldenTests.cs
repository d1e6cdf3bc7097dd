using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>BlockFFN, RMoE and SMoRA: golden outputs and gradients to 1e-5, and the losses beside them.</summary>
public sealed class RouterGoldenTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    [Fact]
    public void Blockffn_normalises_open_scores_over_the_experts()
    {
        var golden = Golden.Case("secondary.json", "blockffn_router");
        var (logits, norm, eps) = (golden.Input("logits"), golden.Input("norm_weight"), golden.Parameter("eps"));
        var router = new BlockFfnRouter(new BlockFfnRouterOptions { Eps = eps }, new RouterContext("m", 4, 4, 2, 1));
        Set(router, "weight", torch.eye(4));
        Set(router, "norm", norm);

        var decision = router.Route(logits, ForwardPass.ForTraining());

        Golden.Near(golden.Expected("score"), decision.Gates);
        Golden.Near(golden.Expected("active"), decision.Selected.to(torch.float32));
        Golden.Near(golden.Expected("relu"), logits.relu());
        var weights = torch.arange(4, torch.float32) + 1;
        Differences.Agree(x => (BlockFfnRouter.Gates(x, norm, eps).Gates * weights).sum(), logits);
        Differences.Agree(x => (BlockFfnRouter.Gates(logits, x, eps).Gates * weights).sum(), norm);
    }

    [Fact]
    public void Locality_compares_neighbours_of_one_sequence_alone()
    {
        var logits = torch.randn([8, 3], generator: Seeds.GeneratorFor(2, "z")) / 50;
        var mask = torch.tensor(new[] { true, true, true, true, true, true, true, false }).reshape(2, 4);
        var segments = new SequenceSegments(2, 4, [0, 2, 2, 4, 4, 7]);
        var x = torch.zeros([2, 4, 3]);
        var pass = ForwardPass.ForTraining(tokenMask: mask, segments: segments);

        var neighbors = TokenNeighbors.Of(x, pass);

        Assert.Same(neighbors, TokenNeighbors.Of(x, pass));
        Assert.Equal([true, false, true, true, true, false], neighbors.Follows.data<bool>().ToArray());
        double expected = 0;
        foreach (var (first, second) in new[] { (0, 1), (2, 3), (4, 5), (5, 6) })
            expected += torch.nn.functional.binary_cross_entropy_with_logits(
                logits[first] * 100, (logits[second] * 100).sigmoid()).ToDouble() / 4;
        Assert.Equal(expected, ActivationLocality.Of(logits, neighbors, false).ToDouble(), 1e-5);
        Assert.Equal(expected, ActivationLocality.Of(logits, neighbors, true).ToDouble(), 1e-5);
        Differences.Agree(z => ActivationLocality.Of(z, neighbors, false), logits, step: 1e-4, tolerance: 2e-2);
        var held = logits.clone().requires_grad_();
        ActivationLocality.Of(held, neighbors, true).backward();
        Assert.True(held.grad![3].eq(0).all().item<bool>()); // the last of a sequence is a target alone
    }

    [Fact]
    public void Chunk_sparsity_is_what_a_chunk_uses_together()
    {
        var gates = (torch.rand([12, 2], generator: Seeds.GeneratorFor(3, "g")) / 2) + 0.3;
        gates[11].fill_(0.7);
        var mask = torch.tensor(Enumerable.Range(0, 12).Select(token => token < 11).ToArray());
        var shares = ChunkSparsity.Shares(gates);
        Golden.Near(gates / (gates.sum(1L, keepdim: true) + 1e-5), shares);
        var rows = shares.data<float>().ToArray().Chunk(2).ToArray();
        double expected = 0;
        foreach (var chunk in new[] { 0..4, 4..6, 6..10, 10..11 }) // chunks of 4 in two rows of 6
        {
            for (var expert = 0; expert < 2; expert++)
                expected += (1 - rows[chunk].Aggregate(1.0, (left, row) => left * (1 - row[expert] + 1e-5))) / 8;
        }

        Assert.Equal(expected, ChunkSparsity.Of(shares, mask, 6, 4).ToDouble(), 1e-5);
        Differences.Agree(g => ChunkSparsity.Of(ChunkSparsity.Shares(g), mask, 6, 4), gates);
    }

    [Fact]
    public void Rmoe_hands_the_state_of_one_gru_from_layer_to_layer()
    {
        var golden = Golden.Case("secondary.json", "rmoe_gru_router");
        var (w, b) = (golden.InputSection("W"), golden.InputSection("b"));
        var shared = new SharedParts();
        var options = new RmoeRouterOptions { HiddenSize = 3, TopK = (int)golden.Parameter("k") };
        var first = new RmoeRouter(options, new RouterContext("layers.0.q_proj", 3, 4, 2, 1, Shared: shared));
        var second = new RmoeRouter(options, new RouterContext("layers.1.q_proj", 3, 4, 2, 1, Shared: shared));
        Set(first, "gru_in", torch.cat([w("ir"), w("iz"), w("in")], 0));
        Set(first, "gru_state", torch.cat([w("hr"), w("hz"), w("hn")], 0));
        Set(first, "gru_in_bias", torch.cat([b("ir"), b("iz"), b("in")], 0));
        Set(first, "gru_state_bias", torch.cat([b("hr"), b("hz"), b("hn")], 0));
        Set(second, "in", torch.eye(3));
        Set(second, "weight", golden.Input("W_out"));
        var pass = ForwardPass.ForTraining();
        pass.Emit(new RoutingState("layers.*.q_proj", golden.Input("h")));

        var decision = second.Route(golden.Input("x"), pass);

        Golden.Near(golden.Expected("h_new"), pass.Records<RoutingState>()[^1].State);
        Golden.Near(golden.Expected("logits"), decision.Logits!);
        var indices = golden.Expected("indices").to(torch.int64);
        Golden.Near(golden.Expected("weights"), decision.Gates.gather(1, indices));
        Assert.Equal(["in", "weight"], second.named_parameters().Select(pair => pair.name));
        // A first layer's state is zero.
        var start = ForwardPass.ForTraining();
        first.Route(golden.Input("x"), start);
        var unit = Unit(first);
        Golden.Near(
            unit.Next(golden.Input("x").mm(Named(first, "in").t()), torch.zeros([2, 3])),
            start.Records<RoutingState>().Single().State);
        Differences.Agree(h => unit.Next(golden.Input("x"), h).pow(2).sum(), golden.Input("h"));
        Differences.Agree(x => unit.Next(x, golden.Input("h")).pow(2).sum(), golden.Input("x"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Smora_weighs_ranks_by_their_scores(bool biasInGate)
    {
        var golden = Golden.Case("second.json", "smora");
        var (x, weight) = (golden.Input("x"), golden.Input("W"));
        var (down, up) = (golden.Input("A").requires_grad_(), golden.Input("B").requires_grad_());
        var (rank, k) = ((int)golden.Parameter("r"), (int)golden.Parameter("activate_r"));
        var options = new SmoraRouterOptions
        {
            TopK = k, BiasInGate = biasInGate, BiasRate = golden.Parameter("bias_update_rate"),
        };
        var router = new SmoraRouter(options, new RouterContext("m", 5, 1, rank, 1));
        Set(router, "weight", golden.Input("router"));
        using (torch.no_grad())
            router.named_buffers().Single().buffer.copy_(golden.Input("bias"));

        var decision = router.Route(x, ForwardPass.ForTraining());
        var output = Fused.lora_mixture_linear(
            x, weight, null, down, up, decision.Gates, golden.Parameter("lora_alpha") / rank,
            selected: decision.Selected);

        // Gates hold r / k, which the scale alpha / r lacks.
        Golden.Near(golden.Expected(biasInGate ? "gates" : "gates_unbiased") * (rank / k), decision.Gates);
        Golden.Near(golden.Expected(biasInGate ? "output" : "output_unbiased"), output);
        Golden.Near(golden.Expected("scores"), decision.Logits!.sigmoid());
        var counts = decision.Selected.to(torch.float32).sum(0L);
        Golden.Near(golden.Expected("counts"), counts);
        if (biasInGate)
        {
            (output * golden.Input("cotangent")).sum().backward();
            Golden.Near(golden.Expected("grad_router"), Named(router, "weight").grad!);
            Golden.Near(golden.Expected("grad_A"), down.grad!);
            Golden.Near(golden.Expected("grad_B"), up.grad!);
        }

        router.Balance(new(counts));
        Golden.Near(golden.Expected("new_bias"), router.named_buffers().Single().buffer, 1e-6);
    }

    private static GatedUnit Unit(RmoeRouter router) => new(
        Named(router, "gru_in"), Named(router, "gru_state"), Named(router, "gru_in_bias"),
        Named(router, "gru_state_bias"));

    private static TorchSharp.Modules.Parameter Named(Router router, string name) =>
        router.named_parameters().Single(pair => pair.name == name).parameter;

    private static void Set(Router router, string name, Tensor values)
    {
        using var off = torch.no_grad();
        Named(router, name).copy_(values);
    }
}
