namespace Peft.Adapters.Routing;

/// <summary>Settings of HydraLoRA: a softmax over all experts, which have one A together.</summary>
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
