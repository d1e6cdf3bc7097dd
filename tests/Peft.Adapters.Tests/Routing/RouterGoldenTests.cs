using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>BlockFFN, RMoE and SMoRA: golden outputs and gradients to 1e-5, and the losses beside them.</summary>
public sealed class RouterGoldenTests : TensorTests
{
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
        // Norm weights may become negative in training: then shares go by size, and the loss stays a number.
        var turned = gates * torch.tensor(new[] { 1f, -1 });
        Golden.Near(shares, ChunkSparsity.Shares(turned));
        Differences.Agree(g => ChunkSparsity.Of(ChunkSparsity.Shares(g), mask, 6, 4), turned);
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
        golden.ChoosesAlone("indices", decision.Selected);
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

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Chains_route_each_iteration_by_what_the_one_before_gave(bool routerPerIteration)
    {
        var golden = Golden.Case("second.json", "chain_of_experts");
        var (iterations, k) = ((int)golden.Parameter("C"), (int)golden.Parameter("K"));
        Assert.Equal(golden.Parameter("k_per_iteration"), k / iterations);
        var options = new ChainRouterOptions
        {
            Iterations = iterations, TopK = k, RouterPerIteration = routerPerIteration,
        };
        var router = new ChainRouter(options, new RouterContext("m", 3, 4, 2, 1));
        Set(router, "weight", golden.Input("routers").narrow(0, 0, routerPerIteration ? 2 : 1).reshape(-1, 3));

        var (decisions, states) = Run(golden, router, withShared: false);

        if (!routerPerIteration)
        {
            Assert.Same(decisions[0], decisions[1]);
            Golden.Near(golden.Expected("output_fixed_gates"), states[^1]);
            return;
        }

        Golden.Near(golden.Expected("probs"), torch.stack([.. decisions.Select(one => one.Probabilities!)], 0));
        Golden.Near(golden.Expected("weights"), torch.stack([.. decisions.Select(one => one.Gates)], 0));
        Golden.Near(golden.Expected("states"), torch.stack([.. states], 0));
        Golden.Near(golden.Expected("output"), states[^1]);
        Golden.Near(golden.Expected("output_with_shared"), Run(golden, router, withShared: true).States[^1]);
        (states[^1] * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected("grad_routers"), Named(router, "weight").grad!.reshape(2, 4, 3));
        // An offset of zero changes nothing, one that is large sends all tokens to its expert.
        var plain = router.Route(golden.Input("x"), ForwardPass.ForInference()).Gates;
        router.LogitOffset = torch.zeros([4]);
        Golden.Near(plain, router.Route(golden.Input("x"), ForwardPass.ForInference()).Gates);
        router.LogitOffset = torch.tensor(new[] { 0f, 0, 9, 0 });
        Assert.True(router.Route(golden.Input("x"), ForwardPass.ForInference()).Selected.select(1, 2).all()
            .item<bool>());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void A_projection_gives_what_its_chain_made_of_the_input(int iterations)
    {
        const int D = 6, Experts = 4, Rank = 2;
        Tensor Drawn(string name, params long[] shape) =>
            torch.randn(shape, generator: Seeds.GeneratorFor(5, name)) / 2;
        var options = new ChainRouterOptions { Iterations = iterations, TopK = 2 * iterations };
        var router = new ChainRouter(options, new RouterContext("m", D, Experts, Rank, 1));
        var weight = Drawn("weight", D, D);
        // The last expert is shared.
        using var projection = new MixtureProjection(
            new BaseLinear("m", weight.ToParameter(false)), new MixtureShape(Experts, Rank, 1.5) { Shared = 1 }, router,
            Drawn("down", (Experts + 1) * Rank, D).ToParameter(), Drawn("up", D, (Experts + 1) * Rank).ToParameter());
        var x = Drawn("x", 2, 5, D).requires_grad_();
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(x, pass);

        Tensor[] leaves = [x, projection.Down, projection.Up, Named(router, "weight")];
        var found = Slopes(output, leaves);
        var expected = ByFormula();
        Golden.Near(expected.reshape(2, 5, D), output);
        Assert.All(Slopes(expected, leaves).Zip(found), pair => Golden.Near(pair.First, pair.Second, 1e-4));
        Assert.Equal(
            ["m", .. Enumerable.Range(2, iterations - 1).Select(iteration => $"m@{iteration}")],
            pass.Records<RoutingRecord>().Select(record => record.Module));

        Tensor ByFormula()
        {
            var first = x.reshape(-1, D);
            var state = first;
            for (var iteration = 0; iteration < iterations; iteration++)
            {
                var gate = Named(router, "weight").narrow(0, iteration * Experts, Experts);
                var p = state.mm(gate.t()).softmax(-1);
                var gates = torch.cat([p * Selection.TopMask(p, 2), torch.ones([10, 1])], 1);
                state = Enumerable.Range(0, Experts + 1).Aggregate(state, (sum, expert) => sum + (gates
                    .narrow(1, expert, 1) * state.mm(projection.DownOf(expert).t()).mm(projection.UpOf(expert).t())
                        * 1.5));
            }

            return first.mm(weight.t()) + state - first;
        }

        static List<Tensor> Slopes(Tensor output, Tensor[] leaves)
        {
            foreach (var leaf in leaves)
                leaf.grad = null;
            (output.reshape(-1) * (torch.arange(output.numel(), torch.float32) / 20)).sum().backward();
            return [.. leaves.Select(leaf => leaf.grad!.clone())];
        }
    }

    // The iterations over the vector's experts, which are gated feed-forward layers.
    private static (List<RoutingDecision> Decisions, List<Tensor> States) Run(
        Golden golden, ChainRouter router, bool withShared)
    {
        var (gate, up, down) = (golden.Input("W_gate"), golden.Input("W_up"), golden.Input("W_down"));
        var (state, pass) = (golden.Input("x"), ForwardPass.ForTraining());
        var (decisions, states) = (new List<RoutingDecision>(), new List<Tensor>());
        for (var iteration = 0; iteration < router.Iterations; iteration++)
        {
            decisions.Add(iteration == 0
                ? router.Route(state, pass) : router.RouteAgain(state, iteration, decisions[^1]));
            var next = state;
            for (var expert = 0; expert < gate.shape[0]; expert++)
                next = next + (decisions[^1].Gates.narrow(1, expert, 1)
                    * Given(state, gate[expert], up[expert], down[expert]));
            state = withShared
                ? next + Given(
                    state, golden.Input("shared_gate"), golden.Input("shared_up"), golden.Input("shared_down"))
                : next;
            states.Add(state);
        }

        return (decisions, states);

        static Tensor Given(Tensor x, Tensor gate, Tensor up, Tensor down) =>
            (torch.nn.functional.silu(x.mm(gate.t())) * x.mm(up.t())).mm(down.t());
    }

    [Fact]
    public void Smora_gives_the_ranks_of_a_part_one_score()
    {
        var router = new SmoraRouter(
            new SmoraRouterOptions { TopK = 3, RankPartition = 3 }, new RouterContext("m", 5, 1, 6, 1));
        var x = torch.randn([7, 5], generator: Seeds.GeneratorFor(4, "x"));

        var decision = router.Route(x, ForwardPass.ForInference());

        var scores = x.mm(Named(router, "weight").t()); // [7, 2]
        Golden.Near(scores.repeat_interleave(3, 1), decision.Logits!);
        Assert.Equal(
            scores.argmax(1).repeat_interleave(3, 0).data<long>().ToArray(),
            decision.Selected.nonzero().select(1, 1).contiguous().data<long>().ToArray().Select(rank => rank / 3));
        Golden.Near(decision.Selected.to(torch.float32) * 2, decision.Gates); // equal shares of r = 6
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
