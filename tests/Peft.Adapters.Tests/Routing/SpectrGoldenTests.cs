using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

/// <summary>SpectR's scores, choice and mixture, to 1e-5.</summary>
public sealed class SpectrGoldenTests : TensorTests
{
    private readonly Golden _golden = Golden.Case("second.json", "spectr");

    [Theory]
    [InlineData("update", "paper", "paper")]
    [InlineData("directions", "code", "code_weights")]
    public void An_expert_is_chosen_by_its_update_or_its_directions(string score, string source, string mixture)
    {
        var (x, weight) = (_golden.Input("x"), _golden.Input("W"));
        var (down, up) = (_golden.Input("A"), _golden.Input("B"));
        var (E, R, D) = (down.shape[0], down.shape[1], down.shape[2]);
        var stacked = down.reshape(E * R, D).ToParameter(false);
        var options = new SpectrRouterOptions { TopK = (int)_golden.Parameter("k"), Score = score };
        var scale = _golden.Parameter("scaling");

        RoutingDecision Route(double own)
        {
            var router = new SpectrRouter(
                options, new RouterContext("m", D, (int)E, (int)R, 0, stacked));
            var factors = router.named_buffers().Single(buffer => buffer.name == SpectrRouter.FactorsName).buffer;
            factors.copy_(torch.cat([.. Enumerable.Range(0, (int)E).Select(e => SpectrMerge.FactorOf(
                new MergeInput(e, "", 1, own, down.select(0, e), up.select(0, e)), score))], 0));
            return router.Route(x, ForwardPass.ForInference());
        }

        foreach (var (e, values) in _golden.Expected("singular_values").unbind(0).Index())
        {
            var factor = SpectrMerge.FactorOf(
                new MergeInput(e, "", 1, 1, down.select(0, e), up.select(0, e)), score);
            // P A has the update's singular values, or 2 for each of its directions.
            Golden.Near(
                score == "update" ? values : torch.full_like(values, 2),
                torch.linalg.svdvals(factor.mm(down.select(0, e))));
        }

        var decision = Route(1);
        Golden.Near(_golden.Expected($"score_{source}"), decision.Logits!);
        Golden.Near(_golden.Expected($"weights_{source}"), decision.Gates);
        var scaled = Route(scale);
        // An update's own scale counts; its directions have none.
        Golden.Near(_golden.Expected($"score_{source}") * (score == "update" ? scale : 1), scaled.Logits!, 2e-5);
        var sideBySide = up.transpose(0, 1).reshape(up.shape[1], E * R);
        Golden.Near(_golden.Expected($"output_mixture_{mixture}"), Fused.lora_mixture_linear(
            x, weight, null, stacked, sideBySide, scaled.Gates, scale, null, scaled.Selected));
    }
}
