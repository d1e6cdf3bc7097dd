using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Bundles;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>GOAT's first values and scale (case goat_svd_experts of second.json), and on a model.</summary>
public sealed class GoatTests : TensorTests
{
    private const double Rho = 10;

    [Theory]
    [InlineData("alpha", "alpha_over_r")]
    [InlineData("theory", "theory")]
    public void Each_expert_begins_as_the_head_of_its_own_segment(string scaling, string variant)
    {
        var golden = Golden.Case("second.json", "goat_svd_experts");
        var weight = golden.Input("W");
        var options = Options($$"""{"scaling": "{{scaling}}"}""");
        var scale = options.ScaleOf(1, golden.Parameter("lora_alpha"), 9);

        var first = WeightInitialization.OfSegments("m", weight, 3, 1, scale, options.Goat);

        Assert.Equal(golden.ExpectedNumber($"scaling_{variant}"), scale, 1e-9);
        Golden.Near(golden.Expected($"BA_{variant}"), Products(first));
        Golden.Near(golden.Expected($"A_row_norms_{variant}").reshape(3), first.Down.norm(1));
        var heads = golden.Expected("singular_values").index_select(
            0, golden.Expected("segment_indices").to(torch.int64).reshape(3));
        Golden.Near(heads / (scale * Rho), Products(first).reshape(3, -1).norm(1));
        Golden.Near(golden.Expected("W_residual_init_cof_1"), first.Rest(weight, scale));
        Golden.Near(golden.Expected("W_residual"), (first with { Up = first.Up / 3 }).Rest(weight, scale));
    }

    [Fact]
    public void The_tail_of_a_segment_holds_its_last_triplets()
    {
        var golden = Golden.Case("second.json", "goat_svd_experts");
        var weight = golden.Input("W");
        var (u, s, vh) = torch.linalg.svd(weight, fullMatrices: false);

        var first = WeightInitialization.OfSegments(
            "m", weight, 3, 1, 2, Options("""{"triplets": "tail"}""").Goat);

        foreach (var expert in Enumerable.Range(0, 3))
        {
            var at = golden.Expected("segment_indices_mini")[expert, 0].ToInt32();
            Golden.Near(
                u.narrow(1, at, 1).mm(vh.narrow(0, at, 1)) * (s[at] / (2 * Rho)), Products(first)[expert]);
        }
    }

    [Fact]
    public void Output_loss_and_gradient_are_those_of_the_code()
    {
        var golden = Golden.Case("second.json", "goat_svd_experts");
        var (weight, top) = (golden.Input("W"), (int)golden.Parameter("top_k"));
        var scale = golden.ExpectedNumber("scaling_alpha_over_r");
        var first = WeightInitialization.OfSegments("m", weight, 3, 1, scale, Options("{}").Goat);
        var router = new TopKRouter(
            new TopKRouterOptions { TopK = top }, new RouterContext("m", 9, 3, 1, 1));
        using (torch.no_grad())
            router.parameters().Single().copy_(golden.Input("router"));
        using var module = new MixtureProjection(
            new BaseLinear("m", weight.ToParameter(false)), new MixtureShape(3, 1, scale), router,
            first.Down.clone().ToParameter(), first.Up.clone().ToParameter(),
            takenOut: first with { Up = first.Up / 3 });
        var pass = ForwardPass.ForTraining();

        var output = module.Forward(golden.Input("x"), pass);
        var record = pass.Records<RoutingRecord>()[0];
        var loss = SwitchBalanceLoss.Of(record.Decision.Probabilities!, record.Decision.Selected, null);
        ((output * golden.Input("cotangent")).sum() + (loss * golden.Parameter("aux_loss_coeff"))).backward();

        Golden.Near(golden.Expected("probs"), record.Decision.Probabilities!);
        golden.ChoosesAlone("indices", record.Decision.Selected);
        Golden.Near(golden.Expected("weights"), record.Decision.Gates);
        Golden.Near(golden.Expected("output"), output);
        Assert.Equal(golden.ExpectedNumber("layer_loss"), loss.ToDouble(), 1e-5);
        Golden.Near(golden.Expected("grad_router"), router.parameters().Single().grad!);
    }

    [Fact]
    public void Experts_of_equal_weight_are_the_base_which_is_not_touched()
    {
        var model = Tiny.New();
        var before = TinyModel.Logits(model);
        var weights = model.StateDict().Select(pair => pair.Tensor.clone()).ToList();

        var adapted = AdapterAttachment.Attach(model, Options("{}", """{"kind": "soft"}"""), seed: 1);
        using (torch.no_grad())
        {
            foreach (var module in adapted.Modules)
                module.Router!.parameters().Single().zero_();
        }

        Golden.Near(before, TinyModel.Logits(model), 1e-4);
        Assert.All(model.StateDict().Zip(weights), pair => Assert.True(pair.First.Tensor.SameAs(pair.Second)));
        Assert.All(adapted.Modules, module =>
            Assert.Equal(Math.Sqrt(3 * module.InFeatures / 2.0), module.Shape.Scale, 1e-12));
    }

    [Theory]
    [InlineData("goat", """{"kind": "top-k"}""")]
    [InlineData("goat by layer", """{"kind": "top-k", "top_k": 1}""")]
    [InlineData("comol", """{"kind": "comol"}""")]
    [InlineData("comol by layer", """{"kind": "comol", "router_input": "full", "top_k": 1}""")]
    public void A_bundle_and_an_exported_mixture_compute_what_was_trained(string which, string router)
    {
        var isGoat = which.StartsWith("goat", StringComparison.Ordinal);
        var counts = which.EndsWith("layer", StringComparison.Ordinal) ? "[1, 3]" : "3";
        var options = isGoat ? Options("{}", router, counts) : Options(null, router, counts);
        var adapted = AdapterAttachment.Attach(Tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        var trained = TinyModel.Logits(adapted.Model);
        BundleWriter.Write(Tiny.In("bundle"), TinyBundle.Contents(adapted));
        MixtureDirectory.Write(Tiny.In("mixture"), TinyBundle.Contents(adapted), CardFacts.None);
        MixtureDirectory.RequireRouters(Tiny.In("mixture"), adapted);

        foreach (var folder in new[] { "bundle", "mixture" })
        {
            var again = Bundle.Open(Tiny.In(folder)).Attach(Tiny.New());
            Assert.True(trained.SameAs(TinyModel.Logits(again.Model)), folder);
            Assert.Equal(
                adapted.State.Select(pair => pair.Name), again.State.Select(pair => pair.Name));
            Assert.All(
                adapted.State.Zip(again.State), pair => Assert.True(pair.First.Tensor.SameAs(pair.Second.Tensor)));
        }

        // Each expert alone is a LoRA of PEFT's on the base as it is.
        var probe = new AdapterProbe(adapted);
        foreach (var part in MixturePart.Of(adapted))
        {
            Golden.Near(
                probe.LogitsOf(TinyModel.Ids.narrow(0, 0, 1), part),
                IndependentPeft.Logits(Tiny.New(), Tiny.In("mixture", part.Name)).narrow(0, 0, 1), 1e-4);
        }

        var summary = AdapterSummary.Read(Tiny.In("bundle"), null);
        Assert.Equal(
            adapted.Modules.Select(module => (module.Path, module.Shape.Experts)).Order(),
            summary.Modules.Select(module => (module.Path, module.Experts)).Order());
        Assert.Equal(3, summary.Modules.Max(module => module.AddedNorms.Count));
    }

    [Theory]
    [InlineData("goat")]
    [InlineData("comol")]
    public void Means_of_the_gates_collapse_and_merge_alike(string which)
    {
        var options = which == "goat" ? Options("{}") : Options(null, """{"kind": "comol"}""");
        var adapted = AdapterAttachment.Attach(Tiny.New(), options, seed: 1);
        AttachmentTests.FillUp(adapted);
        var gates = adapted.Modules.ToDictionary(
            module => module.Path, _ => torch.tensor(new[] { 0.5f, 0.3f, 0.2f }), StringComparer.Ordinal);
        var collapsed = GateCollapse.Collapse(adapted, "base", gates, null, []);

        foreach (var (module, one) in adapted.Modules.Zip(collapsed.Modules))
            Golden.Near(
                module.Merge(module.Wrapped.Weight, gates[module.Path]),
                module.Wrapped.Weight + one.Up.mm(one.Down), 1e-5);
        var probe = new AdapterProbe(adapted);
        var ids = TinyModel.Ids.narrow(0, 0, 1);
        Golden.Near(
            probe.Logits(ids, call => call.WithAdded(gates[call.Module.Path])), probe.LogitsOf(ids, collapsed), 1e-4);
    }

    [Fact]
    public void A_checkpoint_brings_its_own_first_values()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), Options("{}"), seed: 1);
        AttachmentTests.FillUp(adapted);
        BundleWriter.Write(Tiny.In("bundle"), TinyBundle.Contents(adapted));
        var other = AdapterAttachment.Attach(Tiny.New(), Options("""{"rho": 3, "triplets": "tail"}"""), seed: 2);

        var weights = OwnBundle.Open(Tiny.In("bundle")).Weights;
        BundleTensors.Load(other, weights.Path, weights.Entries);

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(other.Model)));
    }

    [Fact]
    public void Experts_are_not_filled_from_it_nor_it_from_them()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), Options("{}"), seed: 1);
        BundleWriter.Write(Tiny.In("goat"), TinyBundle.Contents(adapted));
        var plain = AdapterAttachment.Attach(Tiny.New(), Options(null), seed: 1);

        Assert.Equal(
            $"{Tiny.In("goat")}: trained on what goat left of the base; expected experts of the base as it is. Leave "
            + "adapter.experts.from out, or name adapters without that.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(plain, [Tiny.In("goat")])).Message);
        Assert.Contains(
            "an init_lora_weights that changes the base; expected an adapter that begins anew.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(adapted, [Tiny.In("goat")])).Message,
            StringComparison.Ordinal);
    }

    private static AdapterOptions Options(
        string? goat, string router = """{"kind": "top-k"}""", string count = "3") => AdapterOptionsTests.Read(
        $$"""
        {"method": "mixture", "r": 2, "experts": {"count": {{count}}}, "router": {{router}}
         {{(goat is null ? "" : $$""", "init_lora_weights": "goat", "goat": {{goat}}""")}}}
        """);

    // [E, O, D].
    private static Tensor Products(TakenOut first) => torch.stack(
        Enumerable.Range(0, 3).Select(expert => first.Up.narrow(1, expert, 1).mm(first.Down.narrow(0, expert, 1))), 0);
}
