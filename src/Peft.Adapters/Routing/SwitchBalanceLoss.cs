namespace Peft.Adapters.Routing;

/// <summary>The load-balancing loss of Switch Transformer in the form of Mixtral's and MixLoRA's code.</summary>
/// <remarks>
/// Source: arXiv:2101.03961, eq. 4; TUDB-Labs/MoE-PEFT mixlora: <c>E · Σ_{slot, e} f[slot, e] · P[e]</c>. The slots of one
/// expert add up, so the mask of chosen experts is enough and K may differ from token to token.
/// Units: 1 for one perfectly balanced choice a token, K for K choices.
/// Gradient: through P only; f counts.
/// </remarks>
public static class SwitchBalanceLoss
{
    /// <summary>The loss of one decision.</summary>
    /// <remarks>Shapes: probabilities [N, E], selected bool [N, E], mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(Tensor probabilities, Tensor selected, Tensor? mask)
    {
        ArgumentNullException.ThrowIfNull(probabilities);
        ArgumentNullException.ThrowIfNull(selected);
        var load = TokenMean.OfRows(selected.to(torch.float32), mask); // [E]
        var mean = TokenMean.OfRows(probabilities, mask); // [E]
        return (load * mean).sum() * probabilities.shape[1];
    }

    /// <summary>The loss of all modules: the mean of theirs, or of their pooled tokens.</summary>
    /// <remarks>Shapes: records of [N, E] with the same N; mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(IReadOnlyList<RoutingRecord> records, Tensor? mask, bool pooled)
    {
        ArgumentNullException.ThrowIfNull(records);
        if (!pooled)
            return torch.stack([.. records.Select(record => Of(Learned(record), record.Decision.Selected, mask))], 0).mean();
        var probabilities = torch.cat([.. records.Select(Learned)], 0);
        var selected = torch.cat([.. records.Select(record => record.Decision.Selected)], 0);
        return Of(probabilities, selected, mask?.repeat(records.Count));
    }

    private static Tensor Learned(RoutingRecord record) =>
        record.Decision.Probabilities ?? throw new ArgumentException($"{record.Module}: a balance loss needs probabilities");
}
