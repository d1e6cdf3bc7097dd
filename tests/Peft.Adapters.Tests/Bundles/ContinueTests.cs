using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>A trained adapter that is trained on (recipe key adapter.from): all that it holds, or a refusal.</summary>
public sealed class ContinueTests : TensorTests
{
    private string Out => Tiny.In("out");

    private string Recipe => Path.Combine(Out, "recipe.resolved.yaml");

    [Theory]
    [MemberData(nameof(BundleTests.Kinds), MemberType = typeof(BundleTests))]
    public void Every_tensor_is_taken_and_learns_as_in_the_first_training(string kind)
    {
        var adapted = TinyBundle.Trained(Tiny, AttachmentTests.Options(kind));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));

        var again = Continue(adapted.Options with { LoraDropout = 0.1 });

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(again.Model)));
        Assert.Equal(adapted.State.Select(pair => pair.Name), again.State.Select(pair => pair.Name));
        Assert.All(adapted.State.Zip(again.State), pair => Assert.True(pair.First.Tensor.SameAs(pair.Second.Tensor)));
        Assert.Equal(adapted.Parameters.Select(pair => pair.Name), again.Parameters.Select(pair => pair.Name));
        Assert.Equal(0.1, again.Options.LoraDropout);
    }

    [Theory]
    [InlineData("""{"r": 3, "use_dora": true}""")]
    [InlineData("""{"r": 3, "init_lora_weights": "pissa"}""")]
    [InlineData("""{"r": 3, "init_lora_weights": "olora"}""")]
    [InlineData("""{"r": 2, "modules_to_save": ["norm"], "target_modules": ["q_proj", "embed_tokens"]}""")]
    [InlineData("""{"r": 2, "trainable_token_indices": [3, 5], "target_modules": ["q_proj"]}""")]
    [InlineData("""{"method": "mixture", "r": 2, "init_lora_weights": "goat", "router": {"kind": "top-k"}}""")]
    public void What_stands_beside_a_and_b_is_taken_too(string options)
    {
        var adapted = TinyBundle.Trained(Tiny, AdapterOptionsTests.Read(options));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));

        var again = Continue(adapted.Options);

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(again.Model)));
        Assert.All(adapted.State.Zip(again.State), pair => Assert.True(pair.First.Tensor.SameAs(pair.Second.Tensor)));
    }

    [Fact]
    public void A_lora_of_hugging_face_peft_is_trained_on()
    {
        var adapted = TinyBundle.Trained(Tiny, AdapterOptionsTests.Read("""{"r": 3, "target_modules": ["q_proj"]}"""));
        PeftDirectory.Write(Out, PeftAdapter.Of(adapted, "base"), "card");

        var again = Continue(adapted.Options);

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(again.Model)));
        Assert.All(again.Parameters, pair => Assert.True(pair.Parameter.requires_grad));
    }

    [Fact]
    public void Settings_that_give_the_tensors_another_meaning_are_told_together()
    {
        var adapted = TinyBundle.Trained(Tiny, AttachmentTests.Options("top-k"));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));
        var (r, alpha) = (adapted.Options.R, adapted.Options.LoraAlpha);

        var faults = Assert.Throws<FaultsException>(() => Continue(AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 5, "lora_alpha": 7, "experts": {"count": 3}, "router": {"kind": "soft"}}""")));

        Assert.Equal(
            $"""
            r.yaml has 4 faults:
              adapter.r              5; expected {r}, as adapter.from {Out} has it. Its settings are in {Recipe}.
              adapter.lora_alpha     7; expected {alpha}, as adapter.from {Out} has it.
              adapter.experts.count  3; expected 4, as adapter.from {Out} has it.
              adapter.router.kind    soft; expected top-k, as adapter.from {Out} has it.
            """, faults.Message);
    }

    [Fact]
    public void A_router_setting_that_shapes_its_tensors_is_named_and_not_the_tensors()
    {
        var adapted = TinyBundle.Trained(Tiny, Union(4));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));

        Assert.Equal(
            $"""
            r.yaml has 1 fault:
              adapter.router.count  2; expected 4, as adapter.from {Out} has it. Its settings are in {Recipe}.
            """, Assert.Throws<FaultsException>(() => Continue(Union(2))).Message);

        static AdapterOptions Union(int count) => AdapterOptionsTests.Read(
            $$$"""{"method": "mixture", "r": 2, "router": {"kind": "union-of-experts", "count": {{{count}}}}}""");
    }

    [Fact]
    public void Other_projections_and_another_base_are_refused()
    {
        var adapted = TinyBundle.Trained(Tiny, AdapterOptionsTests.Read("""{"target_modules": ["q_proj", "up_proj"]}"""));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));

        Assert.Equal(
            $"""
            r.yaml has 1 fault:
              adapter.target_modules  with 2 projections; expected the 4 of {Out}. Missing here: model.layers.0.mlp.up_proj.
            """,
            Assert.Throws<FaultsException>(() => Continue(
                AdapterOptionsTests.Read("""{"target_modules": ["q_proj"]}"""))).Message);
        Assert.Equal(
            $"adapter.from: {Out}, trained on example/tiny-llama (fingerprint aaaaaaaaaaaa); expected an adapter of "
                + "this base, other (fingerprint bbbbbbbbbbbb). Write the base it was trained on as "
                + "model.model_name_or_path.",
            Assert.Throws<UserException>(() => Bundle.Open(Out).Continue(
                Tiny.New(), adapted.Options, seed: 2, new("other", new string('b', 64)), "r.yaml")).Message);
    }

    private AdaptedModel Continue(AdapterOptions options) =>
        Bundle.Open(Out).Continue(Tiny.New(), options, seed: 2, TinyBundle.Base, "r.yaml");
}
