using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Tests.Bundles;
using Peft.Formats;
using Peft.Models;
using Peft.Torch.Fused;
using Peft.Torch.Optim;

namespace Peft.Adapters.Tests.Lora;

/// <summary>DoRA, PiSSA and OLoRA against the numbers of PEFT (cases dora and init_variants of second.json), and on a
/// model.</summary>
public sealed class LoraVariantTests : IDisposable
{
    private static readonly string[] Inits = ["pissa", "pissa_niter_8", "olora"];

    private readonly TinyModel _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void Dora_and_its_gradients_are_those_of_peft()
    {
        using var scope = torch.NewDisposeScope();
        var golden = Golden.Case("second.json", "dora");
        Tensor Wide(string name) => golden.Input(name).to(torch.float64);
        Tensor Leaf(string name) => Wide(name).requires_grad_();
        var (weight, a, b, magnitude) = (Wide("W"), Leaf("A"), Leaf("B"), Leaf("magnitude"));
        var scale = golden.Parameter("scaling");

        var squares = Fused.row_squares(weight);
        var norms = Fused.row_norms(weight, squares, a, b, scale);
        var y = Fused.dora_linear(Wide("x"), weight, Wide("bias"), a, b, magnitude, norms, scale);
        (y * Wide("cotangent")).sum().backward();

        Golden.Near(golden.Expected("initial_magnitude_for_zero_B"), squares.sqrt());
        Golden.Near(golden.Expected("weight_norm"), norms);
        Golden.Near(golden.Expected("output"), y);
        Golden.Near(golden.Expected("grad_A"), a.grad!);
        Golden.Near(golden.Expected("grad_B"), b.grad!);
        Golden.Near(golden.Expected("grad_magnitude"), magnitude.grad!);
        // What a norm with a gradient would have given is told apart.
        Assert.True((golden.Expected("grad_A_norm_attached") - a.grad!).abs().max().ToDouble() > 1e-3);
        Assert.True((golden.Expected("grad_B_norm_attached") - b.grad!).abs().max().ToDouble() > 1e-3);
    }

    [Fact]
    public void The_module_merges_as_peft_does()
    {
        using var scope = torch.NewDisposeScope();
        var golden = Golden.Case("second.json", "dora");
        var layer = new BaseLinear("m", golden.Input("W").ToParameter(), golden.Input("bias").ToParameter());
        using var module = new MixtureProjection(
            layer, new MixtureShape(1, 2, golden.Parameter("scaling")), null, golden.Input("A").ToParameter(),
            golden.Input("B").ToParameter(), magnitude: golden.Input("magnitude").ToParameter());

        Golden.Near(golden.Expected("merged_weight"), module.Merge(layer.Weight, torch.ones([1])));
        Golden.Near(golden.Expected("output"), module.Forward(golden.Input("x"), ForwardPass.ForInference()));
        using (torch.no_grad())
            module.Up.mul_(0.5); // the norms follow
        var merged = module.Merge(layer.Weight, torch.ones([1]));
        Golden.Near(
            torch.nn.functional.linear(golden.Input("x"), merged, layer.Bias),
            module.Forward(golden.Input("x"), ForwardPass.ForInference()));
    }

    [Theory]
    [InlineData("adamw")]
    [InlineData("sgd")]
    public void After_an_optimizer_step_the_norms_are_new(string optim)
    {
        using var scope = torch.NewDisposeScope();
        var golden = Golden.Case("second.json", "dora");
        var (x, layer) = (golden.Input("x"), new BaseLinear("m", golden.Input("W").ToParameter()));
        using var module = new MixtureProjection(
            layer, new MixtureShape(1, 2, 2), null, golden.Input("A").ToParameter(), golden.Input("B").ToParameter(),
            magnitude: golden.Input("magnitude").ToParameter());
        List<(string, Parameter)> parameters =
            [.. module.AdapterParameters().Select(pair => (pair.Name, pair.Parameter))];
        using Optimizer optimizer = optim == "sgd" ? new SGD(parameters, 0.5) : new AdamW(parameters, 0.5);
        module.Forward(x, ForwardPass.ForTraining()).sum().backward();

        optimizer.step();

        Golden.Near(
            x.mm(module.Merge(layer.Weight, torch.ones([1])).t()), module.Forward(x, ForwardPass.ForInference()));
    }

    [Theory]
    [InlineData(ScalarType.Float32, 1e-5)]
    [InlineData(ScalarType.BFloat16, 5e-2)]
    public void Dora_on_many_rows_is_what_autograd_makes_of_its_formula(ScalarType type, double tolerance)
    {
        using var scope = torch.NewDisposeScope();
        using var random = Seeds.GeneratorFor(5, "rows");
        Tensor Of(params long[] shape) => torch.randn(shape, torch.float32, generator: random);
        var (x, weight, bias, slopes) = (Of(70, 24), Of(40, 24) / 5, Of(40), Of(70, 40));
        var (a, b, m) = (Of(3, 24) / 5, Of(40, 3) / 5, Of(40).abs() + 0.5);
        (Tensor, Tensor[]) Run(ScalarType wide, Func<Tensor[], Tensor> formula)
        {
            Tensor[] leaves = [.. new[] { x, bias }.Select(t => t.to(wide).detach().clone().requires_grad_()),
                .. new[] { a, b, m }.Select(t => t.detach().clone().requires_grad_())];
            var y = formula(leaves);
            var shown = y.to(torch.float32).clone();
            y.add_(1); // as a model may do with what a projection gives
            (y.to(torch.float32) * slopes).sum().backward();
            return (shown, [.. leaves.Select(leaf => leaf.grad!.to(torch.float32))]);
        }

        var norms = Fused.row_norms(weight.to(type), Fused.row_squares(weight.to(type)), a, b, 1.5);
        var (found, gradients) = Run(type, t => Fused.dora_linear(
            t[0], weight.to(type), t[1], t[2], t[3], t[4], norms, 1.5));
        var direction = weight + (b.mm(a) * 1.5);
        var (expected, own) = Run(ScalarType.Float32, t =>
            t[0].mm((weight + (t[3].mm(t[2]) * 1.5)).t()) * (t[4] / direction.norm(1)) + t[1]);

        Golden.Near(direction.norm(1), norms, Math.Max(tolerance, 1e-4) / 5);
        Assert.True((found - expected).abs().max().ToDouble() <= tolerance * expected.abs().max().ToDouble());
        Assert.All(own.Zip(gradients), pair => Assert.InRange(
            (pair.First - pair.Second).abs().max().ToDouble() / pair.First.abs().max().ToDouble(), 0, tolerance));
    }

    [Fact]
    public void A_row_of_zeros_stays_finite()
    {
        using var scope = torch.NewDisposeScope();
        var layer = new BaseLinear("m", torch.zeros([4, 3]).ToParameter());
        using var module = new MixtureProjection(
            layer, new MixtureShape(1, 2, 1), null, torch.ones([2, 3]).ToParameter(),
            magnitude: torch.zeros([4]).ToParameter());

        module.Forward(torch.ones([5, 3]), ForwardPass.ForInference()).sum().backward();

        Assert.All(new[] { module.Down, module.Up, module.Magnitude! },
            parameter => Assert.True(parameter.grad!.isfinite().all().ToBoolean()));
        Assert.True(module.Merge(layer.Weight, torch.ones([1])).isfinite().all().ToBoolean());
    }

    [Theory]
    [InlineData("pissa", "scaling", "pissa_BA", "pissa_W_residual")]
    [InlineData("pissa_niter_20", "scaling", "pissa_BA", "pissa_W_residual")]
    [InlineData("pissa", "rslora_scaling", "pissa_rslora_BA", null)]
    [InlineData("olora", "scaling", "olora_BA", "olora_W_residual")]
    public void First_values_are_those_of_peft(string kind, string scaling, string product, string? residual)
    {
        using var scope = torch.NewDisposeScope();
        var golden = Golden.Case("second.json", "init_variants");
        var weight = golden.Input("W");
        var scale = golden.ExpectedNumber(scaling);

        var first = WeightInitialization.First(kind, "m", weight, 2, scale, seed: 1);

        Golden.Near(golden.Expected(product), first.Up.mm(first.Down));
        if (residual is not null)
            Golden.Near(golden.Expected(residual), first.Rest(weight, scale));
        if (kind == "pissa" && residual is not null)
            Golden.Near(golden.Expected("pissa_A_row_norms"), first.Down.norm(1));
        if (kind == "olora")
            Golden.Near(
                golden.Expected("olora_abs_diag_R"), torch.stack([first.Down[0, 0], first.Down[1, 1]]).abs());
    }

    public static TheoryData<string> Variants => [.. Inits, "dora"];

    private static AdapterOptions Of(string variant) => variant == "dora"
        ? new AdapterOptions { R = 3, UseDora = true }
        : new AdapterOptions { R = 3, InitLoraWeights = variant };

    [Theory]
    [MemberData(nameof(Variants))]
    public void Training_begins_where_the_base_is_and_the_base_is_not_touched(string variant)
    {
        using var scope = torch.NewDisposeScope();
        var model = _tiny.New();
        var before = TinyModel.Logits(model);
        var weights = model.StateDict().Select(pair => pair.Tensor.clone()).ToList();

        var adapted = AdapterAttachment.Attach(model, Of(variant), seed: 1);

        Golden.Near(before, TinyModel.Logits(model), 1e-4);
        Assert.All(model.StateDict().Zip(weights), pair => Assert.True(pair.First.Tensor.SameAs(pair.Second)));
        Assert.Equal(variant == "dora" ? 3 : 2, adapted.Parameters.Count / adapted.Modules.Count);
    }

    [Theory]
    [MemberData(nameof(Variants))]
    public void A_bundle_and_an_exported_directory_compute_what_was_trained(string variant)
    {
        using var scope = torch.NewDisposeScope();
        var adapted = Changed(Of(variant));
        var trained = TinyModel.Logits(adapted.Model);
        BundleWriter.Write(_tiny.In("bundle"), TinyBundle.Contents(adapted));
        PeftDirectory.Write(_tiny.In("peft"), PeftAdapter.Of(adapted, "base"), "card");

        var (own, theirs) = (_tiny.New(), _tiny.New());
        Bundle.Open(_tiny.In("bundle")).Attach(own);
        Bundle.Open(_tiny.In("peft")).Attach(theirs);

        Assert.True(trained.SameAs(TinyModel.Logits(own)));
        Golden.Near(trained, TinyModel.Logits(theirs), 1e-4);
        if (variant != "dora") // that reader knows LoRA alone: the directory is one, on the base as it was
            Golden.Near(trained, IndependentPeft.Logits(_tiny.New(), _tiny.In("peft")), 1e-4);
        Assert.Equal(
            variant == "dora" ? [.. adapted.Modules.Select(module => $"{module.Path}.lora_magnitude_vector").Order(
                StringComparer.Ordinal)] : [],
            AdapterSummary.Read(_tiny.In("peft"), null).OtherTensors.Select(entry =>
                entry.Name["base_model.model.".Length..]).Order(StringComparer.Ordinal));
    }

    // As PEFT's save_pretrained leaves it where it is told of no initial model.
    [Theory]
    [InlineData("pissa")]
    [InlineData("olora")]
    public void What_peft_took_out_of_the_base_is_taken_out_when_its_file_is_opened(string variant)
    {
        using var scope = torch.NewDisposeScope();
        var adapted = Changed(Of(variant));
        var converted = PeftAdapter.Of(adapted, "base");
        PeftDirectory.Write(_tiny.In("theirs"), new PeftAdapter(
            converted.Config with { InitLoraWeights = variant, R = 3, LoraAlpha = 16 },
            [.. adapted.Modules.Select(module => new PeftModule(module.Path, module.Down, module.Up))]), "card");

        var opened = Bundle.Open(_tiny.In("theirs")).Attach(_tiny.New());

        Golden.Near(TinyModel.Logits(adapted.Model), TinyModel.Logits(opened.Model), 1e-4);
        BundleWriter.Write(_tiny.In("ours"), TinyBundle.Contents(opened));
        var again = Bundle.Open(_tiny.In("ours")).Attach(_tiny.New());
        Assert.True(TinyModel.Logits(opened.Model).SameAs(TinyModel.Logits(again.Model)));
        var plain = AdapterAttachment.Attach(_tiny.New(), new AdapterOptions { R = 3 }, seed: 1);
        var message = $"{_tiny.In("theirs")}: trained on what {variant} left of the base; expected ";
        Assert.Equal(
            message + "a plain LoRA for each expert. Make it one with peft adapter export.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(plain, [_tiny.In("theirs")])).Message);
        Assert.Equal(
            message + "adapters of the base as it is. Make it one with peft adapter import and export.",
            Assert.Throws<UserException>(() => MergeSource.Open(_tiny.In("theirs"))).Message);
    }

    // GPT-2 stores matrices as [inputs, outputs].
    [SharedTheory]
    [MemberData(nameof(Variants))]
    public void Matrices_that_are_stored_inputs_first_are_adapted_and_merged(string variant)
    {
        using var scope = torch.NewDisposeScope();
        var folder = VectorModels.Folder("models-2/gpt2");
        using var model = ModelLoader.Load(folder);
        using var again = ModelLoader.Load(folder);
        var before = TinyModel.Logits(model);
        var adapted = AdapterAttachment.Attach(model, Of(variant), seed: 1);
        Golden.Near(before, TinyModel.Logits(model), 1e-4);
        Change(adapted);
        PeftDirectory.Write(_tiny.In("peft"), PeftAdapter.Of(adapted, "base"), "card");
        Bundle.Open(_tiny.In("peft")).Attach(again);

        Golden.Near(TinyModel.Logits(model), TinyModel.Logits(again), 1e-4);
        Assert.Contains(adapted.Modules, module => module.Wrapped.IsStoredInputsFirst);
        foreach (var module in adapted.Modules)
        {
            var (isTurned, x) = (module.Wrapped.IsStoredInputsFirst, torch.randn([4, module.InFeatures]));
            var stored = isTurned ? module.Wrapped.Weight.t() : module.Wrapped.Weight;
            var merged = module.Merge(stored, torch.ones([1]));
            Golden.Near(
                torch.nn.functional.linear(x, isTurned ? merged.t() : merged, module.Wrapped.Bias),
                module.Forward(x, ForwardPass.ForInference()), 1e-4);
        }
    }

    // Factors near 1, as all are at first, are not rounded to 1 or to its neighbours.
    [Fact]
    public void One_row_of_a_reduced_type_keeps_the_factors_of_its_magnitudes()
    {
        using var scope = torch.NewDisposeScope();
        var (x, weight) = (torch.full([1, 1], 1f, ScalarType.BFloat16), torch.full([1, 1], 1f, ScalarType.BFloat16));
        var (a, b) = (torch.zeros([1, 1]), torch.zeros([1, 1]));
        var bias = torch.full([1], -1f, ScalarType.BFloat16);

        var y = Fused.dora_linear(x, weight, bias, a, b, torch.full([1], 1.001f), torch.ones([1]), 1);

        Golden.Near(torch.full([1, 1], 0.001f), y, 1e-5);
    }

    [Fact]
    public void Restoring_a_checkpoint_takes_its_own_first_values_out_of_the_base()
    {
        using var scope = torch.NewDisposeScope();
        var adapted = Changed(Of("pissa"));
        BundleWriter.Write(_tiny.In("bundle"), TinyBundle.Contents(adapted));
        var other = AdapterAttachment.Attach(_tiny.New(), Of("olora"), seed: 2); // other first values

        var weights = OwnBundle.Open(_tiny.In("bundle")).Weights;
        BundleTensors.Load(other, weights.Path, weights.Entries);

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(other.Model)));
    }

    [Fact]
    public void Experts_are_not_filled_from_variants()
    {
        PeftDirectory.Write(_tiny.In("dora"), PeftAdapter.Of(Changed(Of("dora")), "base"), "card");
        BundleWriter.Write(_tiny.In("pissa"), TinyBundle.Contents(Changed(Of("pissa"))));
        var plain = AdapterAttachment.Attach(_tiny.New(), new AdapterOptions { R = 3 }, seed: 1);
        var variant = AdapterAttachment.Attach(_tiny.New(), Of("dora"), seed: 1);

        Assert.Equal(
            $"{_tiny.In("dora")}: a DoRA; expected a plain LoRA for each expert.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(plain, [_tiny.In("dora")])).Message);
        Assert.Equal(
            $"{_tiny.In("pissa")}: trained on what pissa left of the base; expected a plain LoRA for each expert. Make "
            + "it one with peft adapter export.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(plain, [_tiny.In("pissa")])).Message);
        Assert.Equal(
            "adapter.experts.from: given with use_dora, or an init_lora_weights that changes the base; expected an "
            + "adapter that begins anew. Leave one of them out.",
            Assert.Throws<UserException>(() => ExpertLoader.Load(variant, [_tiny.In("dora")])).Message);
    }

    [Fact]
    public void With_dropout_the_frozen_product_itself_keeps_all_of_its_input()
    {
        using var scope = torch.NewDisposeScope();
        var golden = Golden.Case("second.json", "dora");
        var (weight, bias, x) = (golden.Input("W"), golden.Input("bias"), golden.Input("x"));
        var (a, b, m, scale) = (
            golden.Input("A"), golden.Input("B"), golden.Input("magnitude"), golden.Parameter("scaling"));
        using var module = new MixtureProjection(
            new BaseLinear("m", weight.ToParameter(), bias.ToParameter()), new MixtureShape(1, 2, scale, 0.5), null,
            a.ToParameter(), b.ToParameter(), magnitude: m.ToParameter());
        using var random = Seeds.GeneratorFor(3, "dropped");
        using var same = Seeds.GeneratorFor(3, "dropped");

        var y = module.Forward(x, ForwardPass.ForTraining(random: random));

        var dropped = Fused.dropout(x, 0.5, same);
        var factor = m / golden.Expected("weight_norm");
        Golden.Near(
            x.mm(weight.t()) + bias + ((factor - 1) * dropped.mm(weight.t()))
                + (factor * dropped.mm(a.t()).mm(b.t()) * scale), y);
    }

    private AdaptedModel Changed(AdapterOptions options)
    {
        var adapted = AdapterAttachment.Attach(_tiny.New(), options, seed: 1);
        Change(adapted);
        return adapted;
    }

    private static void Change(AdaptedModel adapted)
    {
        using var off = torch.no_grad();
        foreach (var module in adapted.Modules)
        {
            module.Up.add_(torch.randn(module.Up.shape, generator: Seeds.GeneratorFor(9, module.Path)) * 0.1);
            module.Magnitude?.mul_(1.25);
        }
    }
}
