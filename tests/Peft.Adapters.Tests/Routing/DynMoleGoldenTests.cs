using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>Every case of dynmole.json, to 1e-5.</summary>
public sealed class DynMoleGoldenTests : TensorTests
{
    private const string File = "dynmole.json";

    [Fact]
    public void Routing_drops_the_expert_that_crosses_and_turns_soft_above_the_threshold()
    {
        var golden = Golden.Case(File, "routing");
        var options = Options(golden);
        var p = golden.Input("logits").softmax(-1);

        var selected = TsallisRouter.Select(p, options);

        Golden.Near(golden.Expected("p"), p);
        Golden.Near(golden.Expected("entropy"), options.EntropyOf(p));
        Golden.Near(golden.Expected("mask"), selected.to(torch.float32));
        Golden.Near(golden.Expected("weights"), Selection.Gates(p, selected, normalize: false));
        Golden.Near(golden.Expected("active"), selected.to(torch.float32).sum(-1));
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(1.1)]
    [InlineData(1.4)]
    [InlineData(1.5)]
    [InlineData(2.0)]
    public void Tsallis_entropy_of_every_index(double q)
    {
        var golden = Golden.Case(File, "entropies");

        var entropy = NormalizedEntropy.Tsallis(golden.Input("p"), q, golden.Parameter("eps"));

        Golden.Near(golden.Expected(string.Create(CultureInfo.InvariantCulture, $"tsallis_q{q:0.0}")), entropy);
        // Rows without zeros: the slope of Shannon's at zero is infinite.
        Differences.Agree(
            p => (NormalizedEntropy.Tsallis(p.softmax(-1), q, 1e-5) * torch.tensor(new[] { 1f, 2f }, [2])).sum(),
            torch.randn([2, 6], generator: Seeds.GeneratorFor(1, "p")));
    }

    [Fact]
    public void Entropies_without_normalisation_and_of_renyi()
    {
        var golden = Golden.Case(File, "entropies");
        var p = golden.Input("p");

        Golden.Near(
            golden.Expected("tsallis_q1.1_unnormalised"),
            NormalizedEntropy.Tsallis(p, 1.1, golden.Parameter("eps"), normalize: false));
        Golden.Near(golden.Expected("renyi_a1.1"), NormalizedEntropy.Renyi(p, 1.1, golden.Parameter("eps")));
    }

    [Fact]
    public void Losses_pool_all_modules_and_the_entropy_counts_padding()
    {
        var golden = Golden.Case(File, "aux_loss");
        var options = Options(golden) with
        {
            EntropyCoefficient = golden.Parameter("router_dyn_loss_coef"),
            BalanceCoefficient = golden.Parameter("router_aux_loss_coef"),
        };
        var logits = golden.Input("router_logits");
        var mask = golden.Input("attention_mask").gt(0.5).reshape(-1);
        IReadOnlyList<RoutingRecord> Records(Tensor all) => [.. Enumerable.Range(0, 2).Select(i =>
        {
            var p = all.narrow(0, 6 * i, 6).softmax(-1);
            var selected = TsallisRouter.Select(p, options);
            return new RoutingRecord(
                $"m{i}", new RoutingDecision(Selection.Gates(p, selected, false), selected, p, all));
        })];
        var records = Records(logits);

        Assert.Equal(golden.ExpectedNumber("entropy_loss"), options.EntropyLoss(records, null).ToDouble(), 1e-5);
        Assert.Equal(
            golden.ExpectedNumber("load_balance_loss"), TsallisRouterOptions.SoftBalanceLoss(records, mask).ToDouble(),
            1e-5);
        Tensor Total(IReadOnlyList<RoutingRecord> all) => options.OwnLosses()
            .Select(term => term.Of(all, new RoutedTokens(mask)) * term.Coefficient).Aggregate((a, b) => a + b);
        Assert.Equal(golden.ExpectedNumber("total"), Total(records).ToDouble(), 1e-5);
        Differences.Agree(x => Total(Records(x)) * 100, logits);
    }

    [Fact]
    public void Leaving_padding_out_changes_the_entropy_loss()
    {
        var golden = Golden.Case(File, "aux_loss");
        var options = Options(golden);
        var p = golden.Input("router_logits").narrow(0, 0, 6).softmax(-1);
        var mask = golden.Input("attention_mask").gt(0.5).reshape(-1);
        RoutingRecord[] records = [new("m", new RoutingDecision(p, p.gt(0), p, p))];

        var rows = golden.Expected("entropy_rows").narrow(0, 0, 6) * mask.to(torch.float32);

        Assert.Equal(
            rows.sum().ToDouble() / mask.to(torch.float32).sum().ToDouble(), options.EntropyLoss(records, mask)
            .ToDouble(), 1e-5);
    }

    [Fact]
    public void The_layer_adds_experts_with_raw_probabilities()
    {
        var golden = Golden.Case(File, "forward");
        var a = golden.Input("A"); // [E, R, D]
        var b = golden.Input("B"); // [E, O, R]
        var router = new TsallisRouter(Options(golden), new RouterContext("m", 4, 4, 2, 1));
        using (torch.no_grad())
            router.named_parameters().Single().parameter.copy_(golden.Input("gate"));
        var projection = new MixtureProjection(
            new BaseLinear("m", golden.Input("W").ToParameter(false)), new MixtureShape(
                4, 2, golden.Parameter("alpha_over_r")), router,
            a.reshape(8, 4).ToParameter());
        using (torch.no_grad())
            projection.Up.copy_(b.permute(1, 0, 2).reshape(3, 8));
        foreach (var pass in new[] { ForwardPass.ForTraining(), ForwardPass.ForInference() })
        {
            var output = projection.Forward(golden.Input("x"), pass);

            Golden.Near(golden.Expected("weights"), pass.Records<RoutingRecord>()[0].Decision.Gates);
            Golden.Near(golden.Expected("output"), output);
        }
    }

    [Fact]
    public void Keeping_the_crossing_expert_is_nucleus_sampling()
    {
        var p = torch.tensor(new[] { 0.5f, 0.3f, 0.15f, 0.05f }, [1, 4]);

        Assert.Equal(
            [1f, 1f, 0f, 0f], Selection.NucleusMask(p, 0.7, 1, keepsCrossing: true).to(torch.float32).data<float>()
            .ToArray());
        Assert.Equal(
            [1f, 0f, 0f, 0f], Selection.NucleusMask(p, 0.7, 1, keepsCrossing: false).to(torch.float32).data<float>()
            .ToArray());
    }

    private static TsallisRouterOptions Options(Golden golden) => new()
    {
        Threshold = golden.Parameter("threshold"), EntropyIndex = golden.Parameter("q"), Eps = golden.Parameter("eps"),
        KeepTopK = (int)golden.Parameter("keep_top_k"), TopP = golden.Parameter("top_p"),
    };
}
