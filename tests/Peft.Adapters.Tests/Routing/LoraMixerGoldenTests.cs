using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Every case of lora_mixer.json, to 1e-5.</summary>
public sealed class LoraMixerGoldenTests : TensorTests
{
    private const string File = "lora_mixer.json";

    [Fact]
    public void Soft_routing_weighs_all_experts()
    {
        var golden = Golden.Case(File, "soft_and_topk_routing");
        foreach (var options in new RouterOptions[] { new SoftRouterOptions(), new HardSoftRouterOptions() })
        {
            var projection = Build(golden, options);
            var pass = ForwardPass.ForTraining();

            var output = projection.Forward(golden.Input("x"), pass);

            var record = Assert.Single(pass.Records<RoutingRecord>());
            Golden.Near(golden.Expected("logits"), record.Decision.Logits!);
            Golden.Near(golden.Expected("p"), record.Decision.Probabilities!);
            Golden.Near(golden.Expected("p"), record.Decision.Gates);
            Golden.Near(golden.Expected("soft_output"), output);
        }
    }

    [Theory]
    [InlineData(true, "weights_renorm", "topk_output_renorm")]
    [InlineData(false, "weights_raw", "topk_output_raw")]
    public void Top_k_keeps_the_best(bool normalize, string weights, string expected)
    {
        var golden = Golden.Case(File, "soft_and_topk_routing");
        foreach (var options in new RouterOptions[]
        {
            new TopKRouterOptions { TopK = 2, Normalize = normalize },
            new HardSoftRouterOptions { TopK = 2, Normalize = normalize },
        })
        {
            var projection = Build(golden, options);
            var pass = ForwardPass.ForInference();

            var output = projection.Forward(golden.Input("x"), pass);

            var decision = pass.Records<RoutingRecord>()[0].Decision;
            Golden.Near(golden.Expected("topk_indices"), Selection.TopIndices(decision.Probabilities!, 2));
            Golden.Near(golden.Expected(weights), decision.Gates);
            Golden.Near(golden.Expected(expected), output);
        }
    }

    [Fact]
    public void Hard_routing_goes_by_domain_id_and_only_that_expert_learns()
    {
        var golden = Golden.Case(File, "hard_routing_by_domain_id");
        var projection = Build(golden, new HardSoftRouterOptions { Stage = "hard" });
        var ids = golden.Input("domain_id").to(torch.int64);
        var pass = ForwardPass.ForTraining(taskIds: ids);

        var output = projection.Forward(golden.Input("x"), pass);
        output.sum().backward();

        Golden.Near(golden.Expected("weights").reshape(4, 3), pass.Records<RoutingRecord>()[0].Decision.Gates);
        Golden.Near(golden.Expected("output"), output);
        Assert.Equal(0, projection.Up.grad!.narrow(1, 2, 2).abs().sum().ToDouble());
        Assert.True(projection.Up.grad!.narrow(1, 0, 2).abs().sum().ToDouble() > 0);
        Assert.True(projection.Up.grad!.narrow(1, 4, 2).abs().sum().ToDouble() > 0);
    }

    [Theory]
    [InlineData("as-written")]
    [InlineData("specialising")]
    public void The_specialization_loss_and_its_gradient_for_both_signs(string sign)
    {
        var golden = Golden.Case(File, "routing_specialization_loss");
        var logits = golden.Input("logits").requires_grad_();
        var options = new RoutingSpecializationOptions
        {
            Alpha = golden.Parameter("alpha"),
            Lambda = golden.Parameter("lam"),
            EntropySign = sign,
        };

        var loss = RoutingSpecializationLoss.Of(logits.softmax(-1), null, options);
        loss.backward();

        var name = "rsl_" + sign.Replace('-', '_');
        Assert.Equal(golden.ExpectedNumber(name), loss.ToDouble(), 1e-5);
        Golden.Near(golden.Expected("grad_logits_" + name), logits.grad!);
    }

    [Fact]
    public void The_parts_of_the_specialization_loss()
    {
        var golden = Golden.Case(File, "routing_specialization_loss");
        var p = golden.Input("logits").softmax(-1);
        var alpha = golden.Parameter("alpha");

        Golden.Near(golden.Expected("p"), p);
        Golden.Near(golden.Expected("p_bar"), TokenMean.OfRows(p, null));
        Golden.Near(golden.Expected("f_top1"), TokenMean.OfRows(Selection.TopMask(p, 1).to(torch.float32), null));
        Golden.Near(golden.Expected("f_topk"), TokenMean.OfRows(Selection.TopMask(p, 2).to(torch.float32), null) / 2);
        Assert.Equal(
            golden.ExpectedNumber("aux_top1"), alpha * RoutingSpecializationLoss.Balance(p, null, 1).ToDouble(), 1e-5);
        Assert.Equal(
            golden.ExpectedNumber("aux_topk"), alpha * RoutingSpecializationLoss.Balance(p, null, 2).ToDouble(), 1e-5);
        Assert.Equal(
            golden.ExpectedNumber("aux_sum_p_squared"), alpha * RoutingSpecializationLoss.SquaredMean(p, null)
            .ToDouble(), 1e-5);
        Assert.Equal(
            golden.ExpectedNumber("mean_entropy"), RoutingSpecializationLoss.MeanEntropy(p, null).ToDouble(), 1e-5);
    }

    [Fact]
    public void The_total_adds_specialization_and_preservation()
    {
        var golden = Golden.Case(File, "total_loss_with_preservation");
        var theta = golden.Input("theta").requires_grad_();

        var preserve = PreservationLoss.Of([(theta, golden.Input("theta0"))], golden.Parameter("beta"));
        preserve.backward();

        var total = golden.InputNumber("task_loss") + (golden.Parameter("alpha_outer") * golden.InputNumber("rsl"))
            + preserve.ToDouble();
        Assert.Equal(golden.ExpectedNumber("preserve"), preserve.ToDouble(), 1e-5);
        Assert.Equal(golden.ExpectedNumber("total"), total, 1e-5);
        Golden.Near((golden.Input("theta") - golden.Input("theta0")) * (2 * golden.Parameter("beta")), theta.grad!);
    }

    private static MixtureProjection Build(Golden golden, RouterOptions options)
    {
        var weight = golden.Input("W");
        var a = golden.Input("A"); // [E, R, D]
        var b = golden.Input("B"); // [E, O, R]
        var (experts, rank, width) = ((int)a.shape[0], (int)a.shape[1], a.shape[2]);
        var router = RouterCatalog.Create(options, new RouterContext("m", width, experts, rank, 1));
        if (options is not HardSoftRouterOptions { Stage: "hard" })
        {
            using var off = torch.no_grad();
            router.named_parameters().Single().parameter.copy_(golden.Input("R"));
        }
        var projection = new MixtureProjection(
            new BaseLinear("m", weight.ToParameter(false)),
            new MixtureShape(experts, rank, golden.Parameter("expert_scale")),
            router,
            a.reshape(experts * rank, width).ToParameter());
        using (torch.no_grad())
            projection.Up.copy_(b.permute(1, 0, 2).reshape(weight.shape[0], experts * rank));
        return projection;
    }
}
