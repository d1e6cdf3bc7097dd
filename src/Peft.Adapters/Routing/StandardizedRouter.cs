using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="StandardizedRouter"/> over trained gates.</summary>
public sealed record PhatgooseRouterOptions : PrototypeRouterOptions;

/// <summary>Settings of <see cref="StandardizedRouter"/> over mean inputs.</summary>
public sealed record AverageActivationRouterOptions : PrototypeRouterOptions;

/// <summary>Compares tokens and vectors after both were standardised, so that neither length nor offset of a vector
/// counts.</summary>
/// <remarks>
/// Source: PHATGOOSE, arXiv:2402.05859, section 3; r-three/phatgoose, moe.py: <c>s_e = LN(u) · LN(v_e) / √D</c>, LN
/// without weights, eps 1e-5; softmax over all experts, the best k divided by their sum + 1e-6. v_e is the gate that
/// was trained behind a sigmoid (PHATGOOSE) or the mean input of the expert's data (average activation, the paper's
/// baseline). Shapes: x [N, D] → [N, E].
/// </remarks>
public sealed class StandardizedRouter(PrototypeRouterOptions options, RouterContext context)
    : PrototypeRouter(options, context)
{
    /// <summary>What joins the sum of the kept probabilities.</summary>
    internal const double SumEpsilon = 1e-6;

    private const double LayerNormEpsilon = 1e-5;

    /// <inheritdoc/>
    protected override double Epsilon => SumEpsilon;

    /// <inheritdoc/>
    protected override RouterScore Comparison => RouterScore.Standardized;

    /// <inheritdoc/>
    protected override Tensor Compared => Standardized(Vectors) / Math.Sqrt(Context.Width);

    /// <summary>Rows without their mean, divided by their deviation.</summary>
    /// <remarks>Shapes: [N, D] → the same.</remarks>
    internal static Tensor Standardized(Tensor rows) =>
        torch.nn.functional.layer_norm(rows, [rows.shape[^1]], eps: LayerNormEpsilon);
}
