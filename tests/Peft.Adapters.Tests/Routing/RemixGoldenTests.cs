using System.Text.Json;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Every case of remix.json, to 1e-5, and the estimator against the surrogate's own gradient.</summary>
public sealed class RemixGoldenTests : TensorTests
{
    private const string File = "remix.json";

    [Fact]
    public void The_probability_of_every_ordered_selection()
    {
        var golden = Golden.Case(File, "ordered_selection_probability");
        var logits = golden.Input("q").log().unsqueeze(0);
        foreach (var (order, expected) in golden.ExpectedNumbers("log_ordered"))
        {
            var drawn = JsonSerializer.Deserialize<long[]>(order)!;

            Assert.Equal(
                expected, Fused.order_probability(logits, torch.tensor(drawn, [1, 2])).Log.ToDouble(), 1e-5);
        }
        Golden.Near(
            golden.Expected("inference_topk"), Selection.TopIndices(golden.Input("q").unsqueeze(0), 2).squeeze(0));
    }

    [Fact]
    public void Gumbel_draws_have_the_law_of_successive_draws()
    {
        var golden = Golden.Case(File, "ordered_selection_probability");
        const int Draws = 20000;
        var router = new RlooRouter(new RlooRouterOptions { TopK = 2 }, new RouterContext("m", 1, 4, 2, 1));
        using (torch.no_grad())
            router.Weight.copy_(golden.Input("q").log().unsqueeze(1));

        var drawn = (DrawnDecision)router.Route(
            torch.ones([Draws, 1]), ForwardPass.ForTraining(Seeds.GeneratorFor(5, "draws")));

        var orders = drawn.Order.contiguous().data<long>().ToArray();
        foreach (var (order, expected) in golden.ExpectedNumbers("ordered"))
        {
            var pair = JsonSerializer.Deserialize<long[]>(order)!;
            var share = Enumerable.Range(0, Draws)
                .Count(i => orders[2 * i] == pair[0] && orders[(2 * i) + 1] == pair[1]) / (double)Draws;
            // Five standard deviations of a share of 20,000 draws.
            Assert.InRange(share - expected, -5 * Math.Sqrt(0.25 / Draws), 5 * Math.Sqrt(0.25 / Draws));
        }
    }

    [Theory]
    [InlineData("lora")]
    [InlineData("rslora")]
    public void Drawn_experts_get_the_constant_weight(string weight)
    {
        var golden = Golden.Case(File, "forward_constant_weights");
        var options = new RlooRouterOptions { TopK = 2, Weight = weight };
        var (projection, router) = Build(golden, options);
        var x = golden.Input("x");
        var selected = golden.Input("selected").to(torch.int64);

        var pass = ForwardPass.ForInference();
        Golden.Near(golden.Expected($"inference_output_{weight}"), projection.Forward(x, pass));
        Assert.Equal(golden.ExpectedNumber($"omega_{weight}"), projection.Shape.Scale, 1e-6);
        Golden.Near(golden.Expected("q"), pass.Records<RoutingRecord>()[0].Decision.Probabilities!);
        Golden.Near(
            golden.Expected("topk_indices"),
            Selection.TopIndices(pass.Records<RoutingRecord>()[0].Decision.Probabilities!, 2));
        Assert.Equal(
            golden.ExpectedNumber("ess_of_selected_weights"), RoutingStatistics.Of(pass, null)[0].EffectiveSupport,
            1e-5);

        var logits = torch.nn.functional.linear(x, router.Weight);
        Golden.Near(golden.Expected("log_Q_of_selected"), Fused.order_probability(logits, selected).Log);
        var gates = torch.zeros([2, 4]).scatter(1, selected, torch.ones([2, 2]));
        Golden.Near(
            golden.Expected($"output_{weight}"),
            Fused.lora_mixture_linear(
                x, golden.Input("W"), null, projection.Down, projection.Up, gates, projection.Shape.Scale));
    }

    [Fact]
    public void The_leave_one_out_gradient()
    {
        var golden = Golden.Case(File, "rloo_gradient");
        var (x, weight) = (golden.Input("x"), golden.Input("P"));
        var selections = golden.Input("selections").to(torch.int64);
        var losses = golden.Input("losses");
        var logits = torch.nn.functional.linear(x.unsqueeze(0), weight).expand(4, 4).clone();

        var (log, byLogits) = Fused.order_probability(logits, selections);

        Golden.Near(golden.Expected("q"), logits.softmax(-1).select(0, 0));
        Golden.Near(golden.Expected("log_Q"), log);
        Golden.Near(golden.Expected("dlogQ_dlogits"), byLogits);
        Golden.Near(golden.Expected("grad_P"), Estimate(x, weight, selections, losses));
    }

    [Fact]
    public void The_mean_of_the_estimator_is_the_gradient_of_the_expected_loss()
    {
        var golden = Golden.Case(File, "unbiasedness");
        var logits = golden.Input("logits");
        var losses = golden.Input("loss_of_expert").data<float>().ToArray();
        var q = logits.softmax(-1).data<float>().ToArray();
        var expected = torch.zeros([3]);
        for (var i = 0; i < 3; i++)
        {
            for (var j = 0; j < 3; j++)
            {
                // With x = 1 the router's matrix is the column of logits.
                var drawn = torch.tensor(new long[] { i, j }, [2, 1]);
                var loss = torch.tensor(new[] { losses[i], losses[j] }, [2]);
                expected = expected
                    + Estimate(torch.ones([1]), logits.unsqueeze(1), drawn, loss).squeeze(1) * (q[i] * (double)q[j]);
            }
        }

        Golden.Near(golden.Expected("exact_grad_logits"), expected);
        Golden.Near(golden.Expected("expected_rloo_grad"), expected);
    }

    [Theory]
    [InlineData("token")]
    [InlineData("sequence")]
    public void The_estimate_of_a_batch_is_the_gradient_of_the_surrogate(string granularity)
    {
        var options = new RlooRouterOptions { TopK = 2, Granularity = granularity };
        var x = torch.randn([3, 5, 4], generator: Seeds.GeneratorFor(1, "x"));
        var mask = torch.tensor(Enumerable.Range(0, 15).Select(i => i != 9 && i != 14).ToArray(), [3, 5]);
        var router = new RlooRouter(options, new RouterContext("m", 4, 6, 2, 3));
        var losses = torch.randn([3, 3], generator: Seeds.GeneratorFor(2, "losses")); // [M, B]
        using var estimator = new RlooEstimator();
        var surrogate = torch.zeros([]);
        var copy = router.Weight.detach().clone().requires_grad_();
        for (var m = 0; m < 3; m++)
        {
            var pass = ForwardPass.ForTraining(Seeds.GeneratorFor(m, "draw"), tokenMask: mask);
            var drawn = (DrawnDecision)router.Route(x, pass);
            pass.Emit(new RoutingRecord("m", drawn));
            estimator.Add(pass, losses.select(0, m));

            var advantage = (losses.select(0, m) - losses.mean([0])) / 2; // [B]
            var log = SurrogateLog(x, mask, copy, drawn.Order, granularity); // [B]
            surrogate = surrogate + (advantage * log).sum();
        }
        surrogate.backward();

        estimator.AddTo([router]);

        Golden.Near(copy.grad!, router.Weight.grad!);
    }

    [Fact]
    public void Drawing_in_training_needs_random_numbers()
    {
        var router = new RlooRouter(new RlooRouterOptions(), new RouterContext("layers.0.q_proj", 4, 4, 2, 1));

        Assert.StartsWith(
            "layers.0.q_proj: router rloo draws experts",
            Assert.Throws<InvalidOperationException>(
                () => router.Route(torch.ones([2, 4]), ForwardPass.ForTraining())).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_sequence_keeps_the_experts_of_its_prompt_while_it_is_continued()
    {
        var router = new RlooRouter(
            new RlooRouterOptions { Granularity = "sequence" }, new RouterContext("m", 4, 4, 2, 1));
        using var cache = new KeyValueCache(1);
        var prompt = torch.randn([2, 5, 4], generator: Seeds.GeneratorFor(1, "prompt"));

        var first = router.Route(prompt, ForwardPass.ForInference(cache)).Gates.reshape(2, 5, 4).select(1, 0);
        var next = router.Route(
            torch.randn([2, 1, 4], generator: Seeds.GeneratorFor(9, "next")) * 10,
            ForwardPass.ForInference(cache)).Gates;

        Assert.True(first.SameAs(next));
    }

    // Autograd's own way to log Q: one graph, summed over the real tokens of each sequence.
    private static Tensor SurrogateLog(Tensor x, Tensor mask, Tensor weight, Tensor order, string granularity)
    {
        var real = mask.to(torch.float32);
        var inputs = granularity == "sequence"
            ? (x * real.unsqueeze(-1)).sum(1L) / real.sum(1L).unsqueeze(-1)
            : x.reshape(-1, 4);
        var z = torch.nn.functional.linear(inputs, weight);
        var log = torch.zeros([z.shape[0]]);
        for (var draw = 0; draw < order.shape[1]; draw++)
        {
            var drawn = order.narrow(1, draw, 1);
            log = log + (z.gather(1, drawn) - z.logsumexp(-1, keepdim: true)).squeeze(1);
            z = z.scatter(1, drawn, torch.full(drawn.shape, double.NegativeInfinity, z.dtype));
        }
        return granularity == "sequence" ? log : (log * real.reshape(-1)).reshape(3, 5).sum(1L);
    }

    private static Tensor Estimate(Tensor x, Tensor weight, Tensor selections, Tensor losses)
    {
        var (experts, width) = ((int)weight.shape[0], weight.shape[1]);
        var router = new RlooRouter(new RlooRouterOptions(), new RouterContext("m", width, experts, 2, 1));
        using var estimator = new RlooEstimator();
        for (var m = 0; m < selections.shape[0]; m++)
        {
            var order = selections.narrow(0, m, 1);
            var logits = torch.nn.functional.linear(x.unsqueeze(0), weight);
            var (log, byLogits) = Fused.order_probability(logits, order);
            var score = byLogits.unsqueeze(2) * x.reshape(1, 1, -1); // [1, E, D]
            var gates = torch.zeros_like(logits);
            var pass = ForwardPass.ForTraining();
            pass.Emit(new RoutingRecord("m", new DrawnDecision(gates, gates.gt(0), gates, logits, order, log, score)));
            estimator.Add(pass, losses.narrow(0, m, 1));
        }
        estimator.AddTo([router]);
        return router.Weight.grad!;
    }

    private static (MixtureProjection Projection, RlooRouter Router) Build(Golden golden, RlooRouterOptions options)
    {
        var router = new RlooRouter(options, new RouterContext("m", 4, 4, 2, 1));
        using var off = torch.no_grad();
        router.Weight.copy_(golden.Input("P"));
        var projection = new MixtureProjection(
            new BaseLinear("m", golden.Input("W").ToParameter(false)), new MixtureShape(
                4, 2, options.ScaleOf(2)!.Value), router,
            golden.Input("A").reshape(8, 4).ToParameter());
        projection.Up.copy_(golden.Input("B").permute(1, 0, 2).reshape(3, 8));
        return (projection, router);
    }
}
