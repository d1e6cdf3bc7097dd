using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Routers that go by what a pass before made of the tokens: X-LoRA and GLIDER, their cases to 1e-5.</summary>
public sealed class PrecedingPassTests : TensorTests
{
    private const string Query = "model.layers.0.self_attn.q_proj";

    [Fact]
    public void One_classifier_gives_all_projections_the_same_gates()
    {
        var golden = Golden.Case("second.json", "xlora");
        var shared = new SharedParts();
        var options = new XloraRouterOptions { SoftmaxTemperature = golden.Parameter("softmax_temperature") };
        var (first, second) = (New(options, "a", shared), New(options, "b", shared));
        Set(first, ("weight", golden.Input("classifier_W")), ("bias", golden.Input("classifier_b")));
        var pass = After(golden, ForwardPass.ForTraining());

        var gates = first.Route(golden.Input("x"), pass).Gates;

        Golden.Near(golden.Expected("scalings_shared").select(1, 0), gates);
        Assert.True(gates.SameAs(second.Route(golden.Input("x"), pass).Gates));
        Assert.Empty(second.parameters());
    }

    [Fact]
    public void A_deeper_classifier_has_layers_with_relu_before_the_last()
    {
        var golden = Golden.Case("second.json", "xlora");
        var layers = golden.InputSection("depth2");
        var router = New(new XloraRouterOptions
        {
            XloraDepth = 2, XloraSize = 5, SoftmaxTemperature = golden.Parameter("softmax_temperature"),
        });
        Set(router, ("inner_0_weight", layers("W1")), ("inner_0_bias", layers("b1")), ("weight", layers("W2")),
            ("bias", layers("b2")));

        Golden.Near(
            golden.Expected("scalings_depth2"),
            router.Route(golden.Input("x"), After(golden, ForwardPass.ForInference())).Gates);
    }

    [Theory]
    [InlineData(0, false, "output")]
    [InlineData(2, false, "output_topk")]
    [InlineData(2, true, "output_topk_softmax")]
    public void Gates_of_a_layer_weigh_the_adapters_and_its_classifier_alone_learns(
        int kept, bool softmax, string expected)
    {
        var golden = Golden.Case("second.json", "xlora");
        var layer = (int)golden.Parameter("layer_number");
        var (router, projection) = Layerwise(golden, kept, softmax, layer, 0);
        var pass = After(golden, ForwardPass.ForTraining());

        var output = projection.Forward(golden.Input("x"), pass);
        (output * golden.Input("cotangent")).sum().backward();

        var gates = pass.Records<RoutingRecord>()[0].Decision.Gates / golden.Parameter("global_scaling_weight");
        var name = softmax ? "topk_softmax" : kept > 0 ? "topk" : "scalings_layerwise";
        Golden.Near(golden.Expected(name).select(1, layer), gates);
        Golden.Near(golden.Expected(expected), output);
        Assert.Null(projection.Up.grad);
        if (softmax)
            return;
        var grads = router.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter.grad!);
        var weight = golden.Expected(kept > 0 ? "grad_layerwise_W_topk" : "grad_layerwise_W");
        Golden.Near(weight.narrow(0, layer * 3, 3), grads["weight"]);
        if (kept == 0)
            Golden.Near(golden.Expected("grad_layerwise_b").narrow(0, layer * 3, 3), grads["bias"]);
    }

    [Fact]
    public void The_pass_before_has_one_gate_for_all_adapters()
    {
        var golden = Golden.Case("second.json", "xlora");
        var (_, projection) = Layerwise(golden, 0, false, 1, 0.25);
        var (_, alone) = Layerwise(golden, 0, false, 1, 0);
        var pass = ForwardPass.ForInference();

        Golden.Near(
            golden.Expected("output_scaling_pass_0.25"), projection.Forward(golden.Input("x"), pass.Before(false)));
        Golden.Near(
            golden.Input("x").mm(golden.Input("W").t()), alone.Forward(golden.Input("x"), pass.Before(false)));
    }

    [Fact]
    public void The_classifier_sees_what_the_base_makes_of_the_tokens_and_is_saved_once()
    {
        var adapted = Attached("""{"kind": "x-lora"}""");
        var model = adapted.Model;
        var pass = ForwardPass.ForInference();

        model.Hidden(TinyModel.Ids, pass);

        var seen = pass.Records<PreliminaryHidden>().Single().Hidden;
        Golden.Near(Tiny.New().Hidden(TinyModel.Ids, ForwardPass.ForInference()), seen, 1e-6);
        Assert.Equal(14, pass.Records<RoutingRecord>().Count);
        Assert.Equal(2, adapted.State.Count(pair => pair.Name.Contains(".router.", StringComparison.Ordinal)));
        Assert.Equal((3 * 16) + 3, adapted.Parameters.Where(pair => pair.Name.Contains(
            ".router.", StringComparison.Ordinal)).Sum(pair => pair.Parameter.numel()));
    }

    [Theory]
    [InlineData("""{"kind": "x-lora", "xlora_depth": 2, "xlora_size": 6, "layerwise_scalings": true}""")]
    [InlineData("""{"kind": "x-lora", "scaling_pass_value": 0.2, "top_k_lora": 2}""")]
    [InlineData("""{"kind": "glider", "alpha": 20}""")]
    public void Decoding_token_by_token_equals_one_forward(string router)
    {
        var adapted = Attached(router);
        var model = adapted.Model;
        var prompt = torch.arange(5, torch.int64).lt(3).expand(2, 5);
        var whole = model.Forward(TinyModel.Ids, ForwardPass.ForInference(promptMask: prompt));
        using var cache = new KeyValueCache(model.Config.LayerCount, 2);

        var parts = new List<Tensor> { model.Forward(TinyModel.Ids.narrow(1, 0, 3), ForwardPass.ForInference(cache)) };
        using var chosen = cache.Select([1, 0], 2);
        var turned = TinyModel.Ids.index_select(0, torch.tensor(new long[] { 1, 0 }, [2]));
        parts.Add(model.Forward(turned.narrow(1, 3, 1), ForwardPass.ForInference(chosen)));
        parts.Add(model.Forward(turned.narrow(1, 4, 1), ForwardPass.ForInference(chosen)));

        Golden.Near(whole.narrow(1, 0, 3), parts[0]);
        Golden.Near(
            whole.narrow(1, 3, 2).index_select(0, torch.tensor(new long[] { 1, 0 }, [2])), torch.cat(parts[1..], 1));
    }

    [Theory]
    [InlineData("x-lora")]
    [InlineData("glider")]
    public void The_head_sees_some_tokens_alone_and_is_refused(string kind)
    {
        var error = Assert.Throws<UserException>(() => Attached(
            $$"""{"kind": "{{kind}}"}""", "\"target_modules\": [\"q_proj\", \"lm_head\"], "));

        Assert.Equal(
            $"lm_head: sees some of the tokens alone, and router {kind} decides for all of them; expected projections "
                + "inside the blocks. Leave it out of adapter.target_modules.", error.Message);
    }

    [Theory]
    [InlineData(
        """{"kind": "x-lora", "enable_softmax_topk": true}""",
        "router.enable_softmax_topk: true with top_k_lora: 0; expected a top_k_lora of at least 1 beside it. Where all "
            + "experts are kept, enable_softmax is enough.")]
    [InlineData(
        """{"kind": "x-lora", "enable_softmax": false, "balance": {"kind": "switch"}}""",
        "router.balance.kind: switch; expected none with enable_softmax: false. It balances probabilities, and there "
            + "are none.")]
    [InlineData(
        """{"kind": "glider", "embedding_size": 5}""",
        "router.embedding_size: 5 with query: prompt; expected 0 beside it. The base embeds prompts and descriptions "
            + "alike.")]
    public void Settings_that_contradict_each_other_are_refused(string router, string message)
    {
        var faults = new Faults();

        RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse(router, "router"), "router", faults), new RouterSize(4, 2));

        Assert.EndsWith(message, Assert.Single(faults.Items).ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3, "weights_scale_3")]
    [InlineData(100, "weights_scale_100")]
    public void Glider_adds_the_nearness_of_tasks_to_the_score_of_the_gates(double alpha, string expected)
    {
        var golden = Golden.Case("secondary.json", "glider");
        var router = new GliderRouter(
            new GliderRouterOptions
            {
                TopK = (int)golden.Parameter("k"), Alpha = alpha, Query = GliderRouterOptions.Given, EmbeddingSize = 5,
            },
            new RouterContext("m", 4, 3, 2, 1));
        Set(router, ("weight", golden.Input("V")));
        Fill(router, ("embeddings", golden.Input("expert_emb")), ("query", golden.Input("query_emb")));

        var decision = router.Route(golden.Input("u"), ForwardPass.ForInference());

        Golden.Near(golden.Expected(expected), decision.Gates);
        Golden.Near(golden.Expected("local") + (golden.Expected("cosine") * alpha), decision.Logits!, alpha * 1e-5);
    }

    [Fact]
    public void Glider_embeds_a_prompt_as_the_mean_of_what_the_base_makes_of_it()
    {
        var adapted = Attached("""{"kind": "glider", "top_k": 1, "alpha": 1000}""");
        var prompt = torch.arange(5, torch.int64).lt(3).expand(2, 5);
        var hidden = Tiny.New().Hidden(TinyModel.Ids, ForwardPass.ForInference()).narrow(1, 0, 3).mean([1]);
        // The second and the third expert are described by the two prompts themselves.
        foreach (var module in adapted.Modules)
            Fill(module.Router!, ("embeddings", torch.cat([-hidden.narrow(0, 0, 1), hidden], 0)));
        var pass = ForwardPass.ForInference(promptMask: prompt);

        adapted.Model.Hidden(TinyModel.Ids, pass);

        Assert.All(pass.Records<RoutingRecord>(), record => Assert.Equal(
            [1L, 1, 1, 1, 1, 2, 2, 2, 2, 2],
            record.Decision.Selected.to(torch.int64).argmax(-1).data<long>().ToArray()));
    }

    [Fact]
    public void A_fit_to_a_text_draws_nothing()
    {
        var tasks = torch.zeros([2], torch.int64);
        var context = new RouterContext("m", 4, 6, 2, 1) { Pool = new PoolPlace(3, 0) };
        var x = torch.ones([2, 3, 4]);

        foreach (var options in new RouterOptions[]
        {
            new PolyRouterOptions { Tasks = 1 }, new PostMoeRouterOptions(),
            new RexmoeRouterOptions { StartStep = 5, EndStep = 9 },
        })
        {
            var router = RouterCatalog.Create(options, context);
            Assert.True(router.Route(x, ForwardPass.ForFitting(tasks)).Gates.SameAs(
                router.Route(x, ForwardPass.ForInference(taskIds: tasks)).Gates));
        }
    }

    private AdaptedModel Attached(string router, string more = "")
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(
            $$"""{"method": "mixture", "r": 2, {{more}}"experts": {"count": 3}, "router": {{router}}}"""), seed: 1);
        AttachmentTests.FillUp(adapted);
        foreach (var module in adapted.Modules.Where(module => module.Router is GliderRouter))
            Fill(module.Router!, ("embeddings", torch.randn([3, 16], generator: Seeds.GeneratorFor(6, "tasks"))));
        return adapted;
    }

    // Adapters of several ranks in one stack, their scales in B.
    private static (Router Router, MixtureProjection Projection) Layerwise(
        Golden golden, int kept, bool softmax, int layer, double before)
    {
        const int Rank = 2;
        var scales = golden.Parameters("adapter_scaling");
        var (downs, ups) = (golden.Inputs("A"), golden.Inputs("B"));
        var down = torch.zeros([3 * Rank, 4]);
        var up = torch.zeros([3, 3 * Rank]);
        for (var expert = 0; expert < 3; expert++)
        {
            var rank = downs[expert].shape[0];
            down.narrow(0, expert * Rank, rank).copy_(downs[expert]);
            up.narrow(1, expert * Rank, rank).copy_(ups[expert] * scales[expert]);
        }

        var router = New(new XloraRouterOptions
        {
            LayerwiseScalings = true, TopKLora = kept, EnableSoftmaxTopk = softmax, ScalingPassValue = before,
            SoftmaxTemperature = golden.Parameter("softmax_temperature"),
            GlobalScalingWeight = golden.Parameter("global_scaling_weight"),
        });
        Set(router, ("weight", golden.Input("layerwise_W").narrow(0, layer * 3, 3)),
            ("bias", golden.Input("layerwise_b").narrow(0, layer * 3, 3)));
        return (router, new MixtureProjection(
            new BaseLinear(Query, golden.Input("W").ToParameter(false)), new MixtureShape(3, Rank, 1), router,
            down.ToParameter(false), up.ToParameter(false)));
    }

    private static XloraRouter New(XloraRouterOptions options, string path = "m", SharedParts? shared = null) => new(
        options, new RouterContext(path, 4, 3, 2, 1, Shared: shared ?? new SharedParts()) { HiddenSize = 4 });

    private static ForwardPass After(Golden golden, ForwardPass pass)
    {
        pass.Emit(new PreliminaryHidden(golden.Input("hidden")));
        return pass;
    }

    private static void Set(Router router, params (string Name, Tensor Value)[] values)
    {
        using var off = torch.no_grad();
        var held = router.named_parameters().ToDictionary(pair => pair.name, pair => pair.parameter);
        foreach (var (name, value) in values)
            held[name].copy_(value);
    }

    private static void Fill(Router router, params (string Name, Tensor Value)[] values)
    {
        using var off = torch.no_grad();
        var held = router.named_buffers().ToDictionary(pair => pair.name, pair => pair.buffer);
        foreach (var (name, value) in values)
            held[name].copy_(value);
    }
}
