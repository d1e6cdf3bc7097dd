using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>Experts that are whole feed-forwards (MixLoRA).</summary>
public sealed class WholeFeedForwardTests : TensorTests
{
    [Fact]
    public void The_output_is_the_weighted_sum_of_feed_forwards_with_their_own_LoRA()
    {
        var golden = Golden.Case("second.json", "mixlora_ffn_experts");
        var block = new Block(
            golden.Input, new MixLoraRouterOptions { TopK = (int)golden.Parameter("k") },
            golden.Parameter("scaling"));
        var pass = ForwardPass.ForTraining();

        var output = block.Forward(golden.Input("x"), pass);
        (output * golden.Input("cotangent")).sum().backward();

        var decision = pass.Records<RoutingRecord>().Single().Decision;
        Golden.Near(golden.Expected("probs"), decision.Probabilities!);
        Golden.Near(golden.Expected("weights"), decision.Gates);
        Golden.Near(golden.Expected("output"), output);
        Golden.Near(golden.Expected("grad_router"), block.Router.parameters().Single().grad!);
        Golden.Near(golden.Expected("grad_B_gate"), block.Gate.Up.grad!.view(5, 3, 2).permute(1, 0, 2));
        Golden.Near(golden.Expected("grad_A_down"), block.Down.Down.grad!.view(3, 2, 5));
        golden.ChoosesAlone("indices", decision.Selected);
        Golden.Near(golden.Expected("common_gate"), block.Gate.Wrapped.Forward(golden.Input("x"), pass));
        Golden.Near(golden.Expected("common_up"), block.Up.Wrapped.Forward(golden.Input("x"), pass));
        var alone = new Block(golden.Input, new MixLoraRouterOptions { TopK = 1 }, golden.Parameter("scaling"));
        foreach (var (expert, expected) in golden.Expected("expert_outputs").unbind(1).Index())
        {
            ((IRewirable)alone.Router).LogitOffset = torch.zeros([3]).index_fill_(
                0, torch.tensor(new[] { (long)expert }), 1e6);
            Golden.Near(expected, alone.Forward(golden.Input("x"), ForwardPass.ForInference()));
        }
    }

    [Fact]
    public void Every_gradient_is_that_of_the_sum_of_merged_feed_forwards()
    {
        var golden = Golden.Case("second.json", "mixlora_ffn_experts");
        var bias = torch.tensor(new[] { 0.3f, -0.2f, 0.1f, 0.5f });
        var block = new Block(golden.Input, new MixLoraDynamicRouterOptions { TopP = 0.6 }, 2, bias);
        var x = golden.Input("x").requires_grad_();
        var pass = ForwardPass.ForTraining();

        var output = block.Forward(x.unsqueeze(0), pass);
        (output * golden.Input("cotangent")).sum().backward();
        var found = block.Parameters.Append(x).Select(parameter => parameter.grad!.clone()).ToList();
        foreach (var parameter in block.Parameters.Append(x))
            parameter.grad = null;
        var decision = block.Router.Route(x, ForwardPass.ForTraining());
        var expected = torch.zeros([3, 4]);
        for (var expert = 0; expert < 3; expert++)
        {
            Tensor Merged(MixtureProjection part) =>
                part.Wrapped.Weight + (part.UpOf(expert).mm(part.DownOf(expert)) * 2);
            var inner = torch.nn.functional.silu(x.mm(Merged(block.Gate).t())) * x.mm(Merged(block.Up).t());
            expected += decision.Gates.select(1, expert).unsqueeze(1) * (inner.mm(Merged(block.Down).t()) + bias);
        }

        (expected * golden.Input("cotangent")).sum().backward();
        Assert.Equal([1, 3, 4], output.shape);
        Golden.Near(expected, output.squeeze(0));
        Assert.NotEqual(3, decision.Selected.sum().ToInt32()); // tokens of one expert and of more
        Assert.All(
            block.Parameters.Append(x).Zip(found), pair => Golden.Near(pair.First.grad!, pair.Second, 2e-5));
    }

    [Theory]
    [InlineData("mixlora")]
    [InlineData("mixlora-dynamic")]
    [InlineData("mixlora-switch")]
    public void A_fresh_adapter_gives_what_its_base_gives_where_gates_sum_to_1(string kind)
    {
        var model = Tiny.New();
        var plain = TinyModel.Logits(model);

        AdapterAttachment.Attach(model, Read($$"""{"kind": "{{kind}}", "normalize": true}"""), seed: 1);

        Golden.Near(plain, TinyModel.Logits(model));
    }

    [Fact]
    public void A_feed_forward_has_one_router_and_other_projections_one_LoRA()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), Read("""{"kind": "mixlora"}"""), seed: 1);
        var pass = ForwardPass.ForInference();

        adapted.Model.Forward(TinyModel.Ids, pass);

        Assert.Equal(
            ["model.layers.0.mlp.gate_proj.router.weight", "model.layers.1.mlp.gate_proj.router.weight"],
            adapted.Parameters.Select(pair => pair.Name).Where(
                name => name.Contains("router", StringComparison.Ordinal)));
        Assert.Equal(
            ["model.layers.0.mlp.gate_proj", "model.layers.1.mlp.gate_proj"],
            pass.Records<RoutingRecord>().Select(record => record.Module));
        Assert.All(adapted.Modules, module => Assert.Equal(
            module.ShortName switch
            {
                "gate_proj" or "up_proj" => (4, ExpertPart.Entry, true),
                "down_proj" => (4, ExpertPart.Exit, true),
                _ => (1, ExpertPart.Projection, false),
            },
            (module.Shape.Experts, module.Shape.Part, module.Router is not null)));
    }

    [Theory]
    [InlineData(0, "output_soft_all_times_E")]
    [InlineData(2, "output_topk_renormalised_times_E")]
    public void Slices_of_a_feed_forward_add_up_to_it(int topK, string variant)
    {
        var golden = Golden.Case("second.json", "dense_ffn_split");
        var order = golden.Input("permutation").to(torch.int64);
        var options = new FfnSplitRouterOptions { Count = (int)golden.Parameter("E"), TopK = topK };
        var router = new FfnSplitRouter(options, new RouterContext("gate", 3, 3, 1, 1));
        Set(router, golden.Input("router"));
        SharedRouter Following(string path) => new(router, new RouterContext(path, 3, 3, 1, 1));
        MixtureProjection Part(string name, Tensor weight, ExpertPart part, Router own) => new(
            new BaseLinear(name, weight.contiguous().ToParameter(false)), new MixtureShape(1, 1, 1) { Part = part },
            own, torch.ones([1, weight.shape[1]]).ToParameter());
        Assert.Equal(
            golden.Expected("neuron_groups").reshape(-1).data<float>().ToArray(),
            golden.Input("permutation").data<float>().ToArray());
        var gate = Part("gate", golden.Input("W_gate").index_select(0, order), ExpertPart.Entry, router);
        var up = Part("up", golden.Input("W_up").index_select(0, order), ExpertPart.Entry, Following("up"));
        var down = Part("down", golden.Input("W_down").index_select(1, order), ExpertPart.Exit, Following("down"));
        Tensor Output()
        {
            var pass = ForwardPass.ForTraining();
            var x = golden.Input("x");
            return down.Forward(torch.nn.functional.silu(gate.Forward(x, pass)) * up.Forward(x, pass), pass);
        }

        var output = Output();
        (output * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected(variant), output);
        if (topK > 0)
            Golden.Near(golden.Expected("grad_router_topk"), router.parameters().Single().grad!);
        Set(router, torch.zeros([3, 3]));
        if (topK == 0)
            Golden.Near(golden.Expected("dense"), Output());
    }

    [Theory]
    [InlineData(
        """{"kind": "ffn-split", "count": 5}""",
        "model.layers.0.mlp: 24 inner numbers; expected a multiple of adapter.router.count = 5.")]
    public void Slices_divide_the_inner_width(string router, string message)
    {
        var error = Assert.Throws<UserException>(
            () => AdapterAttachment.Attach(Tiny.New(), Read(router, count: 1), seed: 1));

        Assert.Equal(message, error.Message);
    }

    [Theory]
    [InlineData("mixlora")]
    [InlineData("mixlora-dynamic")]
    [InlineData("mixlora-switch")]
    public void Training_reaches_every_parameter(string kind)
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), Read($$"""{"kind": "{{kind}}"}""", count: 2), seed: 1);
        AttachmentTests.FillUp(adapted);
        using (torch.no_grad())
        {
            foreach (var module in adapted.Modules.Where(module => module.Router is MixLoraRouter))
                module.Router!.parameters().Single().mul_(50); // each expert has tokens
        }

        adapted.Model.Forward(TinyModel.Ids, ForwardPass.ForTraining(Seeds.GeneratorFor(1, "step"))).square().mean()
            .backward();

        Assert.All(adapted.Parameters, pair => Assert.True(pair.Parameter.grad!.abs().sum().ToDouble() > 0, pair.Name));
    }

    [Fact]
    public void Jitter_changes_what_the_router_and_both_first_projections_see()
    {
        var golden = Golden.Case("second.json", "mixlora_ffn_experts");
        var block = new Block(golden.Input, new MixLoraRouterOptions { TopK = 1, Jitter = 0.5 }, 0);
        var x = golden.Input("x");
        var pass = ForwardPass.ForTraining(Seeds.GeneratorFor(1, "jitter"));

        var (gate, up) = (block.Gate.Forward(x, pass), block.Up.Forward(x, pass));

        var decision = pass.Records<RoutingRecord>().Single().Decision;
        var factor = decision.InputFactor!;
        Assert.True(factor.ge(0.5).logical_and(factor.le(1.5)).all().item<bool>());
        Assert.True(factor.std().ToDouble() > 0.1);
        Golden.Near((x * factor).mm(golden.Input("router").t()), decision.Logits!);
        var tokens = decision.Selected.t().nonzero().select(1, 1);
        Golden.Near((x * factor).mm(golden.Input("W_gate").t()).index_select(0, tokens), gate);
        Golden.Near((x * factor).mm(golden.Input("W_up").t()).index_select(0, tokens), up);
        Assert.Null(block.Router.Route(x, ForwardPass.ForInference()).InputFactor);
        Assert.Null(block.Router.Route(x, ForwardPass.ForFitting()).InputFactor);
    }

    [Fact]
    public void Beyond_its_capacity_an_expert_takes_no_token_of_a_row()
    {
        var router = new MixLoraRouter(
            new MixLoraSwitchRouterOptions { CapacityFactor = 1, Jitter = 0 }, new RouterContext("m", 2, 4, 2, 1));
        Set(router, torch.tensor(new[] { 1f, 0, 0, 1, 0, 0, 0, 0 }).reshape(4, 2));
        // A row of tokens that want expert 0 and one of both kinds; the first of each is padding.
        var x = torch.tensor(new[] { 1f, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0 }).reshape(2, 4, 2);
        var mask = torch.tensor(new[] { false, true, true, true, false, true, true, true }).reshape(2, 4);

        var trained = router.Route(x, ForwardPass.ForTraining(tokenMask: mask));
        var measured = router.Route(x, ForwardPass.ForInference(tokenMask: mask));

        // Room for one of four tokens.
        Assert.Equal(
            [true, true, false, false, true, true, true, false], trained.Selected.any(-1).data<bool>().ToArray());
        Assert.True(trained.Gates.gt(0).eq(trained.Selected).all().item<bool>());
        Assert.True(measured.Selected.any(-1).all().item<bool>());
    }

    [Fact]
    public void The_z_loss_is_the_mean_square_of_the_log_of_sums()
    {
        var logits = torch.randn([5, 3], generator: Seeds.GeneratorFor(1, "z"));
        var mask = torch.tensor(new[] { true, true, false, true, true });
        var expected = logits.exp().sum(-1).log().pow(2);

        Assert.Equal(expected.mean().ToDouble(), MixLora.ZLoss(logits, null).ToDouble(), 1e-5);
        Assert.Equal(
            (expected.sum() - expected[2]).ToDouble() / 4, MixLora.ZLoss(logits, mask).ToDouble(), 1e-5);
        Differences.Agree(z => MixLora.ZLoss(z, mask), logits);
        Assert.Equal(
            ["z", "balance"], new MixLoraSwitchRouterOptions().Losses().Select(term => term.Name));
        Assert.Equal(["balance"], new MixLoraSwitchRouterOptions { ZLossCoefficient = 0 }.Losses().Select(
            term => term.Name));
    }

    [Theory]
    [InlineData(
        """["q_proj", "up_proj", "down_proj"]""",
        "model.layers.0.mlp: up_proj and down_proj without gate_proj; expected all its projections or none with "
            + "router.kind: mixlora, whose experts are whole feed-forwards. Widen adapter.target_modules, or leave the "
            + "feed-forward out.")]
    [InlineData(
        """["q_proj", "o_proj"]""",
        "adapter.target_modules: [q_proj, o_proj] chooses no feed-forward; expected some with router.kind: mixlora, "
            + "whose experts are whole feed-forwards. Add gate_proj, up_proj and down_proj, or what the model calls "
            + "them.")]
    public void A_feed_forward_is_an_expert_as_a_whole(string targets, string message)
    {
        var options = AdapterOptionsTests.Read(
            $$$"""
            {"method": "mixture", "target_modules": {{{targets}}}, "experts": {"count": 3},
             "router": {"kind": "mixlora"}}
            """);

        var error = Assert.Throws<UserException>(() => AdapterAttachment.Attach(Tiny.New(), options, seed: 1));

        Assert.Equal(message, error.Message);
    }

    [Fact]
    public void One_expert_is_plain_LoRA_everywhere()
    {
        var (model, plain) = (Tiny.New(), Tiny.New());
        var adapted = AdapterAttachment.Attach(model, Read("""{"kind": "mixlora"}""", count: 1), seed: 1);
        var lora = AdapterAttachment.Attach(plain, new AdapterOptions { R = 2, LoraAlpha = 4 }, seed: 1);
        AttachmentTests.FillUp(adapted);
        AttachmentTests.FillUp(lora);

        Golden.Near(TinyModel.Logits(plain), TinyModel.Logits(model));
        Assert.Equal(2, adapted.Parameters.Count - lora.Parameters.Count); // the routers
    }

    [Fact]
    public void Layers_with_one_expert_may_have_any_projections()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(
            """
            {"method": "mixture", "target_modules": "model\\.layers\\.(0\\.mlp\\.up_proj|1\\..*)",
             "experts": {"count": 3, "layers": [1]}, "router": {"kind": "mixlora"}}
            """), seed: 1);

        Assert.Equal((1, ExpertPart.Projection), (adapted.Modules[0].Shape.Experts, adapted.Modules[0].Shape.Part));
        Assert.Equal(3, adapted.Modules[^1].Shape.Experts);
    }

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Every_family_of_dense_feed_forwards_has_them(string name)
    {
        using var model = ModelLoader.Load(VectorModels.Folder(name));
        var plain = TinyModel.Logits(model);
        if (model.Config is DecoderConfig { Experts: not null })
        {
            Assert.Contains("is part of an expert of the base", Assert.Throws<UserException>(() => Attach()).Message,
                StringComparison.Ordinal);
            return;
        }

        var adapted = Attach();

        Golden.Near(plain, TinyModel.Logits(model), 1e-4);
        AttachmentTests.FillUp(adapted);
        var pass = ForwardPass.ForTraining();
        model.Forward(TinyModel.Ids, pass).square().mean().backward();
        Assert.Equal(model.Config.LayerCount, pass.Records<RoutingRecord>().Count);
        Assert.All(
            adapted.Modules, module => Assert.True(module.Up.grad!.abs().sum().ToDouble() > 0, module.Path));

        AdaptedModel Attach() => AdapterAttachment.Attach(model, Read("""{"kind": "mixlora"}""", count: 3), seed: 1);
    }

    [Fact]
    public void Directories_become_experts_where_every_projection_has_some()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), Read("""{"kind": "mixlora"}""", count: 2), seed: 1);

        var error = Assert.Throws<UserException>(() => ExpertLoader.Load(adapted, ["a", "b"]));

        Assert.Equal(
            "adapter.experts.from: 2 directories, while model.layers.0.self_attn.q_proj has one LoRA for all; expected "
                + "2 experts in every adapted projection. Leave it out of adapter.target_modules.", error.Message);
    }

    private static AdapterOptions Read(string router, int count = 4) => AdapterOptionsTests.Read(
        $$"""{"method": "mixture", "r": 2, "experts": {"count": {{count}}}, "router": {{router}}}""");

    private static void Set(Router router, Tensor value)
    {
        using var off = torch.no_grad();
        router.parameters().Single().copy_(value);
    }

    // The feed-forward of a golden case: three experts of rank 2 on 4 inputs, 5 inner ones.
    private sealed class Block
    {
        public Block(Func<string, Tensor> input, RouterOptions options, double scale, Tensor? bias = null)
        {
            Router = RouterCatalog.Create(options, new RouterContext("gate", 4, 3, 2, 1));
            Set(Router, input("router"));
            Gate = Part("gate", ExpertPart.Entry, Router, null);
            Up = Part("up", ExpertPart.Entry, Following("up"), null);
            Down = Part("down", ExpertPart.Exit, Following("down"), bias);

            SharedRouter Following(string path) => new(Router, new RouterContext(path, 4, 3, 2, 1));

            MixtureProjection Part(string name, ExpertPart part, Router router, Tensor? own)
            {
                var up = input($"B_{name}");                                                   // [E, O, R]
                var down = input($"A_{name}");                                                 // [E, R, D]
                return new(
                    new BaseLinear(name, input($"W_{name}").ToParameter(false), own?.ToParameter(false)),
                    new MixtureShape(3, 2, scale) { Part = part }, router,
                    down.reshape(-1, down.shape[2]).ToParameter(),
                    up.permute(1, 0, 2).reshape(up.shape[1], -1).ToParameter());
            }
        }

        public Router Router { get; }

        public MixtureProjection Gate { get; }

        public MixtureProjection Up { get; }

        public MixtureProjection Down { get; }

        public IEnumerable<Tensor> Parameters => new[] { Gate, Up, Down }.SelectMany(
            part => part.AdapterParameters().Select(pair => (Tensor)pair.Parameter));

        public Tensor Forward(Tensor x, ForwardPass pass) => Down.Forward(
            torch.nn.functional.silu(Gate.Forward(x, pass)) * Up.Forward(x, pass), pass);
    }
}
