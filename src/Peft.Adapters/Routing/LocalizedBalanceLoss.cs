namespace Peft.Adapters.Routing;

/// <summary>LoRAMoE's localized balancing constraint: experts of a group share the work of their tasks evenly.</summary>
/// <remarks>
/// Source: arXiv:2312.09979; Ablustrund/LoRAMoE peft/tuners/lora.py: <c>Q[b, e] = Σ_t w[b, t, e]</c>, <c>Z = I ∘ Q</c> with
/// <c>I = 1 + δ</c> where the expert's group is the row's type and <c>1 − δ</c> elsewhere, loss = <c>var(Z) / (mean(Z)² + 1e-10)</c>.
/// Units: a squared coefficient of variation, with the unbiased variance.
/// Gradient: through the gates. Padding never counts (the code sums over it).
/// </remarks>
public static class LocalizedBalanceLoss
{
    private const double Tiny = 1e-10;

    /// <summary>The mean over modules.</summary>
    /// <remarks>Shapes: records of [N, E]; tokens.TaskIds [B] → scalar.</remarks>
    /// <exception cref="TaskIdException">Rows have no task ids, or one without a type.</exception>
    public static Tensor Of(IReadOnlyList<RoutingRecord> records, RoutedTokens tokens, BalanceOptions options)
    {
        ArgumentNullException.ThrowIfNull(records);
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(options);
        var ids = tokens.TaskIds ?? throw new TaskIdException(
            "adapter.router.balance: the batch has no task ids, and kind localized goes by task; give each data source a task, or choose "
            + "another kind");
        if (ids.ndim != 1)
            throw new TaskIdException(
                "adapter.router.balance: several sequences share a row, and kind localized needs each in its own; turn data.packing off, or "
                + "choose another kind");
        var last = ids.max().ToInt64();
        if (last >= options.TaskTypes.Count || ids.min().ToInt64() < 0)
            throw new TaskIdException(
                $"adapter.router.balance: task id {last} has no type; task_types has {options.TaskTypes.Count}, one for each task is needed");
        var types = torch.tensor([.. options.TaskTypes.Select(type => (long)type)], [options.TaskTypes.Count]).to(ids.device).index_select(0, ids);
        return torch.stack([.. records.Select(record => Of(record.Decision.Gates, tokens.Mask, types, options.Delta))], 0).mean();
    }

    /// <summary>The loss of one module.</summary>
    /// <remarks>Shapes: gates [B·T, E], mask [B·T] bool or null, types [B] int64 of 0 and 1 → scalar.</remarks>
    public static Tensor Of(Tensor gates, Tensor? mask, Tensor types, double delta)
    {
        ArgumentNullException.ThrowIfNull(gates);
        ArgumentNullException.ThrowIfNull(types);
        var (rows, experts) = (types.shape[0], gates.shape[1]);
        var counted = mask is null ? gates : gates * mask.reshape(-1, 1).to(torch.float32);
        var load = counted.reshape(rows, -1, experts).sum(1L);                                // [B, E]
        // The first half of the experts belongs to type 1, the second to type 0.
        var group = torch.arange(experts, torch.int64, gates.device).lt(experts / 2).to(torch.int64);        // [E]
        var own = group.unsqueeze(0).eq(types.unsqueeze(1)).to(torch.float32);                // [B, E]
        var weighted = load * (own * (2 * delta) + (1 - delta));
        var mean = weighted.mean();
        var deviation = weighted - mean;
        return (deviation * deviation).sum() / (weighted.numel() - 1) / (mean * mean + Tiny);
    }
}
