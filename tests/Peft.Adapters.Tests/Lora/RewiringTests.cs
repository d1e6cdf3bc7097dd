using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>Rewiring's step, to 1e-5, and fitting routers of a model.</summary>
public sealed class RewiringTests : TensorTests
{
    private const string Mixture = """
        {"method": "mixture", "r": 2, "lora_dropout": 0.5, "target_modules": ["q_proj", "up_proj"],
        "experts": {"count": 3}, "router": {"kind": "top-k"}}
        """;

    [Theory]
    [InlineData("renormalised", "sgd")]
    [InlineData("renormalised", "adam")]
    [InlineData("raw", "sgd")]
    [InlineData("raw", "adam")]
    public void A_step_lowers_the_loss_of_the_text(string weights, string optimizer)
    {
        var golden = Golden.Case("second.json", "rewiring_one_step");
        var (hidden, experts) = (golden.Input("hidden"), golden.Input("expert_matrices"));
        var next = golden.Input("token_ids").to(ScalarType.Int64).narrow(0, 1, 5);
        var router = new TopKRouter(
            new TopKRouterOptions { TopK = (int)golden.Parameter("k"), Normalize = weights == "renormalised" },
            new RouterContext("m", 4, 4, 1, 0));
        using (torch.no_grad())
            router.parameters().Single().copy_(golden.Input("router")).requires_grad_(false);
        Golden.Near(
            golden.Expected("probs"), router.Route(hidden, ForwardPass.ForInference()).Probabilities!);
        var offset = torch.zeros([4]).ToParameter();
        router.LogitOffset = offset;
        Tensor Loss()
        {
            var gates = router.Route(hidden, ForwardPass.ForFitting()).Gates;
            var mixed = hidden + torch.einsum("ne,eij,nj->ni", gates, experts, hidden);
            return torch.nn.functional.cross_entropy(
                mixed.mm(golden.Input("unembedding").t()).narrow(0, 0, 5), next);
        }

        var losses = Rewiring.Descend(
            [offset], new RewiringOptions { Steps = 1, LearningRate = golden.Parameter("lr"), Optimizer = optimizer },
            () => (Loss(), [0]));

        Assert.Equal(golden.ExpectedNumber($"loss_{weights}"), losses.Single(), 1e-5);
        Golden.Near(golden.Expected($"grad_delta_{weights}"), offset.grad!);
        Golden.Near(golden.Expected($"delta_{optimizer}_{weights}"), offset);
        Assert.Equal(golden.ExpectedNumber($"loss_after_{optimizer}_{weights}"), Loss().ToDouble(), 1e-5);
    }

    [Fact]
    public void Layers_are_ordered_by_formula_or_by_prose()
    {
        var golden = Golden.Case("second.json", "rewiring_one_step");
        var layers = golden.Input("layer_probs").unbind(0).Select(
            p => Rewiring.Indecision(p, Selection.TopMask(p, 2))).ToList();

        foreach (var (expected, found) in golden.Expected("confidence_per_layer").data<float>().ToArray().Zip(layers))
            Assert.Equal(expected, found, 1e-5);
        foreach (var (expected, order) in new[]
        {
            ("layers_by_formula_desc", RewiringOptions.ByFormula),
            ("layers_most_decisive_first", RewiringOptions.MostDecisive),
        })
            Assert.Equal(
                golden.Expected(expected).data<float>().ToArray().Select(layer => (int)layer),
                Rewiring.Ordered(layers, order));
    }

    [Fact]
    public void A_fit_moves_the_routers_of_some_layers_and_a_new_text_begins_anew()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(Mixture), 1);
        AttachmentTests.FillUp(adapted);
        var before = TinyModel.Logits(adapted.Model);
        double Loss()
        {
            var pass = ForwardPass.ForInference();
            var hidden = adapted.Model.Hidden(Ids(), pass).narrow(1, 0, 7).reshape(7, -1);
            return adapted.Model.TokenLosses(hidden, Ids().narrow(1, 1, 7).reshape(-1), pass).mean().ToDouble();
        }
        var first = Loss();
        using (var rewiring = new Rewiring(adapted, new RewiringOptions { Layers = 0.5, Steps = 20 }))
        {
            rewiring.Fit(Text);
            Assert.True(Loss() < first);
            var moved = adapted.Modules.Where(module => ((IRewirable)module.Router!).LogitOffset is not null)
                .Select(module => TargetSelection.LayerOf(module.Path)).ToList();
            Assert.Equal(2, moved.Count);
            Assert.Single(moved.Distinct());
            var fitted = Loss();
            rewiring.Fit(Text);
            Assert.True(Loss() < fitted);

            rewiring.Reset();
            Assert.True(before.SameAs(TinyModel.Logits(adapted.Model)));
            rewiring.Fit(Text);
            Assert.Equal(fitted, Loss());
            rewiring.Fit([3]);
        }
        Assert.True(before.SameAs(TinyModel.Logits(adapted.Model)));
    }

    [Fact]
    public void A_text_is_continued_token_by_token_and_fitted_anew_on_the_way()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(Mixture), 1);
        AttachmentTests.FillUp(adapted);
        var options = new GenerationOptions { MaxNewTokens = 5, EosTokenIds = [] };
        using var rewiring = new Rewiring(adapted, new RewiringOptions { Every = 2, LearningRate = 1e-9 });

        // With a rate of next to nothing the text is the model's own.
        var own = TextGeneration.Generate(adapted.Model, Text, options).ToList();
        Assert.Equal(own, rewiring.Generate(Text, options));
        Assert.Equal(own.Take(3), rewiring.Generate(Text, options with { IsFinished = made => made.Count == 3 }));
        Assert.Equal(
            own.Take(own.IndexOf(own[3]) + 1), rewiring.Generate(Text, options with { EosTokenIds = [own[3]] }));
        Assert.Throws<FaultsException>(() => rewiring.Generate([], options));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void The_catalog_knows_whose_logits_can_be_moved_and_an_offset_moves_them(string kind)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AttachmentTests.Options(kind), 1);
        AttachmentTests.FillUp(adapted);
        var own = adapted.Modules.Select(module => module.Router).Where(router => router is not (null or SharedRouter));
        var before = TinyModel.Logits(adapted.Model);

        Assert.All(own, router => Assert.Equal(RouterCatalog.Of(kind).IsRewirable, router is IRewirable));
        if (!RouterCatalog.Of(kind).IsRewirable)
            return;
        Rewiring.RequireRewirable(adapted.Options);
        foreach (var router in own.Cast<IRewirable>())
            router.LogitOffset = torch.tensor(new[] { 9f, 4, 0, 0 });
        Assert.False(before.SameAs(TinyModel.Logits(adapted.Model)));
        foreach (var router in own.Cast<IRewirable>())
            router.LogitOffset = null;
        Assert.True(before.SameAs(TinyModel.Logits(adapted.Model)));
    }

    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind)];

    [Theory]
    [InlineData(
        """{"r": 2}""",
        "--rewire: an adapter without a router; expected a mixture behind router chain-of-experts, comol, "
            + "graph-of-tokens, hydra, mixlora, mixlora-dynamic, mixlora-switch, rmoe, soft, top-k or top-p.")]
    [InlineData(
        """{"method": "mixture", "router": {"kind": "tsallis"}}""",
        "--rewire: router tsallis, whose logits cannot be moved; expected a mixture behind router chain-of-experts, "
            + "comol, graph-of-tokens, hydra, mixlora, mixlora-dynamic, mixlora-switch, rmoe, soft, top-k or top-p.")]
    [InlineData(
        """{"method": "mixture", "router": {"kind": "top-k", "top_k": 1}}""",
        "--rewire: router top-k has top_k 1 and normalize true, so that every gate is 1; expected gates that depend on "
            + "the logits.")]
    public void What_cannot_be_fitted_is_refused(string options, string expected)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(options), 1);

        Assert.Equal(
            expected, Assert.Throws<UserException>(() => new Rewiring(adapted, new RewiringOptions())).Message);
    }

    [Fact]
    public void Options_are_read_from_words()
    {
        Assert.Equal(new RewiringOptions(), RewiringOptions.Parse("default", "--rewire"));
        Assert.Equal("", new RewiringOptions().Changed);
        Assert.Equal(" (steps=20, layers=0.5)", new RewiringOptions { Steps = 20, Layers = 0.5 }.Changed);
        Assert.Equal(
            new RewiringOptions { Steps = 3, LearningRate = 0.1, Order = "most-decisive" },
            RewiringOptions.Parse("steps=3, learning_rate=0.1,order=most-decisive", "--rewire"));
        var message = Assert.Throws<FaultsException>(
            () => RewiringOptions.Parse("steps=0,rate=1,x", "--rewire")).Message;
        foreach (var part in new[] { "3 faults", "steps", "rate", "'x'", "KEY=VALUE" })
            Assert.Contains(part, message, StringComparison.Ordinal);
    }

    private static readonly int[] Text = [3, 5, 3, 5, 3, 5, 3, 5];

    private static Tensor Ids() => torch.tensor([.. Text.Select(id => (long)id)], [1, Text.Length]);
}
