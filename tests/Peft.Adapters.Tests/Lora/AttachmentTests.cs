using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

public sealed class AttachmentTests : TensorTests
{
    // Sums of whole feed-forwards round otherwise: WholeFeedForwardTests.
    public static TheoryData<string> Kinds =>
        [.. RouterCatalog.Entries.Where(entry => !entry.First.WholeFeedForward).Select(entry => entry.Kind), "lora"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_fresh_adapter_equals_its_base_bit_for_bit(string kind)
    {
        var model = Tiny.New();
        var plain = TinyModel.Logits(model);

        AdapterAttachment.Attach(model, Options(kind), seed: 1);

        Assert.Equal(!LeavesOut(kind), plain.SameAs(TinyModel.Logits(model)));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void A_fresh_adapter_equals_its_base_in_bfloat16(string kind)
    {
        var model = Tiny.New(ScalarType.BFloat16);
        var plain = TinyModel.Logits(model);

        AdapterAttachment.Attach(model, Options(kind), seed: 1);

        Assert.Equal(!LeavesOut(kind), plain.SameAs(TinyModel.Logits(model)));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    [InlineData("similar by attention")]
    public void Decoding_from_a_cache_gives_the_logits_of_the_whole_text(string kind)
    {
        var options = kind.Contains(' ', StringComparison.Ordinal)
            ? AdapterOptionsTests.Read("""
                {"method": "mixture", "r": 2, "target_modules": ["o_proj", "up_proj"],
                 "router": {"kind": "graph-of-tokens", "similarity": "attention"} }
                """)
            : Options(kind);
        if (options.Router is { WhyNoDecoding: not null })
            return;
        var model = Tiny.New();
        FillUp(AdapterAttachment.Attach(model, options, seed: 1));
        var tasks = torch.zeros([2], torch.int64);
        // Some decide once, at the prompt: it is the same in both.
        var prompt = torch.tensor(new[] { true, true, false, false, false }).expand(2, 5);
        using var off = torch.no_grad();
        var whole = model.Forward(
            TinyModel.Ids, ForwardPass.ForInference(taskIds: tasks, promptMask: prompt));

        using var cache = new KeyValueCache(2);
        var parts = new List<Tensor>();
        foreach (var (from, count) in new[] { (0, 2), (2, 2), (4, 1) })
            parts.Add(model.Forward(
                TinyModel.Ids.narrow(1, from, count), ForwardPass.ForInference(cache, taskIds: tasks)));

        Golden.Near(whole, torch.cat([.. parts], 1), 1e-4);
    }

    [Fact]
    public void Training_reaches_every_listed_parameter_and_no_base_weight()
    {
        var model = Tiny.New();
        var adapted = AdapterAttachment.Attach(model, Options("top-k"), seed: 1);
        FillUp(adapted);
        var pass = ForwardPass.ForTraining(Seeds.GeneratorFor(1, "step"));

        var logits = model.Forward(TinyModel.Ids, pass);
        (logits * logits).mean().backward();

        Assert.Equal(14 * 3, adapted.Parameters.Count);
        Assert.All(adapted.Parameters, pair => Assert.True(pair.Parameter.grad!.abs().sum().ToDouble() > 0, pair.Name));
        Assert.All(model.BaseParameters, pair => Assert.Null(pair.Parameter.grad));
    }

    [Fact]
    public void Records_outlive_their_blocks_and_feed_the_balance_loss()
    {
        var model = Tiny.New();
        var adapted = AdapterAttachment.Attach(model, AdapterOptionsTests.Read("""
            {"method": "mixture", "experts": {"count": 4}, "router": {"kind": "top-k", "balance": {"kind": "switch",
            "coefficient": 1}}}
            """), seed: 1);
        var pass = ForwardPass.ForTraining();
        model.Forward(TinyModel.Ids, pass);

        var loss = adapted.AuxiliaryLoss(pass, torch.ones([2, 5]).gt(0))!;
        loss.backward();

        Assert.Equal(14, pass.Records<RoutingRecord>().Count);
        Assert.InRange(loss.ToDouble(), 1, 4);
        Assert.True(adapted.Modules[0].Router!.parameters().Single().grad!.abs().sum().ToDouble() > 0);
    }

    [Fact]
    public void Dropout_draws_from_the_pass_and_only_in_training()
    {
        var model = Tiny.New();
        var adapted = AdapterAttachment.Attach(model, new AdapterOptions { LoraDropout = 0.5 }, seed: 1);
        FillUp(adapted);

        Tensor Train(string stream) =>
            model.Forward(TinyModel.Ids, ForwardPass.ForTraining(Seeds.GeneratorFor(1, stream))).detach();

        Assert.True(Train("a").SameAs(Train("a")));
        Assert.False(Train("a").SameAs(Train("b")));
        Assert.True(TinyModel.Logits(model).SameAs(TinyModel.Logits(model)));
    }

    [Fact]
    public void Frozen_experts_leave_the_router_alone_to_train()
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read("""
            {"method": "mixture", "target_modules": ["q_proj"], "experts": {"count": 3, "train": false},
            "router": {"kind": "soft"}}
            """), seed: 1);

        Assert.Equal(
            ["model.layers.0.self_attn.q_proj.router.weight", "model.layers.1.self_attn.q_proj.router.weight"],
            adapted.Parameters.Select(pair => pair.Name));
        Assert.Equal(2 * 3 * 16, adapted.TrainableParameterCount);
        Assert.Equal(6, adapted.State.Count);
    }

    [Fact]
    public void The_table_counts_each_module()
    {
        var adapted = AdapterAttachment.Attach(
            Tiny.New(), new AdapterOptions { R = 4, TargetModules = ModuleNames.List(["k_proj"]) }, seed: 1);

        Assert.Equal(
            [("model.layers.0.self_attn.k_proj", 4L * (16 + 8)), ("model.layers.1.self_attn.k_proj", 4L * (16 + 8))],
            adapted.TrainableParameterCounts);
    }

    public static TheoryData<string, string> Sizes => new()
    {
        { "lora", """{"r": 3, "target_modules": ["q_proj", "up_proj"]}""" },
        { "DoRA", """{"r": 3, "use_dora": true}""" },
        { "PiSSA", """{"r": 3, "init_lora_weights": "pissa"}""" },
        { "OLoRA", """{"r": 3, "rank_pattern": {"q_proj": 5}, "init_lora_weights": "olora"}""" },
        { "GOAT", Mixture("top-k", """ "init_lora_weights": "goat", """, 2) },
        { "top-k", Mixture("top-k") },
        { "shared experts", """
            {"method": "mixture", "r": 2, "experts": {"count": [1, 3], "shared": 2}, "router": {"kind": "top-k"}}
            """ },
        { "some layers", """
            {"method": "mixture", "r": 2, "experts": {"count": 4, "layers": [1]}, "router": {"kind": "top-k"}}
            """ },
        { "mixlora", Mixture("mixlora") }, // its experts are in the feed-forward alone
        { "hydra", Mixture("hydra") },
        { "comol", Mixture("comol") },
        { "rexmoe", Mixture("rexmoe") },
        { "lily", """
            {"method": "mixture", "r": 2, "experts": {"count": 3}, "router": {"kind": "lily", "stride_a": 2}}
            """ },
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void The_memory_that_is_asked_for_before_is_what_is_taken(string name, string options)
    {
        foreach (var type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            var model = Tiny.New(type);
            var (factors, copies) = AdapterAttachment.ByteCounts(model, AdapterOptionsTests.Read(options));

            var adapted = AdapterAttachment.Attach(model, AdapterOptionsTests.Read(options), seed: 1);

            Assert.True(factors > 0, name);
            Assert.Equal(
                adapted.Parameters.Where(pair => !pair.Name.Contains(".router.", StringComparison.Ordinal))
                    .Sum(pair => pair.Parameter.ByteCount()), factors);
            Assert.Equal(
                adapted.Modules.Sum(module => module.TakenOut is not { } taken ? 0
                    : module.Wrapped.Weight.ByteCount() + taken.Down.ByteCount() + taken.Up.ByteCount()), copies);
            Assert.Equal(options.Contains("init_lora_weights", StringComparison.Ordinal), copies > 0);
        }
    }

    [Fact]
    public void A_projection_is_wrapped_once()
    {
        var model = Tiny.New();
        AdapterAttachment.Attach(model, new AdapterOptions(), seed: 1);

        var error = Assert.Throws<UserException>(() => AdapterAttachment.Attach(model, new AdapterOptions(), seed: 1));

        Assert.Equal(
            "model.layers.0.self_attn.q_proj: wrapped already by MixtureProjection; expected one adapter for each "
                + "projection. Load the "
            + "base model again.",
            error.Message);
    }

    [Fact]
    public void No_tensor_outlives_a_forward()
    {
        var model = Tiny.New();
        AdapterAttachment.Attach(model, Options("hard-soft"), seed: 1);
        TinyModel.Logits(model).Dispose();
        var before = LiveTensors.Settled();

        using (torch.NewDisposeScope())
            model.Forward(TinyModel.Ids, ForwardPass.ForTraining(Seeds.GeneratorFor(1, "s"))).sum().backward();

        // Gradients stay: one for each of A, B and the router of 14 projections at most. Fewer than before may live.
        LiveTensors.AssertNoMoreThan(before + (14 * 3));
    }

    private static string Mixture(string kind, string more = "", int count = 4) =>
        $$$"""{"method": "mixture", "r": 2, {{{more}}} "experts": {"count": {{{count}}}},"""
        + $$$""" "router": {"kind": "{{{kind}}}"}}""";

    internal static AdapterOptions Options(string kind) => kind == "lora"
        ? new AdapterOptions { R = 2 }
        : AdapterOptionsTests.Read($$$"""{"method": "mixture", "r": 2, "experts": {"count": {{{CountOf(kind)}}}},"""
            + $$$""" {{{SquareFor(kind)}}} "router": {"kind": "{{{kind}}}"}}""");

    // Some routers are for projections that give as many values as they take.
    private static string SquareFor(string kind) =>
        RouterCatalog.Of(kind).First.NeedsSquare ? """ "target_modules": ["q_proj", "o_proj"], """ : "";

    // They go without half of each feed-forward from the beginning.
    private static bool LeavesOut(string kind) => kind is "factorllm" or "union-of-experts";

    private static int CountOf(string kind) => RouterCatalog.Of(kind).HasOneAdapter ? 1 : 4;

    internal static void FillUp(AdaptedModel adapted)
    {
        using var off = torch.no_grad();
        foreach (var module in adapted.Modules)
            module.Up.normal_(0, 0.3, Seeds.GeneratorFor(9, module.Path));
    }
}
