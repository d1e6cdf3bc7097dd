using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>The cases of secondary.json whose methods are here, to 1e-5.</summary>
public sealed class SecondaryGoldenTests : TensorTests
{
    private const string File = "secondary.json";

    [Fact]
    public void Sparsegen_projects_and_its_losses()
    {
        var golden = Golden.Case(File, "ldmole_sparsegen");
        var (u, lambda) = (golden.Input("u"), golden.Input("lam"));
        var (eps, k) = (golden.Parameter("eps"), (int)golden.Parameter("k"));

        var (p, open) = Sparsegen.Project(u, lambda, eps);
        var (lower, upper) = Sparsegen.Bounds(u, k);

        Golden.Near(golden.Expected("p"), p);
        Golden.Near(golden.Expected("prop"), p.mean([0]));
        var counts = open.to(torch.float32).sum(0L);
        Golden.Near(golden.Expected("freq"), counts / counts.sum());
        Golden.Near(golden.Expected("lambda_lower"), lower);
        Golden.Near(golden.Expected("lambda_upper"), upper);
        Assert.Equal(
            golden.ExpectedNumber("sparsity_loss"),
            Sparsegen.SparsityLoss(u, lambda.unsqueeze(1), k, null).ToDouble(), 1e-5);
        Assert.Equal(golden.ExpectedNumber("balance_loss"), Sparsegen.BalanceLoss(p, open, null).ToDouble(), 1e-5);
        var weights = torch.arange(4, torch.float32) + 1;
        u = torch.randn([3, 4], generator: Seeds.GeneratorFor(1, "scores")); // the golden scores lie on a kink
        Differences.Agree(
            x => (Sparsegen.Project(x, lambda, eps).Gates * weights).sum(), u, step: 1e-3, tolerance: 1e-2);
        Differences.Agree(
            x => (Sparsegen.Project(u, x, eps).Gates * weights).sum(), lambda, step: 1e-3, tolerance: 1e-2);
    }

    [Fact]
    public void Top_p_keeps_the_expert_that_crosses_and_raw_weights()
    {
        var golden = Golden.Case(File, "dynamic_moe_top_p");
        var logits = golden.Input("logits");
        var p = logits.softmax(-1);

        var mask = Selection.NucleusMask(p, golden.Parameter("p"), 1, keepsCrossing: true);

        Golden.Near(golden.Expected("probs"), p);
        Golden.Near(golden.Expected("mask"), mask.to(torch.float32));
        Golden.Near(golden.Expected("weights"), Selection.Gates(p, mask, normalize: false));
        RoutingRecord[] records = [new("m", new RoutingDecision(p, mask, p, logits))];
        var loss = new TopPRouterOptions().OwnLosses().Single();
        Assert.Equal(
            golden.ExpectedNumber("dynamic_entropy_loss"), loss.Of(records, new RoutedTokens(null)).ToDouble(), 1e-5);
        Differences.Agree(
            x => loss.Of([new("m", new RoutingDecision(x, mask, x.softmax(-1)))], new RoutedTokens(null)), logits);
    }

    [Fact]
    public void Loss_free_balancing_chooses_with_the_bias_and_weighs_without()
    {
        var golden = Golden.Case(File, "alf_lb");
        var (s, bias) = (golden.Input("s"), golden.Input("b"));
        foreach (var normalize in new[] { true, false })
        {
            var options = new TopKRouterOptions
            {
                TopK = (int)golden.Parameter("k"), Normalize = normalize, ScoringFunc = "sigmoid",
                Balance = new BalanceOptions { Kind = BalanceOptions.LossFree, Rate = golden.Parameter("u") },
            };
            // Inputs are the logits themselves: the router's matrix is the identity.
            var router = new TopKRouter(options, new RouterContext("m", 4, 4, 2, 1));
            using (torch.no_grad())
            {
                router.named_parameters().Single().parameter.copy_(torch.eye(4));
                router.named_buffers().Single().buffer.copy_(bias);
            }

            var decision = router.Route((s / (1 - s)).log(), ForwardPass.ForTraining());

            var indices = golden.Expected("indices").to(torch.int64);
            Golden.Near(golden.Expected(normalize ? "gates_renorm" : "gates"), decision.Gates.gather(1, indices));
            Assert.Equal(2.0 * s.shape[0], decision.Selected.to(torch.float32).sum().ToDouble());
            var counts = decision.Selected.to(torch.float32).sum(0L);
            Golden.Near(golden.Expected("counts"), counts);
            router.Balance(new(counts));
            Golden.Near(golden.Expected("new_b"), router.named_buffers().Single().buffer, 1e-6);
        }
    }

    [Fact]
    public void The_localized_constraint_of_loramoe()
    {
        var golden = Golden.Case(File, "loramoe_lbc");
        var gates = golden.Input("route_weight").reshape(6, 4);
        var types = golden.Input("task_type").to(torch.int64);

        Assert.Equal(
            golden.ExpectedNumber("loss"), LocalizedBalanceLoss.Of(gates, null, types, golden.Parameter("delta"))
            .ToDouble(), 1e-5);
        Differences.Agree(x => LocalizedBalanceLoss.Of(x, null, types, golden.Parameter("delta")), gates);
        var options = new BalanceOptions { Kind = BalanceOptions.Localized, TaskTypes = [0, 1] };
        var error = Assert.Throws<TaskIdException>(() => LocalizedBalanceLoss.Of([], new RoutedTokens(null), options));
        Assert.StartsWith("adapter.router.balance: the batch has no task ids", error.Message, StringComparison.Ordinal);
    }
}
