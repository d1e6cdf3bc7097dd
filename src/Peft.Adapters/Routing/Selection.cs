namespace Peft.Adapters.Routing;

/// <summary>Choosing experts from their probabilities; nothing here carries a gradient.</summary>
public static class Selection
{
    /// <summary>The experts of every token, best first; equal probabilities keep the lower index first.</summary>
    /// <remarks>Shapes: probabilities [N, E] → [N, K] int64. libtorch's topk promises no order for ties, a stable sort does.</remarks>
    public static Tensor TopIndices(Tensor probabilities, int k)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        using var off = torch.no_grad();
        var (_, order) = probabilities.detach().sort(-1, descending: true, stable: true);
        return order.narrow(-1, 0, k);
    }

    /// <summary>The K best experts of every token as a mask; ties as in <see cref="TopIndices"/>.</summary>
    /// <remarks>Shapes: probabilities [N, E] → bool [N, E] with K true in every row.</remarks>
    public static Tensor TopMask(Tensor probabilities, int k)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        using var off = torch.no_grad();
        var chosen = TopIndices(probabilities, k);
        return torch.zeros(probabilities.shape, torch.float32, probabilities.device)
            .scatter(-1, chosen, torch.ones(chosen.shape, torch.float32, probabilities.device))
            .gt(0.5);
    }

    /// <summary>The most probable experts of every token while their probabilities add up to at most p.</summary>
    /// <remarks>
    /// Shapes: probabilities [N, E] → bool [N, E]. At least <paramref name="least"/> experts stay. Nucleus sampling
    /// (<paramref name="keepsCrossing"/>) also keeps the expert that takes the sum above p; DynMoLE's code drops it.
    /// </remarks>
    public static Tensor NucleusMask(Tensor probabilities, double p, int least, bool keepsCrossing)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        using var off = torch.no_grad();
        var (sorted, order) = probabilities.detach().sort(-1, descending: true, stable: true);
        var kept = sorted.cumsum(-1).le(p).to(torch.float32);                                  // [N, E], best first
        if (keepsCrossing)
            kept = torch.cat([torch.ones_like(kept.narrow(-1, 0, 1)), kept.narrow(-1, 0, kept.shape[^1] - 1)], -1);
        kept.narrow(-1, 0, least).fill_(1);
        return torch.zeros_like(kept).scatter(-1, order, kept).gt(0.5);
    }

    /// <summary>Sparse gates from probabilities and a mask: raw probabilities, or renormalised to sum to 1.</summary>
    /// <remarks>Shapes: [N, E] → [N, E]. Gradient: through the probabilities, also through the sum when renormalised.</remarks>
    public static Tensor Gates(Tensor probabilities, Tensor selected, bool normalize)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        ArgumentNullException.ThrowIfNull(selected);
        var kept = probabilities * selected.to(torch.float32);
        return normalize ? kept / kept.sum(-1, keepdim: true) : kept;
    }
}
