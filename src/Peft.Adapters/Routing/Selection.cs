namespace Peft.Adapters.Routing;

/// <summary>Choosing experts from their probabilities; nothing here carries a gradient.</summary>
public static class Selection
{
    /// <summary>The experts of every token, best first; equal probabilities keep the lower index first.</summary>
    /// <remarks>Shapes: probabilities [N, E] → [N, K] int64. libtorch's topk promises no order for ties, a stable sort
    /// does.</remarks>
    public static Tensor TopIndices(Tensor probabilities, int k)
    {
        using var off = torch.no_grad();
        var (_, order) = probabilities.detach().sort(-1, descending: true, stable: true);
        return order.narrow(-1, 0, k);
    }

    /// <summary>The K best experts of every token as a mask; ties as in <see cref="TopIndices"/>.</summary>
    /// <remarks>Shapes: probabilities [N, E] → bool [N, E] with K true in every row.</remarks>
    public static Tensor TopMask(Tensor probabilities, int k) => Fused.top_mask(probabilities, k);

    /// <summary>The most probable experts of every token while their probabilities add up to at most p.</summary>
    /// <remarks>
    /// Shapes: probabilities [N, E] → bool [N, E]. At least <paramref name="least"/> experts stay. Nucleus sampling
    /// (<paramref name="keepsCrossing"/>) also keeps the expert that takes the sum above p; DynMoLE's code drops it.
    /// </remarks>
    public static Tensor NucleusMask(Tensor probabilities, double p, int least, bool keepsCrossing) =>
        Fused.nucleus_mask(probabilities, p, least, keepsCrossing);

    /// <summary>Sparse gates from probabilities and a mask: raw probabilities, or renormalised to sum to 1.</summary>
    /// <remarks>Shapes: [N, E] → [N, E]. Gradient: through the probabilities, also through the sum when
    /// renormalised.</remarks>
    public static Tensor Gates(Tensor probabilities, Tensor selected, bool normalize) =>
        Fused.kept_gates(probabilities, selected, normalize);
}

/// <summary>A bias on the scores that choose experts, moved against their load after every step; it never weighs an
/// output.</summary>
/// <remarks>
/// Source: loss-free balancing, arXiv:2408.15664, algorithm 1; FlyLoRA, arXiv:2510.08396: <c>b_i ← b_i + u ·
/// sign(mean(c) − c_i)</c>, c the tokens each expert got in the whole step.
/// Shapes: [E]. Gradient: none; the bias is a buffer of the bundle, unknown to the optimizer.
/// </remarks>
public static class SelectionBias
{
    /// <summary>Name of the buffer.</summary>
    public const string Name = "selection_bias";

    /// <summary>Moves the bias by one step.</summary>
    /// <remarks>Shapes: bias and counts [E].</remarks>
    public static void Update(Tensor bias, Tensor counts, double rate)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var load = counts.to(torch.float32);
        bias.add_((load.mean() - load).sign() * rate);
    }
}

/// <summary>What a step's real tokens asked of one router's experts.</summary>
/// <param name="Counts">[E] float32: how many tokens each expert got.</param>
/// <param name="Scores">[N, E] float32: what experts were chosen by, one row a token; null: not asked for.</param>
public sealed record StepLoad(Tensor Counts, Tensor? Scores = null);

/// <summary>A router whose choice follows the load of its experts from step to step.</summary>
public interface ILoadBalanced
{
    /// <summary>Whether <see cref="ScoresOf"/> gives any.</summary>
    bool NeedsScores => false;

    /// <summary>What experts were chosen by, where the balance needs it of every token; null: counts are
    /// enough.</summary>
    /// <remarks>Shapes: [N, E] float32.</remarks>
    Tensor? ScoresOf(RoutingDecision decision) => null;

    /// <summary>Takes in a whole step.</summary>
    void Balance(StepLoad load);
}
