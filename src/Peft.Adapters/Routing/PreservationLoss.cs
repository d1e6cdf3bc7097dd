namespace Peft.Adapters.Routing;

/// <summary>Keeps chosen parameters near their values before the router's training.</summary>
/// <remarks>Source: LoRA-Mixer, arXiv:2507.00029, eq. 11: <c>β Σ ‖θ − θ⁰‖²</c>. Gradient: through θ.</remarks>
public static class PreservationLoss
{
    /// <summary>The weighted squared distance of pairs (θ, θ⁰).</summary>
    /// <remarks>Shapes: equal in each pair, any → scalar.</remarks>
    public static Tensor Of(IReadOnlyList<(Tensor Now, Tensor Before)> pairs, double beta)
    {
        ArgumentNullException.ThrowIfNull(pairs);
        var squares = pairs.Select(pair =>
        {
            var change = pair.Now - pair.Before;
            return (change * change).sum();
        });
        return torch.stack([.. squares], 0).sum() * beta;
    }
}
