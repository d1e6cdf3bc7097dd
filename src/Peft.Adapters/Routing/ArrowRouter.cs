using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="ArrowRouter"/>.</summary>
public sealed record ArrowRouterOptions : PrototypeRouterOptions;

/// <summary>Sends each token to the experts whose update changes it most.</summary>
/// <remarks>
/// Source: Arrow, arXiv:2405.11157; huggingface/peft, tuners/lora/arrow.py: the vector is the first right singular
/// vector of the update B A, the score <c>|x · v_e|</c>, the weights a softmax over the kept scores.
/// Shapes: x [N, D] → [N, E].
/// </remarks>
public sealed class ArrowRouter(ArrowRouterOptions options, RouterContext context) : PrototypeRouter(options, context)
{
    /// <inheritdoc/>
    protected override RouterScore Comparison => RouterScore.Magnitude;
}
