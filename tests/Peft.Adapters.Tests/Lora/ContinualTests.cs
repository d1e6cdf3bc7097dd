using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>Training on one task after the other (SAME): formulas, statistics, and the file that goes from stage to
/// stage.</summary>
public sealed class ContinualTests : IDisposable
{
    private readonly TinyModel _tiny = new();
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose()
    {
        _scope.Dispose();
        _tiny.Dispose();
    }

    [Fact]
    public void Gradients_are_those_of_the_paper()
    {
        var golden = Golden.Case("second.json", "same_gradient_steps");
        var options = Options(golden, ContinualOptions.Paper);
        var (before, own) = (Of(golden.Input("X_task1")), Of(golden.Input("X_task2")));

        var all = own.After(before);
        var router = SameRule.Router(all, own, options);
        var experts = SameRule.Experts(before, own, options)!;
        var gradient = Applied(router, golden.Input("grad_router"));

        Assert.Equal(14, all.Tokens);
        Golden.Near(golden.Expected("running_covariance"), all.Covariance, 1e-6);
        Assert.Equal(golden.ExpectedNumber("k"), router.Directions.shape[1]);
        Golden.Near(golden.Expected("grad_router_paper"), gradient);
        Golden.Near(
            golden.Expected("router_W_after_step_paper"),
            golden.Input("router_W") - gradient * golden.Parameter("lr"));
        Assert.Equal(golden.ExpectedNumber("k_expert"), experts.Directions.shape[1]);
        Golden.Near(golden.Expected("grad_expert_paper"), Applied(experts, golden.Input("grad_expert_A")));
        Assert.Null(SameRule.Experts(null, own, options));
    }

    [Fact]
    public void Gradients_are_those_of_the_code_where_its_form_is_asked_for()
    {
        var golden = Golden.Case("second.json", "same_gradient_steps");
        var options = Options(golden, ContinualOptions.Code);
        var (before, own) = (Of(golden.Input("X_task1")), Of(golden.Input("X_task2")));

        var router = SameRule.Router(own.After(before), own, options);
        var experts = SameRule.Experts(before, own, options)!;

        Assert.Equal(golden.ExpectedNumber("k_code"), router.Directions.shape[1]);
        Golden.Near(golden.Expected("scale_code"), router.Scale);
        Golden.Near(golden.Expected("grad_router_code"), Applied(router, golden.Input("grad_router")));
        Golden.Near(golden.Expected("grad_expert_code"), Applied(experts, golden.Input("grad_expert_A")));
    }

    [Fact]
    public void Experts_of_a_low_score_are_frozen_but_the_tasks_own()
    {
        var golden = Golden.Case("second.json", "same_gradient_steps");
        var options = Options(golden, ContinualOptions.Paper);
        var own = (int)golden.Parameter("current_task_expert");

        var score = SameRule.Score(
            golden.Input("utilisation").to(torch.float64), golden.Input("importance").to(torch.float64));
        var frozen = SameRule.Frozen(score, own, options);

        Golden.Near(golden.Expected("freeze_score"), score);
        var kept = golden.Expected("expert_mask").data<float>().ToArray();
        Assert.Equal([.. Enumerable.Range(0, 3).Where(expert => kept[expert] == 0)], frozen);
        Assert.Equal(frozen, SameRule.Frozen(score, own + 3, options)); // counted round
        Assert.Equal([0, 1], SameRule.Frozen(score, 2, options with { Tau = 1 }));
        Assert.Empty(SameRule.Frozen(score, 0, options with { Tau = -1 }));
    }

    [Fact]
    public void What_modules_see_is_gathered_of_real_tokens_and_the_model_is_as_before()
    {
        var adapted = Attach();
        var expected = TinyModel.Logits(adapted.Model);
        var ids = torch.cat([TinyModel.Ids, torch.full([2, 3], 1L)], 1);
        var mask = torch.arange(8, torch.int64).lt(5).expand(2, 8).contiguous();

        var padded = Gather(adapted, (ids, ForwardPass.ForInference(tokenMask: mask)));
        var twice = Gather(
            adapted, (TinyModel.Ids.narrow(0, 0, 1), ForwardPass.ForInference()),
            (TinyModel.Ids.narrow(0, 1, 1), ForwardPass.ForInference()));

        Assert.Equal(adapted.Modules.Select(module => module.Path).Order(), padded.Keys.Order());
        foreach (var (path, one) in padded)
        {
            Assert.Equal((10, 10), (one.Tokens, twice[path].Tokens));
            Golden.Near(twice[path].Covariance, one.Covariance);
            Golden.Near(twice[path].Mean!, one.Mean!);
            Golden.Near(twice[path].Importance!, one.Importance!);
            Assert.Equal(1, one.Use!.sum().ToDouble(), 1e-6);
            // Shares add up to 1, so importance adds up to the mean square of the input.
            Assert.Equal(one.Covariance.diagonal().sum().ToDouble(), one.Importance!.sum().ToDouble(), 1e-4);
        }

        Assert.True(expected.SameAs(TinyModel.Logits(adapted.Model)));
        Assert.All(adapted.Model.Projections.SkipLast(1), module => Assert.IsType<MixtureProjection>(module));
    }

    [Fact]
    public void The_mean_product_is_that_of_the_input()
    {
        var adapted = Attach();
        var embedded = adapted.Model.Embedding.Forward(TinyModel.Ids).detach();
        var x = embedded * (embedded.square().mean([-1], keepdim: true) + 1e-6).rsqrt();      // the first norm is 1
        var rows = x.reshape(-1, 16);

        var found = Gather(adapted, (TinyModel.Ids, ForwardPass.ForInference()))["model.layers.0.self_attn.k_proj"];

        Golden.Near(rows.t().mm(rows) / 10, found.Covariance);
        Golden.Near(rows.mean([0]), found.Mean!);
    }

    [Fact]
    public void A_bundle_hands_the_statistics_to_the_next_stage()
    {
        var adapted = Attach();
        var first = Gather(adapted, (TinyModel.Ids, ForwardPass.ForInference()))
            .ToDictionary(pair => pair.Key, pair => pair.Value.After(null));
        Write(adapted, "stage", new ContinualState(2, first));

        var read = ContinualFile.Read(_tiny.In("stage"), Attach());

        Assert.Equal((2, first.Count), (read.Stages, read.Modules.Count));
        Assert.All(read.Modules, pair =>
        {
            Assert.True(first[pair.Key].Covariance.SameAs(pair.Value.Covariance));
            Assert.True(first[pair.Key].Importance!.SameAs(pair.Value.Importance!));
            Assert.Equal(10, pair.Value.Tokens);
        });
        BundleWriter.Write(_tiny.In("stage"), Contents(adapted));
        Assert.Throws<UserException>(() => ContinualFile.Read(_tiny.In("stage"), Attach())); // of an earlier bundle
    }

    [Fact]
    public void A_bundle_without_them_and_one_that_does_not_fit_are_refused()
    {
        var adapted = Attach();
        BundleWriter.Write(_tiny.In("plain"), Contents(adapted));
        var part = Gather(adapted, (TinyModel.Ids, ForwardPass.ForInference()))
            .Where(pair => !pair.Key.Contains("layers.1", StringComparison.Ordinal))
            .ToDictionary(pair => pair.Key, pair => pair.Value.After(null));
        Write(adapted, "part", new ContinualState(1, part));

        var missing = Assert.Throws<UserException>(() => ContinualFile.Read(_tiny.In("plain"), Attach()));
        var unfit = Assert.Throws<FaultsException>(() => ContinualFile.Read(_tiny.In("part"), Attach()));

        Assert.Equal(
            $"{_tiny.In("plain")}: no continual.safetensors; expected the bundle of a stage before, which holds what "
                + "its inputs were like. Train it with training.continual too, or leave adapter.from out to begin a "
                + "first stage.", missing.Message);
        Assert.Equal(7 * 3, unfit.Items.Count);
    }

    private static ContinualOptions Options(Golden golden, string form) => new()
    {
        Kind = ContinualOptions.Same, Form = form, Mu = golden.Parameter("mu"), Energy = golden.Parameter("energy"),
        Tau = golden.Parameter("tau"),
    };

    private static InputStatistics Of(Tensor x)
    {
        var wide = x.to(torch.float64);
        return new(wide.t().mm(wide) / x.shape[0], wide.mean([0]), x.shape[0], null, null);
    }

    private static Tensor Applied(GradientShape shape, Tensor gradient)
    {
        shape.Apply(gradient);
        return gradient;
    }

    private static IReadOnlyDictionary<string, InputStatistics> Gather(
        AdaptedModel adapted, params (Tensor Ids, ForwardPass Pass)[] passes)
    {
        using var watch = new InputWatch(adapted);
        foreach (var (ids, pass) in passes)
        {
            adapted.Model.Hidden(ids, pass);
            watch.AfterPass(pass);
        }
        return watch.Statistics();
    }

    private AdaptedModel Attach() => AdapterAttachment.Attach(
        _tiny.New(), AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 2, "experts": {"count": 3}, "router": {"kind": "top-k"}}"""), seed: 1);

    private static BundleContents Contents(AdaptedModel adapted) =>
        new() { Adapted = adapted, Base = new BaseIdentity("tiny", "0") };

    private void Write(AdaptedModel adapted, string name, ContinualState state) => BundleWriter.Write(
        _tiny.In(name), Contents(adapted) with { Beside = [ContinualFile.Of(state)] });
}
