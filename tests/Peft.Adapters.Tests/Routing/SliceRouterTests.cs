using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Slices of a frozen feed-forward that are chosen by labels which they give themselves (FactorLLM).</summary>
public sealed class SliceRouterTests : TensorTests
{
    [Fact]
    public void Outputs_labels_losses_and_gradients_are_those_of_the_code()
    {
        var golden = Golden.Case("second.json", "factorllm_router");
        var (slices, kept) = ((int)golden.Parameter("E"), (int)golden.Parameter("k"));
        var options = Read($$"""{"kind": "factorllm", "count": {{slices}}}""");
        Assert.Equal(kept, options.TopK);
        var split = new Split(
            golden.Input, options, name => golden.Input(name), golden.Input("router_W"), golden.Input("router_b"));
        var x = golden.Input("x");
        var pass = ForwardPass.ForTraining();

        var output = split.Forward(x, pass);
        var record = pass.Records<RoutingRecord>().Single();
        var decision = Assert.IsType<SliceDecision>(record.Decision);
        var losses = options.Losses();
        losses.Select(term => term.Of([record], new RoutedTokens(null)) * term.Coefficient)
            .Aggregate((sum, one) => sum + one).backward();

        Golden.Near(golden.Expected("output"), output);
        Golden.Near(golden.Expected("gate"), decision.Probabilities!);
        Golden.Near(golden.Expected("mse"), SliceLabels.Errors(split.Inner(x), split.Down, slices, kept));
        Golden.Near(golden.Expected("label"), decision.Labels!.to(torch.float32));
        Assert.Equal(
            [("route", golden.Parameter("route_weight")), ("kept_probability", golden.Parameter("balance_weight"))],
            losses.Select(term => (term.Name, term.Coefficient)));
        Golden.Near(golden.Expected("route_loss"), losses[0].Of([record], new RoutedTokens(null)));
        Golden.Near(golden.Expected("balance_loss"), losses[1].Of([record], new RoutedTokens(null)));
        Golden.Near(golden.Expected("grad_router_W"), split.Router.get_parameter("weight")!.grad!);
        Golden.Near(golden.Expected("grad_router_b"), split.Router.get_parameter("bias")!.grad!);
    }

    [Fact]
    public void Kept_slices_weigh_E_over_k_unrounded()
    {
        var golden = Golden.Case("second.json", "dense_ffn_split");
        var order = golden.Input("permutation").to(torch.int64);
        var options = new FactorLlmRouterOptions
        {
            Count = (int)golden.Parameter("E"), TopK = (int)golden.Parameter("k"),
        };
        var split = new Split(
            golden.Input, options, name => golden.Input(name).index_select(name == "W_down" ? 1 : 0, order),
            golden.Input("router"), torch.zeros([3]));

        Golden.Near(
            golden.Expected("output_mask_times_E_over_k"),
            split.Forward(golden.Input("x"), ForwardPass.ForInference()));
    }

    [Fact]
    public void The_task_does_not_reach_the_router_and_its_losses_reach_nothing_else()
    {
        var adapted = Attach("""{"kind": "factorllm"}""");
        AttachmentTests.FillUp(adapted);
        var mask = torch.ones([2, 5], torch.@bool);
        var isOfRouter = adapted.Parameters.ToLookup(
            pair => pair.Name.Contains(".router.", StringComparison.Ordinal), pair => pair.Parameter);
        var pass = ForwardPass.ForTraining();

        adapted.Model.Forward(TinyModel.Ids, pass).square().mean().backward();
        Assert.All(isOfRouter[true], parameter => Assert.Null(parameter.grad));
        Assert.All(isOfRouter[false], parameter => Assert.True(parameter.grad!.abs().sum().ToDouble() > 0));
        foreach (var parameter in isOfRouter[false])
            parameter.grad = null;
        adapted.AuxiliaryLoss(pass, mask)!.backward();

        Assert.Equal(4, isOfRouter[true].Count()); // weight and bias of two layers
        Assert.All(isOfRouter[true], parameter => Assert.True(parameter.grad!.abs().sum().ToDouble() > 0));
        Assert.All(isOfRouter[false], parameter => Assert.Null(parameter.grad));
    }

    [Fact]
    public void Labels_are_made_of_the_base_as_it_came_and_in_training_alone()
    {
        var (fresh, filled) = (Attach("""{"kind": "factorllm"}"""), Attach("""{"kind": "factorllm"}"""));
        AttachmentTests.FillUp(filled);
        Tensor LabelsOf(AdaptedModel adapted, ForwardPass pass)
        {
            var entry = adapted.Modules.First(module => module.Path == "model.layers.0.mlp.gate_proj");
            var x = torch.randn([2, 5, 16], generator: Seeds.GeneratorFor(1, "x"));
            return ((SliceDecision)entry.Router!.Route(x, pass)).Labels!;
        }

        var labels = LabelsOf(fresh, ForwardPass.ForTraining());

        Assert.Equal([10, 4], labels.shape);
        Assert.True(labels.sum(1L).eq(2).all().item<bool>());
        Assert.True(labels.SameAs(LabelsOf(filled, ForwardPass.ForTraining())));
        Assert.Null(LabelsOf(fresh, ForwardPass.ForInference()));
    }

    [Fact]
    public void Padding_counts_in_no_loss_and_layers_are_added_up()
    {
        var terms = new FactorLlmRouterOptions { Count = 4, TopK = 2 }.Losses();
        var random = Seeds.GeneratorFor(2, "tokens");
        RoutingRecord Record(Tensor logits)
        {
            var probabilities = logits.softmax(-1);
            var best = Selection.TopMask(probabilities, 2);
            return new("m", new SliceDecision(best.to(torch.float32) * 2, best, probabilities, logits, best));
        }

        var logits = torch.randn([6, 4], generator: random);
        var (whole, real) = (Record(logits), Record(logits.narrow(0, 0, 4)));
        var mask = torch.arange(6, torch.int64).lt(4);

        foreach (var term in terms)
        {
            var alone = term.Of([real], new RoutedTokens(null));
            Golden.Near(alone, term.Of([whole], new RoutedTokens(mask)), 1e-6);
            Golden.Near(alone * 2, term.Of([real, real], new RoutedTokens(null)), 1e-6);
        }

        Differences.Agree(z => SliceLosses.Route(z.softmax(-1), whole.Decision.Selected, mask), logits);
        Differences.Agree(z => SliceLosses.Kept(z.softmax(-1), whole.Decision.Selected, mask), logits);
    }

    [Fact]
    public void A_bundle_gives_the_same_logits()
    {
        var adapted = Attach("""{"kind": "factorllm", "count": 6, "top_k": 1}""");
        AttachmentTests.FillUp(adapted);
        var expected = TinyModel.Logits(adapted.Model);
        BundleWriter.Write(
            Tiny.In("bundle"), new BundleContents { Adapted = adapted, Base = new BaseIdentity("tiny", "0") });

        var opened = Bundle.Open(Tiny.In("bundle")).Attach(Tiny.New());

        Assert.True(expected.SameAs(TinyModel.Logits(opened.Model)));
    }

    [Theory]
    [InlineData("""{"kind": "factorllm", "top_k": 4}""",
        "line 1  router.top_k: 4; expected below the 4 slices that count says. "
        + "Where a token goes through all slices, there is nothing to choose.")]
    [InlineData("""{"kind": "factorllm", "route_coefficient": 0}""",
        "line 1  router.route_coefficient: 0; expected a number above 0.")]
    [InlineData("""{"kind": "factorllm", "balance": {"kind": "loss-free"}}""",
        "line 1  router.balance.kind: 'loss-free'; expected none, switch or localized. It moves the choice of ")]
    public void Settings_that_contradict_each_other_are_refused(string router, string message)
    {
        var faults = new Faults();
        RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse(router, "router"), "router", faults), new RouterSize(1, 2));

        Assert.StartsWith(message, faults.Items.Single().ToString(), StringComparison.Ordinal);
    }

    private static FactorLlmRouterOptions Read(string router)
    {
        var faults = new Faults();
        var options = (FactorLlmRouterOptions)RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse(router, "router"), "router", faults), new RouterSize(1, 2))!;
        Assert.False(faults.Any);
        return options;
    }

    private AdaptedModel Attach(string router) => AdapterAttachment.Attach(
        Tiny.New(), AdapterOptionsTests.Read($$"""{"method": "mixture", "r": 2, "router": {{router}}}"""), seed: 1);

    // The feed-forward of a golden case with a LoRA that does nothing.
    private sealed class Split
    {
        private readonly MixtureProjection _gate;
        private readonly MixtureProjection _up;
        private readonly MixtureProjection _down;

        public Split(
            Func<string, Tensor> input, FactorLlmRouterOptions options, Func<string, Tensor> weightOf, Tensor router,
            Tensor bias)
        {
            var (width, count) = (input("x").shape[1], options.Count);
            Down = weightOf("W_down").contiguous();
            var (gate, up) = (weightOf("W_gate").contiguous(), weightOf("W_up").contiguous());
            Inner = x => torch.nn.functional.silu(x.mm(gate.t())) * x.mm(up.t());
            Router = new FactorLlmRouter(options, new RouterContext("gate", width, count, 1, 1)
            {
                FeedForward = new FrozenFeedForward(Inner, Down),
            });
            using (torch.no_grad())
            {
                Router.get_parameter("weight")!.copy_(router);
                Router.get_parameter("bias")!.copy_(bias);
            }

            _gate = Part("gate", gate, ExpertPart.Entry, Router);
            _up = Part("up", up, ExpertPart.Entry, Following("up"));
            _down = Part("down", Down, ExpertPart.Exit, Following("down"));

            SharedRouter Following(string path) => new(Router, new RouterContext(path, width, count, 1, 1));

            MixtureProjection Part(string name, Tensor weight, ExpertPart part, Router own) => new(
                new BaseLinear(name, weight.ToParameter(false)), new MixtureShape(1, 1, 1) { Part = part }, own,
                torch.ones([1, weight.shape[1]]).ToParameter());
        }

        public FactorLlmRouter Router { get; }

        public Func<Tensor, Tensor> Inner { get; }

        public Tensor Down { get; }

        public Tensor Forward(Tensor x, ForwardPass pass) => _down.Forward(
            torch.nn.functional.silu(_gate.Forward(x, pass)) * _up.Forward(x, pass), pass);
    }
}
