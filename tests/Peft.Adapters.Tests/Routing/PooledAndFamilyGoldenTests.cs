using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Post-MoE's family routing and ReXMoE's pools: their cases of second.json, to 1e-5.</summary>
public sealed class PooledAndFamilyGoldenTests : TensorTests
{
    private const string File = "second.json";

    [Fact]
    public void A_family_takes_the_last_place_where_it_is_not_chosen()
    {
        var golden = Golden.Case(File, "post_moe_hybrid_routing");
        var logits = golden.Input("logits").requires_grad_();
        var p = logits.softmax(-1);
        var k = (int)golden.Parameter("k");

        var selected = PostMoeRouter.WithFamily(p, golden.Input("family").to(torch.int64), k);

        var gates = Selection.Gates(p, selected, normalize: false);
        Golden.Near(golden.Expected("probs"), p);
        Golden.Near(golden.Expected("top2"), Selection.TopIndices(p, k).to(torch.float32));
        Golden.Near(golden.Expected("weights"), gates.gather(1, golden.Expected("selected").to(torch.int64)));
        Golden.Near(golden.Expected("output"), Output(golden, gates));
        Golden.Near(
            golden.Expected("output_renormalised"), Output(golden, Selection.Gates(p, selected, normalize: true)));
        Golden.Near(
            golden.Expected("output_inference"), Output(golden, Selection.Gates(
                p, Selection.TopMask(p, k), normalize: false)));
        (Output(golden, gates) * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected("grad_logits"), logits.grad!);
    }

    [Fact]
    public void Families_count_in_training_alone_and_several_tasks_may_have_one()
    {
        var options = new PostMoeRouterOptions { TopK = 1, TaskExperts = [2, -1, 2] };
        var router = new PostMoeRouter(options, new RouterContext("m", 4, 3, 2, 1));
        using (torch.no_grad())
            router.parameters().Single().copy_(torch.tensor([1f, 0, -1], [3, 1]).expand(3, 4));
        var tasks = torch.tensor(new long[] { 0, 1, 2 }, [3]);
        var x = torch.ones([3, 2, 4]);

        var trained = router.Route(x, ForwardPass.ForTraining(taskIds: tasks)).Selected.to(torch.int64).argmax(-1);
        var used = router.Route(x, ForwardPass.ForInference()).Selected.to(torch.int64).argmax(-1);

        Assert.Equal([2L, 2, 0, 0, 2, 2], trained.data<long>().ToArray());
        Assert.Equal([0L, 0, 0, 0, 0, 0], used.data<long>().ToArray());
        Assert.Equal(
            "m: task id 3; expected 0 to 2, one entry for each task. Extend adapter.router.task_experts (now 3), or "
                + "take the task out of the data.",
            Assert.Throws<TaskIdException>(() => router.Route(
                x, ForwardPass.ForTraining(taskIds: torch.tensor(new long[] { 0, 1, 3 }, [3])))).Message);
    }

    [Theory]
    [InlineData(
        """{"kind": "post-moe", "task_experts": [0, 4]}""",
        "router.task_experts: expert 4; expected experts from 0 to 3, or -1 for none.")]
    [InlineData(
        """{"kind": "post-moe", "task_experts": [-1]}""",
        "router.task_experts: -1; expected the expert of at least one task. Write kind: top-k where no task has an "
            + "expert of its own.")]
    [InlineData(
        """{"kind": "rexmoe", "start_step": 5, "end_step": 4}""",
        "router.end_step: 4; expected at least start_step = 5.")]
    [InlineData(
        """{"kind": "lily", "average": "mean", "balance": {"kind": "switch"}}""",
        "router.balance.kind: switch; expected none with average: mean. All experts weigh the same there.")]
    public void Settings_that_contradict_each_other_are_refused(string router, string message)
    {
        var faults = new Faults();

        RouterCatalog.Read(
            new OptionReader(ConfigJson.Parse(router, "router"), "router", faults), new RouterSize(4, 2));

        Assert.EndsWith(message, Assert.Single(faults.Items).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Candidates_open_with_the_steps()
    {
        var golden = Golden.Case(File, "rexmoe_progressive_routing");
        var options = new RexmoeRouterOptions
        {
            StartStep = (int)golden.Parameter("t_start"), EndStep = (int)golden.Parameter("t_end"),
        };
        var own = (int)golden.Parameter("N");

        var open = golden.Input("steps").data<float>().ToArray()
            .Select(step => (float)options.OpenAt(own, own * (int)golden.Parameter("r"), (long)step));

        Assert.Equal(golden.Expected("N_t").data<float>().ToArray(), open);
    }

    [Theory]
    [InlineData("keep_mask", "zero", false, "weights_raw")]
    [InlineData("keep_mask", "zero", true, "weights_renormalised")]
    [InlineData("keep_mask", "minus-inf", false, "weights_minus_inf")]
    [InlineData("own_mask", "minus-inf", false, "weights_own_first")]
    public void Closed_candidates_are_not_chosen(string mask, string masking, bool normalize, string expected)
    {
        var golden = Golden.Case(File, "rexmoe_progressive_routing");
        var logits = golden.Input("logits").requires_grad_();
        var options = new RexmoeRouterOptions
        {
            Masking = masking, Normalize = normalize, TopK = (int)golden.Parameter("k"),
        };

        var decision = RexmoeRouter.Choose(logits, golden.Input(mask).eq(0), options);

        Golden.Near(golden.Expected(expected), decision.Gates);
        golden.ChoosesAlone(mask == "own_mask" ? "indices_own_first" : "indices", decision.Selected);
        if (masking == "zero")
            Golden.Near(golden.Expected("probs"), decision.Probabilities!);
        if (expected != "weights_raw")
            return;
        (decision.Gates * golden.Input("cotangent")).sum().backward();
        Golden.Near(golden.Expected("grad_logits_raw"), logits.grad!);
    }

    [Fact]
    public void A_pool_is_the_experts_of_neighbouring_layers_side_by_side()
    {
        var adapted = Pooled();
        var module = adapted.Modules[1];
        var x = torch.randn([5, 16], generator: Seeds.GeneratorFor(2, "x"));
        var pass = ForwardPass.ForInference();

        var y = module.Forward(x, pass);

        var gates = pass.Records<RoutingRecord>().Single().Decision.Gates;
        Assert.Equal([5, 6], gates.shape);
        var expected = module.Wrapped.Forward(x, pass);
        for (var candidate = 0; candidate < 6; candidate++)
        {
            var (owner, expert) = (adapted.Modules[candidate / 3], candidate % 3);
            expected += gates.select(1, candidate).unsqueeze(1)
                * x.mm(owner.DownOf(expert).t()).mm(owner.UpOf(expert).t()) * module.Shape.Scale;
        }

        Golden.Near(expected, y);
        Assert.Equal(
            ["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"],
            adapted.Modules.Select(one => one.Path));
    }

    [Fact]
    public void A_layer_teaches_the_experts_of_its_neighbours()
    {
        var adapted = Pooled();

        adapted.Modules[1].Forward(
            torch.randn([40, 16], generator: Seeds.GeneratorFor(2, "x")), ForwardPass.ForTraining()).sum().backward();

        Assert.True(adapted.Modules[0].Up.grad!.abs().sum().ToDouble() > 0);
        Assert.True(adapted.Modules[1].Up.grad!.abs().sum().ToDouble() > 0);
    }

    [Fact]
    public void Steps_are_counted_saved_and_open_the_pool_own_experts_first()
    {
        var adapted = Pooled(""", "start_step": 1, "end_step": 3, "own_first": true""");
        var procedure = new RoutingProcedure(adapted);
        var router = adapted.Modules[1].Router!;
        int[] Used()
        {
            var chosen = router.Route(
                torch.randn([200, 16], generator: Seeds.GeneratorFor(4, "x")), ForwardPass.ForInference()).Selected;
            return [.. chosen.any(0).to(torch.int64).data<long>().ToArray().Select(one => (int)one)];
        }

        Assert.Equal([0, 0, 0, 1, 1, 1], Used());
        procedure.AfterStep();
        procedure.AfterStep();
        Assert.Equal(4, Used().Sum());
        procedure.AfterStep();
        Assert.Equal(6, Used().Sum());
        Assert.Equal(3, adapted.State.Single(pair => pair.Name.EndsWith("1.self_attn.q_proj.router.steps",
            StringComparison.Ordinal)).Tensor.ToInt64());
    }

    [Fact]
    public void Pools_over_layers_of_other_shapes_are_refused()
    {
        PlannedModule[] modules =
        [
            new(new SelectedModule("layers.0.up_proj", 2, 4), 16, 24, 3),
            new(new SelectedModule("layers.1.up_proj", 2, 4), 16, 32, 3),
        ];

        var error = Assert.Throws<UserException>(() => new FactorPlan(modules, new RexmoeRouterOptions().Sharing));

        Assert.Equal(
            "layers.1.up_proj: 16 inputs, 32 outputs, 3 experts, rank 2, alpha 4; expected 16 inputs, 24 outputs, "
                + "3 experts, rank 2, alpha 4, as layers.0.up_proj has, whose experts it shares. Adapt projections of "
                + "one shape, or write a router without pools.",
            error.Message);
    }

    [Fact]
    public void Projections_of_one_name_in_other_places_of_a_layer_are_pools_of_their_own()
    {
        var modules = Enumerable.Range(0, 2).SelectMany(layer => new PlannedModule[]
        {
            new(new SelectedModule($"transformer.h.{layer}.attn.c_proj", 2, 4), 16, 16, 3),
            new(new SelectedModule($"transformer.h.{layer}.mlp.c_proj", 2, 4), 64, 16, 3),
        });

        var plan = new FactorPlan(modules, new RexmoeRouterOptions().Sharing);

        Assert.Equal(
            ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"], plan.PoolOf("transformer.h.1.mlp.c_proj"));
    }

    [Fact]
    public void All_experts_of_a_pool_are_counted_and_laid_side_by_side()
    {
        var modules = Pooled(""", "top_k": 1""").Modules;

        Assert.All(modules, module => Assert.Equal(6, module.Candidates));
        Assert.Equal(12, modules[1].AllColumns);
        Golden.Near(torch.cat([modules[0].Up, modules[1].Up], 1), modules[1].AllUp(), 0);
        Golden.Near(torch.cat([modules[0].Down, modules[1].Down], 0), modules[1].AllDown(), 0);
    }

    [Fact]
    public void A_pool_is_laid_side_by_side_once_a_pass_and_as_it_is_then()
    {
        var adapted = Pooled();
        var x = torch.randn([5, 16], generator: Seeds.GeneratorFor(2, "x"));
        var first = ForwardPass.ForInference();
        foreach (var module in adapted.Modules)
            module.Forward(x, first);
        var made = Assert.Single(first.Records<PoolFactors>());
        Assert.Equal([12, 16], made.Down.shape);
        using (torch.no_grad())
            adapted.Modules[0].Up.mul_(2);

        var second = ForwardPass.ForInference();
        adapted.Modules[1].Forward(x, second);

        Golden.Near(torch.cat([adapted.Modules[0].Up, adapted.Modules[1].Up], 1),
            Assert.Single(second.Records<PoolFactors>()).Up, 0);
    }

    private AdaptedModel Pooled(string more = "")
    {
        var adapted = AdapterAttachment.Attach(Tiny.New(), AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 2, "target_modules": ["q_proj"], "experts": {"count": 3}, "router": {"kind":"""
            + $$$""" "rexmoe"{{{more}}}}}"""), seed: 1);
        AttachmentTests.FillUp(adapted);
        return adapted;
    }

    // Σ_e g_e y_e of given expert outputs [N, E, O].
    private static Tensor Output(Golden golden, Tensor gates) =>
        (gates.unsqueeze(-1) * golden.Input("expert_outputs")).sum(1L);
}
