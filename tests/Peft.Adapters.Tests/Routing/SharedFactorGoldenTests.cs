using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>The cases of methods whose experts have matrices in common, or average them, to 1e-5.</summary>
public sealed class SharedFactorGoldenTests : TensorTests
{
    private const string File = "second.json";

    [Fact]
    public void Hydra_weighs_several_B_behind_one_A()
    {
        var golden = Golden.Case(File, "hydralora");
        var (router, projection) = Build(golden, new HydraRouterOptions(), "B", "A", golden.Parameter("scaling"));
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(golden.Input("x"), pass);
        (output * golden.Input("cotangent")).sum().backward();

        Golden.Near(golden.Expected("probs"), pass.Records<RoutingRecord>()[0].Decision.Gates);
        Golden.Near(golden.Expected("output"), output);
        Golden.Near(golden.Expected("grad_router"), Weight(router).grad!);
        Golden.Near(golden.Expected("grad_A"), projection.Down.grad!);
        Golden.Near(golden.Expected("grad_B"), Heads(projection.Up.grad!));
    }

    [Theory]
    [InlineData("token", "per_token")]
    [InlineData("batch", "batch_mean")]
    [InlineData("sequence", "per_sequence")]
    [InlineData("mean", "monoscale")]
    public void Lily_averages_the_weights_of_its_router(string average, string variant)
    {
        var golden = Golden.Case(File, "lily");
        var options = new LilyRouterOptions { Average = average, Scaling = golden.Parameter("scaling") };
        // lily_B is [E·r, O], our B transposed.
        var stacked = golden.Input("lily_B").t().contiguous();
        var (router, projection) = Build(golden, options, stacked, golden.Input("lily_A"), 3, options.Scaling);
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(golden.Input("x"), pass);
        (output * golden.Input("cotangent")).sum().backward();

        var decision = pass.Records<RoutingRecord>()[0].Decision;
        Golden.Near(golden.Expected($"output_{variant}"), output);
        if (average == "token")
            Golden.Near(golden.Expected("probs").reshape(6, 3), decision.Gates);
        if (average == "batch")
            Golden.Near(golden.Expected("batch_mean_gates").expand(6, 3), decision.Gates);
        if (average is "token" or "batch")
        {
            Golden.Near(golden.Expected($"grad_router_{variant}"), Weight(router).grad!);
            Golden.Near(golden.Expected($"grad_A_{variant}"), projection.Down.grad!);
            Golden.Near(golden.Expected($"grad_B_{variant}"), projection.Up.grad!.t());
        }
    }

    [Theory]
    [InlineData("core", "router_core", "")]
    [InlineData("full", "router_full", "_full_router")]
    public void Comol_merges_the_cores_between_one_A_and_one_B(string input, string weight, string variant)
    {
        var golden = Golden.Case(File, "comol");
        var (down, up, cores) = (golden.Input("A").ToParameter(), golden.Input("B").ToParameter(),
            golden.Input("cores").ToParameter());
        var router = new ComolRouter(
            new ComolRouterOptions { RouterInput = input }, new RouterContext("m", 4, 3, 2, 1, down));
        Set(router, golden.Input(weight));
        using var projection = new MixtureProjection(
            new BaseLinear("m", golden.Input("W").ToParameter(false)),
            new MixtureShape(3, 2, golden.Parameter("scaling")) { HasOneDown = true, HasCores = true }, router, down,
            up, cores: cores);
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(golden.Input("x"), pass);
        (output * golden.Input("cotangent")).sum().backward();

        var decision = pass.Records<RoutingRecord>()[0].Decision;
        Golden.Near(golden.Expected($"probs{variant}"), decision.Gates);
        Golden.Near(golden.Expected($"output{variant}"), output);
        // Each expert by itself is a LoRA, and all of them, weighed, are the mixture.
        var each = torch.stack(Enumerable.Range(0, 3).Select(expert => golden.Input("x")
            .mm(projection.DownOf(expert).t()).mm(projection.UpOf(expert).t())), 1);            // [N, E, O]
        Golden.Near(
            golden.Input("x").mm(golden.Input("W").t())
                + ((each * decision.Gates.unsqueeze(-1)).sum(1L) * golden.Parameter("scaling")), output);
        Golden.Near(
            golden.Input("W") + projection.WeightedUp(decision.Gates[0]).mm(projection.AllDown()),
            projection.Merge(golden.Input("W"), decision.Gates[0].detach()));
        if (input != "core")
            return;
        Golden.Near(golden.Expected("z"), decision.Hidden!);
        Golden.Near(
            golden.Expected("merged_cores"), decision.Gates.mm(cores.reshape(3, 4)).reshape(3, 2, 2));
        Golden.Near(golden.Expected("grad_router"), Weight(router).grad!);
        Golden.Near(golden.Expected("grad_cores"), cores.grad!);
        Golden.Near(golden.Expected("grad_A"), down.grad!);
        Golden.Near(golden.Expected("grad_B"), up.grad!);
    }

    [Fact]
    public void Comol_can_choose_some_of_its_cores()
    {
        var golden = Golden.Case(File, "comol");
        var router = new ComolRouter(
            new ComolRouterOptions { TopK = 1 }, new RouterContext("m", 4, 3, 2, 1, golden.Input("A").ToParameter()));
        Set(router, golden.Input("router_core"));

        var gates = router.Route(golden.Input("x"), ForwardPass.ForInference()).Gates;

        var p = golden.Expected("probs");
        Golden.Near(p.eq(p.amax([1L], keepdim: true)).to(torch.float32), gates);
    }

    [Fact]
    public void Lily_owners_are_the_first_of_their_neighbours()
    {
        var golden = Golden.Case(File, "lily");
        var modules = Enumerable.Range(0, (int)golden.Parameter("layers")).Select(
            layer => new PlannedModule(new SelectedModule($"layers.{layer}.q_proj", 2, 4), 4, 3, 3)).ToList();
        // Of another name or shape: a group of its own.
        modules.Insert(1, new PlannedModule(new SelectedModule("layers.0.k_proj", 2, 4), 4, 3, 3));
        modules.Insert(3, new PlannedModule(new SelectedModule("layers.1.k_proj", 2, 4), 4, 2, 3));
        var plan = new FactorPlan(
            modules, new LilyRouterOptions { StrideA = (int)golden.Parameter("stride_A") }.Sharing);

        foreach (var layer in Enumerable.Range(0, 5))
        {
            var (down, up) = (
                golden.Expected("A_owner_of_layer")[layer].ToInt32(),
                golden.Expected("B_owner_of_layer")[layer].ToInt32());
            Assert.Equal($"layers.{down}.q_proj", plan.DownOwner($"layers.{layer}.q_proj"));
            Assert.Equal($"layers.{up}.q_proj", plan.UpOwner($"layers.{layer}.q_proj"));
        }

        Assert.Equal("layers.1.k_proj", plan.UpOwner("layers.1.k_proj"));
    }

    [Fact]
    public void Poly_averages_A_and_B_by_block_with_the_weights_of_the_task()
    {
        var golden = Golden.Case("secondary.json", "poly_mhr");
        var (splits, skills, rank) = (
            (int)golden.Parameter("n_splits"), (int)golden.Parameter("n_skills"), (int)golden.Parameter("r"));
        var options = new PolyRouterOptions { Tasks = 2, Splits = splits };
        // PEFT has A [Q, S, D / Q, r] and B [Q, S, r, O / Q].
        var down = golden.Input("A").permute(1, 3, 0, 2).reshape(skills * rank, 4);
        var up = golden.Input("B").permute(0, 3, 1, 2).reshape(4, skills * rank);
        var router = new PolyRouter(options, new RouterContext("m", 4, skills, rank, 1) { Outputs = 4 });
        var projection = new MixtureProjection(
            new BaseLinear("m", torch.zeros([4, 4]).ToParameter(false)),
            new MixtureShape(skills, rank, options.ScaleOf(rank)!.Value), router, down.ToParameter(), up.ToParameter());
        Set(router, golden.Input("Z"));
        var pass = ForwardPass.ForInference(taskIds: golden.Input("task_ids").to(torch.int64));

        var output = projection.Forward(golden.Input("x"), pass);

        var mix = pass.Records<RoutingRecord>()[0].Decision.Mix!;
        Golden.Near(golden.Expected("w"), mix.Weights);
        Golden.Near(
            golden.Expected("A_mix"), mix.Down(projection.Down, rank).view(2, rank, 4).transpose(1, 2));
        Golden.Near(golden.Expected("B_mix"), mix.Up(projection.Up, rank).view(4, 2, rank).permute(1, 2, 0));
        Golden.Near(golden.Expected("output"), output);
    }

    [Fact]
    public void Poly_sends_gradients_to_the_weights_of_the_tasks_that_are_there()
    {
        var golden = Golden.Case("secondary.json", "poly_mhr");
        var options = new PolyRouterOptions { Tasks = 3, Splits = 2, Sampled = false };
        var cotangent = torch.randn([2, 3, 4], generator: Seeds.GeneratorFor(3, "cotangent"));
        var z = torch.cat([golden.Input("Z"), torch.zeros([1, 6])], 0);
        var router = new PolyRouter(options, new RouterContext("m", 4, 3, 2, 1) { Outputs = 4 });
        var projection = new MixtureProjection(
            new BaseLinear("m", torch.zeros([4, 4]).ToParameter(false)), new MixtureShape(3, 2, 0.5), router,
            golden.Input("A").permute(1, 3, 0, 2).reshape(6, 4).ToParameter(),
            golden.Input("B").permute(0, 3, 1, 2).reshape(4, 6).ToParameter());
        Set(router, z);
        Tensor Loss() => (projection.Forward(
            golden.Input("x"), ForwardPass.ForTraining(taskIds: torch.tensor(new long[] { 1, 0 }, [2]))) * cotangent)
            .sum();
        Loss().backward();

        foreach (var (_, parameter) in projection.AdapterParameters())
            Slopes(parameter, Loss);
        Assert.Equal(0, router.parameters().Single().grad!.select(0, 2).abs().sum().ToDouble());
    }

    [Fact]
    public void Poly_draws_weights_for_each_row_in_training_and_not_otherwise()
    {
        var router = new PolyRouter(new PolyRouterOptions { Tasks = 1 }, new RouterContext("m", 4, 3, 2, 1));
        var tasks = torch.zeros([2], torch.int64);

        var drawn = router.Route(torch.ones([2, 5, 4]), ForwardPass.ForTraining(Seeds.GeneratorFor(1, "z"), tasks));
        var means = router.Route(torch.ones([2, 5, 4]), ForwardPass.ForInference(taskIds: tasks));

        Assert.Equal([2, 1, 3], drawn.Mix!.Weights.shape);
        Assert.False(drawn.Gates[0].SameAs(drawn.Gates[5]));
        Assert.True(drawn.Gates[0].SameAs(drawn.Gates[4]));
        Assert.Equal([1, 1, 3], means.Mix!.Weights.shape);
        Golden.Near(torch.full([10, 3], 1 / 3.0), means.Gates, 1e-3);
    }

    [Fact]
    public void The_blocks_of_mhr_begin_as_layers_of_their_own_width()
    {
        using var tiny = new TinyModel();
        var options = """{"method": "mixture", "experts": {"count": 3}, "target_modules": ["q_proj"], "router": """;
        double Largest(string router) => AdapterAttachment.Attach(
            tiny.New(), AdapterOptionsTests.Read($"{options}{router}}}"), 1).Modules.Max(
            module => module.Down.abs().max().ToDouble());

        Assert.InRange(Largest("""{"kind": "poly"}"""), 0.2, 1 / Math.Sqrt(16));
        Assert.InRange(Largest("""{"kind": "poly", "splits": 4}"""), 0.4, 1 / Math.Sqrt(4));
    }

    [Fact]
    public void A_split_that_does_not_divide_a_projection_is_refused()
    {
        var error = Assert.Throws<UserException>(() => new PolyRouter(
            new PolyRouterOptions { Splits = 3 }, new RouterContext("layers.0.q_proj", 6, 3, 2, 1) { Outputs = 8 }));

        Assert.Equal(
            "layers.0.q_proj: 6 inputs and 8 outputs; expected multiples of adapter.router.splits = 3.", error.Message);
    }

    private static void Slopes(Tensor parameter, Func<Tensor> loss)
    {
        var gradient = parameter.grad!.contiguous().data<float>().ToArray();
        using var off = torch.no_grad();
        var flat = parameter.view(-1);
        for (var i = 0; i < gradient.Length; i++)
        {
            const double Step = 1e-2;
            double At(double change)
            {
                flat[i].add_(change);
                var value = loss().ToDouble();
                flat[i].sub_(change);
                return value;
            }

            Assert.Equal((At(Step) - At(-Step)) / (2 * Step), gradient[i], 2e-3);
        }
    }

    private static (Router Router, MixtureProjection Projection) Build(
        Golden golden, RouterOptions options, string up, string down, double scale)
    {
        var b = golden.Input(up);                                                              // [E, O, R]
        return Build(
            golden, options, b.permute(1, 0, 2).reshape(b.shape[1], -1), golden.Input(down), (int)b.shape[0], scale);
    }

    private static (Router Router, MixtureProjection Projection) Build(
        Golden golden, RouterOptions options, Tensor up, Tensor down, int experts, double scale)
    {
        var rank = (int)down.shape[0];
        var a = down.ToParameter();
        var router = RouterCatalog.Create(options, new RouterContext("m", down.shape[1], experts, rank, 1, a));
        if (router.parameters().Any())
            Set(router, golden.Input("router"));
        return (router, new MixtureProjection(
            new BaseLinear("m", golden.Input("W").ToParameter(false)),
            new MixtureShape(experts, rank, scale) { HasOneDown = true }, router, a, up.ToParameter()));
    }

    private static void Set(Router router, Tensor value)
    {
        using var off = torch.no_grad();
        router.parameters().Single().copy_(value);
    }

    private static Parameter Weight(Router router) => router.parameters().Single();

    // [O, E·R] → [E, O, R].
    private static Tensor Heads(Tensor up) => up.view(3, 3, 2).permute(1, 0, 2);
}
