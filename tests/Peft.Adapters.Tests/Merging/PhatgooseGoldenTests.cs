using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Merging;

/// <summary>The cases of phatgoose.json and Arrow's of secondary.json, to 1e-5.</summary>
public sealed class PhatgooseGoldenTests : TensorTests
{
    private const string File = "phatgoose.json";

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_gate_scales_the_frozen_adapter_and_alone_learns(bool fromZero)
    {
        var golden = Golden.Case(File, "gate_training");
        var zero = golden.ExpectedSection("at_zero");
        var down = golden.Input("A").ToParameter(false);
        var router = new GateRouter(new GateRouterOptions(), new RouterContext("m", 4, 1, 2, 1));
        var projection = Projection(golden, router, down, experts: 1, trains: false);
        using (torch.no_grad())
        {
            projection.Up.copy_(golden.Input("B"));
            if (!fromZero)
                Vectors(router).copy_(golden.Input("v").unsqueeze(0));
        }
        var pass = ForwardPass.ForTraining();

        var output = projection.Forward(golden.Input("u"), pass);
        var error = output - golden.Input("target");
        var loss = (error * error).sum() * 0.5;
        loss.backward();

        Golden.Near(fromZero ? zero("output") : golden.Expected("output"), output);
        Golden.Near(
            fromZero ? torch.full([3], 0.5) : golden.Expected("gate"),
            pass.Records<RoutingRecord>()[0].Decision.Gates.reshape(3));
        Golden.Near(
            fromZero ? zero("loss").reshape(1) : torch.tensor([(float)golden.ExpectedNumber("loss")], [1]),
            loss.reshape(1));
        Golden.Near((fromZero ? zero("grad_v") : golden.Expected("grad_v")).unsqueeze(0), Vectors(router).grad!);
        Assert.Null(projection.Up.grad);
        Assert.Null(down.grad);
    }

    [Fact]
    public void Standardised_gates_choose_the_best_experts_of_every_token()
    {
        var golden = Golden.Case(File, "inference_routing");
        var options = new PhatgooseRouterOptions { TopK = (int)golden.Parameter("k") };
        var router = new StandardizedRouter(options, new RouterContext("m", 4, 4, 2, 1));
        var down = golden.Input("A").reshape(8, 4).ToParameter(false);
        var projection = Projection(golden, router, down, experts: 4, trains: false);
        using (torch.no_grad())
        {
            projection.Up.copy_(golden.Input("B").transpose(0, 1).reshape(3, 8));
            Vectors(router).copy_(golden.Input("V"));
        }
        var pass = ForwardPass.ForInference();

        var output = projection.Forward(golden.Input("u"), pass);

        var decision = pass.Records<RoutingRecord>()[0].Decision;
        Golden.Near(golden.Expected("u_ln"), torch.nn.functional.layer_norm(golden.Input("u"), [4]));
        Golden.Near(golden.Expected("v_ln"), torch.nn.functional.layer_norm(golden.Input("V"), [4]));
        Golden.Near(golden.Expected("scores"), decision.Logits!);
        Golden.Near(golden.Expected("p"), decision.Probabilities!);
        Golden.Near(golden.Expected("weights"), decision.Gates);
        Golden.Near(golden.Expected("weights_paper_softmax_over_topk"), decision.Gates, 1e-5);
        Assert.All(
            golden.Expected("topk_indices").to(torch.int64).data<long>().ToArray().Chunk(2)
                .Zip(decision.Selected.to(torch.float32).data<float>().ToArray().Chunk(4)),
            pair => Assert.Equal(
                pair.First.Order(), Enumerable.Range(0, 4).Where(e => pair.Second[e] != 0).Select(e => (long)e)));
        Golden.Near(golden.Expected("output"), output);
    }

    [Fact]
    public void The_mean_of_updates_is_the_papers_merged_expert()
    {
        var golden = Golden.Case(File, "merged_experts_baseline");
        var inputs = MergeGoldenTests.Inputs(golden.Input("A"), golden.Input("B"), [1, 1, 1, 1], [.5, .5, .5, .5]);

        Golden.Near(golden.Expected("delta_W"), new AverageMerge().Merge(inputs, new MergeOptions()).Product());
    }

    [Fact]
    public void Arrow_compares_tokens_with_the_first_singular_vector()
    {
        var golden = Golden.Case("secondary.json", "arrow");
        var inputs = MergeGoldenTests.Inputs(golden.Input("A"), golden.Input("B"), [1, 1, 1], [1, 1, 1]);
        var prototypes = torch.stack([.. inputs.Present.Select(ArrowMerge.Prototype)]);
        var values = torch.stack(
            [.. inputs.Present.Select(input => LowRank.Svd(new LowRankUpdate(input.Down, input.Up)).S)]);

        Golden.Near(golden.Expected("prototypes"), prototypes);
        Golden.Near(golden.Expected("singular_values"), values);
        foreach (var (k, weights) in new[] { ((int)golden.Parameter("k"), "weights_topk"), (3, "weights_soft_all") })
        {
            var router = new ArrowRouter(
                new ArrowRouterOptions { TopK = k, Temperature = golden.Parameter("temperature") }, new RouterContext(
                    "m", 4, 3, 2, 1));
            using (torch.no_grad())
                Vectors(router).copy_(prototypes);

            var decision = router.Route(golden.Input("x"), ForwardPass.ForInference());

            Golden.Near(golden.Expected("sim"), decision.Logits!);
            Golden.Near(golden.Expected(weights), decision.Gates);
        }
    }

    [Fact]
    public void An_expert_that_lacks_the_module_is_never_chosen()
    {
        var router = new StandardizedRouter(
            new PhatgooseRouterOptions { TopK = 2 }, new RouterContext("m", 4, 3, 2, 1));
        using var off = torch.no_grad();
        router.named_buffers().Single().buffer.copy_(torch.tensor(new[] { false, true, false }, [3]));

        var decision = router.Route(
            torch.randn([5, 4], generator: Seeds.GeneratorFor(1, "x")), ForwardPass.ForInference());

        Golden.Near(torch.tensor(new[] { 0f, 1f, 0f }, [3]).unsqueeze(0).expand(5, 3), decision.Gates);
        Assert.Equal(5, decision.Selected.to(torch.float32).sum().ToDouble());
    }

    private static Parameter Vectors(Router router) => router.named_parameters().Single().parameter;

    private static MixtureProjection Projection(
        Golden golden, Router router, Parameter down, int experts, bool trains) => new(
        new BaseLinear("m", golden.Input("W").ToParameter(false)),
        new MixtureShape(experts, 2, 1 / golden.Parameter("r")), router, down,
        torch.zeros([golden.Input("W").shape[0], experts * 2L]).ToParameter(trains));
}
