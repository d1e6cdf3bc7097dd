using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="SoftRouter"/>: only the balance loss.</summary>
public sealed record SoftRouterOptions : ExpertRouterOptions
{
    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => experts;
}

/// <summary>Settings of HydraLoRA: <see cref="SoftRouter"/> over all experts, which have one A together.</summary>
/// <remarks>
/// Source: HydraLoRA, arXiv:2404.19245; Clin0212/HydraLoRA, peft/tuners/lora.py: <c>y = W x + Σ_i p_i s B_i A x</c>,
/// <c>p = softmax(R x)</c> in float32, every head for every token. Its balance loss is the constant 0. There dropout is
/// drawn anew for each head; here once, since A x is computed once.
/// </remarks>
public sealed record HydraRouterOptions : ExpertRouterOptions
{
    /// <inheritdoc/>
    public override ExpertSharing Sharing { get; } = new() { DownLayers = 1 };

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => experts;
}

/// <summary>Every expert works for every token, weighted by a softmax over all of them.</summary>
/// <remarks>
/// Source: LoRAMoE, arXiv:2312.09979 (<c>w = softmax(R x)</c>); LoRA-Mixer's soft fusion, arXiv:2507.00029, eq. 4.
/// Shapes: x [N, D] → gates [N, E].
/// Units: gates are probabilities and sum to 1.
/// Gradient: reaches the gate matrix through the gates.
/// </remarks>
public sealed class SoftRouter : Router, IRewirable
{
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public SoftRouter(SoftRouterOptions options, RouterContext context)
        : base(context)
    {
        _weight = NewGate();
    }

    /// <inheritdoc/>
    public Tensor? LogitOffset { get; set; }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (logits, probabilities) = Softmax(x, _weight, LogitOffset);
        return RoutingDecision.OfAll(probabilities, probabilities, logits);
    }

    /// <inheritdoc/>
    /// <remarks>A matrix of equal rows scores every expert alike, so each gets 1 / E.</remarks>
    public override Tensor? ConstantGates()
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return _weight.SameAs(_weight.narrow(0, 0, 1).expand_as(_weight))
            ? torch.full([Context.Experts], 1.0 / Context.Experts, torch.float32).MoveToOuterDisposeScope()
            : null;
    }
}
