using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Routing by similar tokens and by the experts' own choice: golden outputs and gradients to 1e-5.</summary>
public sealed class CausalRouterTests : TensorTests
{
    [Fact]
    public void Similar_earlier_tokens_share_their_routing()
    {
        var golden = Golden.Case("second.json", "graph_of_tokens");
        var options = new GraphOfTokensRouterOptions { TopK = (int)golden.Parameter("k") };
        var router = New(golden, options);

        var decision = router.Route(golden.Input("X"), ForwardPass.ForTraining());

        Golden.Near(golden.Expected("probs_similarity_causal"), decision.Probabilities!);
        Golden.Near(golden.Expected("weights_similarity"), decision.Gates);
        var own = golden.Input("X").mm(golden.Input("router").t()).softmax(-1);
        Golden.Near(golden.Expected("p"), own);
        var entropies = golden.ExpectedNumbers("mean_entropy").ToDictionary();
        Assert.Equal(entropies["plain"], Entropy(own), 1e-5);
        Assert.Equal(entropies["similarity"], Entropy(decision.Probabilities!), 1e-5);
        (decision.Gates * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected("grad_router_similarity"), Named(router, "weight").grad!);
        Golden.Near(golden.Expected("grad_W_s"), Named(router, "similarity").grad!.t());
        var byLogits = New(golden, options with { Average = GraphOfTokensRouterOptions.OfLogits });
        Golden.Near(
            golden.Expected("probs_logit_average"),
            byLogits.Route(golden.Input("X"), ForwardPass.ForInference()).Probabilities!);
        var plain = new GraphOfTokensRouter(
            options with { Similarity = GraphOfTokensRouterOptions.Fixed }, new RouterContext("m", 3, 3, 2, 1));
        Assert.Equal(["weight"], plain.named_parameters().Select(pair => pair.name));
    }

    [Fact]
    public void Tokens_that_are_attended_to_share_their_routing()
    {
        var golden = Golden.Case("second.json", "graph_of_tokens");
        var options = new GraphOfTokensRouterOptions
        {
            TopK = (int)golden.Parameter("k"), Similarity = GraphOfTokensRouterOptions.Attention,
        };
        var router = new GraphOfTokensRouter(options, new RouterContext("layers.3.o_proj", 3, 3, 2, 1));
        using (torch.no_grad())
            Named(router, "weight").copy_(golden.Input("router"));
        var pass = ForwardPass.ForTraining();
        // Queries whose products with unit keys are the logarithms of the attention give that attention.
        pass.Emit(new AttentionMap(
            3, golden.Input("attention").clamp(min: 1e-30).log().unsqueeze(0),
            torch.eye(4).expand(1, 2, 4, 4), null, null)
        { Scale = 1 });

        var decision = router.Route(golden.Input("X"), pass);

        Golden.Near(golden.Expected("probs_attention"), decision.Probabilities!);
        Golden.Near(golden.Expected("weights_attention"), decision.Gates);
        (decision.Gates * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected("grad_router_attention"), Named(router, "weight").grad!);
    }

    [Theory]
    [InlineData(GraphOfTokensRouterOptions.OfProbabilities)]
    [InlineData(GraphOfTokensRouterOptions.OfLogits)]
    public void Decoding_routes_as_the_whole_text_and_padding_on_the_left_changes_nothing(string average)
    {
        var golden = Golden.Case("second.json", "graph_of_tokens");
        var router = New(golden, new GraphOfTokensRouterOptions { TopK = 2, Average = average });
        var x = torch.cat([golden.Input("X"), -golden.Input("X")], 0).reshape(2, 4, 3);
        var whole = router.Route(x, ForwardPass.ForInference()).Gates.reshape(2, 4, 3);

        using var cache = new KeyValueCache(0);
        var parts = new List<Tensor>();
        foreach (var (from, count) in new[] { (0, 2), (2, 1), (3, 1) })
        {
            parts.Add(router.Route(x.narrow(1, from, count), ForwardPass.ForInference(cache)).Gates
                .reshape(2, count, 3));
            cache.Advance(count);
        }

        Golden.Near(whole, torch.cat([.. parts], 1));
        var padded = torch.cat([torch.full([2, 2, 3], 5.0), x], 1);
        var seen = torch.tensor(new[] { false, false, true, true, true, true }).expand(2, 6);
        var beside = router.Route(padded, ForwardPass.ForInference(keyMask: seen)).Gates.reshape(2, 6, 3);
        Golden.Near(whole, beside.narrow(1, 2, 4));
        Assert.True(beside.isfinite().all().item<bool>());
        // Sequences that share a row see themselves alone.
        var packed = router.Route(
            x.reshape(1, 8, 3), ForwardPass.ForInference(segments: new SequenceSegments(1, 8, [0, 4, 4, 8])));
        Golden.Near(whole.reshape(8, 3), packed.Gates);
    }

    [Fact]
    public void Experts_take_the_tokens_that_want_them_most()
    {
        var golden = Golden.Case("secondary.json", "expert_choice");
        var s = golden.Input("S");

        var selected = ExpertChoiceRouter.Choose(s, null, golden.Parameter("capacity_factor"));

        var indices = golden.Expected("token_indices_per_expert").to(torch.int64);             // [E, k]
        Assert.Equal(golden.ExpectedNumber("capacity") * 3, selected.to(torch.float32).sum().ToDouble());
        Assert.True(selected.t().gather(1, indices).all().item<bool>());
        Golden.Near(golden.Expected("gates"), Selection.Gates(s, selected, normalize: false).t().gather(1, indices));
        var padded = torch.cat([s, torch.full([2, 3], 0.9)], 0);
        var mask = torch.tensor(new[] { true, true, true, true, true, true, false, false });
        Golden.Near(
            selected.to(torch.float32), ExpertChoiceRouter.Choose(padded, mask, 1).narrow(0, 0, 6).to(torch.float32));
        Assert.False(ExpertChoiceRouter.Choose(padded, mask, 1).narrow(0, 6, 2).any().item<bool>());
    }

    [Fact]
    public void Expert_choice_learns_through_what_is_taken_and_refuses_to_decode()
    {
        var router = new ExpertChoiceRouter(new ExpertChoiceRouterOptions(), new RouterContext("m", 3, 3, 2, 1));
        var x = torch.randn([6, 3], generator: Seeds.GeneratorFor(1, "x"));
        var taken = ExpertChoiceRouter.Choose(router.Route(x, ForwardPass.ForInference()).Probabilities!, null, 2);
        Differences.Agree(
            logits => Selection.Gates(logits.softmax(-1), taken, normalize: false).pow(2).sum(),
            router.Route(x, ForwardPass.ForInference()).Logits!);
        using var cache = new KeyValueCache(1);

        var error = Assert.Throws<UserException>(() => router.Route(x, ForwardPass.ForInference(cache)));

        Assert.Equal(
            "adapter.router.kind: 'expert-choice' cannot write a text: each expert takes its best tokens of the whole "
            + "batch, later ones too; expected measuring of given texts (peft eval with choices or perplexity, peft "
            + "logits).", error.Message);
    }

    private static double Entropy(Tensor p) => -(p * p.log()).sum(-1).mean().ToDouble();

    private static GraphOfTokensRouter New(Golden golden, GraphOfTokensRouterOptions options)
    {
        var router = new GraphOfTokensRouter(options, new RouterContext("m", 3, 3, 2, 1));
        using var off = torch.no_grad();
        Named(router, "weight").copy_(golden.Input("router"));
        Named(router, "similarity").copy_(golden.Input("W_s").t());
        return router;
    }

    private static TorchSharp.Modules.Parameter Named(Router router, string name) =>
        router.named_parameters().Single(pair => pair.name == name).parameter;
}
