using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>What keeps the experts busy (recipe key <c>adapter.router.balance</c>).</summary>
public sealed record BalanceOptions : IKeyValue<BalanceOptions>
{
    /// <summary>Nothing.</summary>
    public const string None = "none";

    /// <summary><see cref="SwitchBalanceLoss"/>.</summary>
    public const string Switch = "switch";

    /// <summary><see cref="LocalizedBalanceLoss"/>.</summary>
    public const string Localized = "localized";

    /// <summary><see cref="Routing.SelectionBias"/>: no loss; only routers that select can do it.</summary>
    public const string LossFree = "loss-free";

    /// <summary><see cref="AssignmentDuals"/>, prices never below 0: no loss.</summary>
    public const string Bip = "bip";

    /// <summary><see cref="AssignmentDuals"/>, prices of either sign: no loss.</summary>
    public const string Quantile = "quantile";

    /// <summary><see cref="TransportPlan"/> in some steps: no loss.</summary>
    public const string Sinkhorn = "sinkhorn";

    /// <summary>The strategy.</summary>
    /// <value>Default none; none, switch, localized (LoRAMoE), and, where the router chooses by a score, loss-free,
    /// bip, quantile and sinkhorn.</value>
    [Key(Choices = [None, Switch, Localized, LossFree, Bip, Quantile, Sinkhorn])]
    public string Kind { get; init; } = None;

    /// <summary>Weight of a balance loss in the total loss.</summary>
    /// <value>Default 0.001 (MixLoRA's code), 0.1 for localized (LoRAMoE's paper); from 0. 0.01 is usual for
    /// pre-training.</value>
    [Key(Min = 0)]
    public double Coefficient { get; init; } = 0.001;

    /// <summary>Whether each module is balanced by itself and the mean taken, or all modules' tokens are pooled
    /// first.</summary>
    /// <value>Default module; module or model (Hugging Face Mixtral's and MixLoRA's form).</value>
    [Key(Choices = ["module", "model"])]
    public string Scope { get; init; } = "module";

    /// <summary>How far localized pulls a group of experts to its tasks.</summary>
    /// <value>Default 0.1 (LoRAMoE's paper); from 0 to 1.</value>
    [Key(Min = 0, Max = 1, When = "kind=localized")]
    public double Delta { get; init; } = 0.1;

    /// <summary>For each task id the group of its experts, 1 (the first half) or 0 (the second half); for
    /// localized.</summary>
    /// <value>No default.</value>
    [Key(When = "kind=localized")]
    public EquatableList<int> TaskTypes { get; init; } = [];

    /// <summary>Step of the bias of loss-free.</summary>
    /// <value>Default 0.001 (the paper's); above 0. Tuned for sigmoid scores.</value>
    [Key(Min = 1e-9, When = "kind=loss-free")]
    public double Rate { get; init; } = 0.001;

    /// <summary>Rounds of bip and quantile in each step; the most of sinkhorn, which ends where nothing
    /// moves.</summary>
    /// <value>Default 4 for bip (the source leaves it open), 1 for quantile, 100 for sinkhorn; from 1.</value>
    [Key(Min = 1, Max = 10_000, When = "kind=bip|quantile|sinkhorn")]
    public int Iterations { get; init; } = 4;

    /// <summary>Share of the bias that stays from step to step.</summary>
    /// <value>Default 0; from 0 to below 1.</value>
    [Key(Min = 0, Below = 1, When = "kind=bip|quantile")]
    public double Ema { get; init; }

    /// <summary>Share of the training steps that sinkhorn routes.</summary>
    /// <value>Default 0.01 (the paper's are from 0.001 to 0.01); above 0, below 1: in these steps a router does not
    /// learn.</value>
    [Key(Above = 0, Below = 1, When = "kind=sinkhorn")]
    public double Fraction { get; init; } = 0.01;

    /// <summary>ξ of sinkhorn: the smaller, the nearer its plan is to one expert a token.</summary>
    /// <value>Default 0.1 (the paper's are from 0.05 to 1); above 0.</value>
    [Key(Above = 0, When = "kind=sinkhorn")]
    public double Temperature { get; init; } = 0.1;

    /// <summary>Deviation of the noise on the logits in the steps that sinkhorn does not route.</summary>
    /// <value>Default 0 (the paper has noise and the source does not say how much); from 0.</value>
    [Key(Min = 0, When = "kind=sinkhorn")]
    public double Noise { get; init; }

    /// <summary>Whether experts are selected by a score plus a bias that follows their load.</summary>
    public bool IsLossFree => Kind == LossFree;

    /// <summary>Whether prices are made from the scores of a step.</summary>
    public bool HasDuals => Kind is Bip or Quantile;

    /// <summary>Whether a bias joins the scores for the choice.</summary>
    public bool HasBias => IsLossFree || HasDuals;

    /// <summary>Whether the choice itself is moved, which only a choice by score can be.</summary>
    public bool MovesChoice => HasBias || Kind == Sinkhorn;

    /// <inheritdoc/>
    public static BalanceOptions Read(OptionReader reader, string key, BalanceOptions fallback)
    {
        var section = reader.Section(key);
        // First values are those of the kind's own paper.
        var options = section.Bind(section.Bind(fallback).Kind switch
        {
            Localized => fallback with { Coefficient = 0.1 },
            Quantile => fallback with { Iterations = 1 },
            Sinkhorn => fallback with { Iterations = 100 },
            _ => fallback,
        });
        if (options.Kind == Localized
            && (options.TaskTypes.Count == 0 || options.TaskTypes.Any(type => type is not (0 or 1))))
        {
            section.Fault(
                "task_types", $"[{string.Join(", ", options.TaskTypes)}]", "a 0 or 1 for each task",
                "1 sends a task to the first half of the experts, 0 to the second");
        }

        return options;
    }

    /// <inheritdoc/>
    public JsonNode? ToJson() => Keys.ToJson(this);

    /// <summary>Keys of this section that do nothing under its kind.</summary>
    internal IEnumerable<IneffectiveKey> Ineffective(BalanceOptions first)
    {
        var kind = $"balance.kind: {Kind}";
        var hasLoss = Kind is Switch or Localized;
        return
        [
            .. IneffectiveKey.If(!hasLoss, "balance.coefficient", Coefficient, first.Coefficient, kind),
            .. IneffectiveKey.If(Kind != Switch, "balance.scope", Scope, first.Scope, kind),
        ];
    }

    /// <summary>The loss as a term; none where it is off.</summary>
    public IReadOnlyList<AuxiliaryTerm> Terms() => (Kind, Coefficient) switch
    {
        (_, 0) => [],
        (Switch, _) =>
            [new("balance", Coefficient, (records, tokens) =>
                SwitchBalanceLoss.Of(records, tokens, Scope == "model"))],
        (Localized, _) =>
            [new("balance", Coefficient, (records, tokens) => LocalizedBalanceLoss.Of(records, tokens, this))],
        _ => [],
    };
}

/// <summary>The load-balancing loss of Switch Transformer in the form of Mixtral's and MixLoRA's code.</summary>
/// <remarks>
/// Source: arXiv:2101.03961, eq. 4; TUDB-Labs/MoE-PEFT mixlora: <c>E · Σ_{slot, e} f[slot, e] · P[e]</c>. The slots of
/// one expert add up, so the mask of chosen experts is enough and K may differ from token to token.
/// Units: 1 for one perfectly balanced choice a token, K for K choices.
/// Gradient: through P only; f counts.
/// </remarks>
public static class SwitchBalanceLoss
{
    /// <summary>The loss of one decision.</summary>
    /// <remarks>Shapes: probabilities [N, E], selected bool [N, E], tokens.Mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(Tensor probabilities, Tensor selected, RoutedTokens? tokens)
    {
        var load = TokenMean.OfRows(selected.to(torch.float32), tokens); // [E]
        var mean = TokenMean.OfRows(probabilities, tokens); // [E]
        return (load * mean).sum() * probabilities.shape[1];
    }

    /// <summary>The loss of all modules: the mean of theirs, or of their pooled tokens.</summary>
    /// <remarks>Shapes: records of [N, E] with the same N; tokens.Mask [N] bool or null → scalar.</remarks>
    public static Tensor Of(IReadOnlyList<RoutingRecord> records, RoutedTokens? tokens, bool pooled)
    {
        if (!pooled)
            return ModuleMean.Of(records, alike => Of(
                ModuleMean.Beside(alike, Learned), ModuleMean.Beside(alike, record => record.Decision.Selected), tokens)
                    / alike.Count);
        var probabilities = torch.cat([.. records.Select(Learned)], 0);
        var selected = torch.cat([.. records.Select(record => record.Decision.Selected)], 0);
        return Of(probabilities, selected, tokens?.Repeated(records.Count));
    }

    private static Tensor Learned(RoutingRecord record) =>
        record.Decision.Probabilities
            ?? throw new ArgumentException($"{record.Module}: a balance loss needs probabilities");
}

/// <summary>LoRAMoE's localized balancing constraint: experts of a group share the work of their tasks
/// evenly.</summary>
/// <remarks>
/// Source: arXiv:2312.09979; Ablustrund/LoRAMoE peft/tuners/lora.py: <c>Q[b, e] = Σ_t w[b, t, e]</c>, <c>Z = I ∘ Q</c>
/// with
/// <c>I = 1 + δ</c> where the expert's group is the row's type and <c>1 − δ</c> elsewhere, loss = <c>var(Z) / (mean(Z)²
/// + 1e-10)</c>. Units: a squared coefficient of variation, with the unbiased variance.
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
        var ids = tokens.TaskIds ?? throw TaskIdException.At(
            "adapter.router.balance", "the batch has no task ids",
            "one for each row, since kind: localized balances by task",
            "give each data source a task, or choose another kind");
        if (ids.ndim != 1)
            throw TaskIdException.At(
                "adapter.router.balance", "several sequences share a row", "each in its own for kind: localized",
                "turn data.packing off, or choose another kind");
        var last = ids.max().ToInt64();
        if (last >= options.TaskTypes.Count || ids.min().ToInt64() < 0)
            throw TaskIdException.At(
                "adapter.router.balance.task_types", $"no type for task id {last}",
                $"ids from 0 to {options.TaskTypes.Count - 1}",
                "add a 0 or 1 for each task");
        var types = torch.tensor([.. options.TaskTypes.Select(type => (long)type)], [options.TaskTypes.Count]).to(
            ids.device).index_select(0, ids);
        return torch.stack(
            [.. records.Select(record => Of(record.Decision.Gates, tokens, types, options.Delta))], 0).mean();
    }

    /// <summary>The loss of one module.</summary>
    /// <remarks>Shapes: gates [B·T, E], tokens.Mask [B·T] bool or null, types [B] int64 of 0 and 1 →
    /// scalar.</remarks>
    public static Tensor Of(Tensor gates, RoutedTokens? tokens, Tensor types, double delta)
    {
        var mask = tokens?.Mask;
        var (rows, experts) = (types.shape[0], gates.shape[1]);
        var counted = mask is null ? gates : gates * mask.reshape(-1, 1).to(torch.float32);
        var load = counted.reshape(rows, -1, experts).sum(1L);                                // [B, E]
        // The first half of the experts belongs to type 1, the second to type 0.
        var group = torch.arange(experts, torch.int64, gates.device).lt(experts / 2).to(torch.int64);        // [E]
        var own = group.unsqueeze(0).eq(types.unsqueeze(1)).to(torch.float32);                // [B, E]
        var weighted = load * (own * (2 * delta) + (1 - delta));
        if (tokens?.Share is { } share)
            return OfShare(weighted, share);
        var mean = weighted.mean();
        var deviation = weighted - mean;
        return (deviation * deviation).sum() / (weighted.numel() - 1) / (mean * mean + Tiny);
    }

    // The squares have no gradient through the mean: deviations from it sum to zero over all ranks, not over one.
    private static Tensor OfShare(Tensor weighted, BatchShare share)
    {
        var count = share.Sum(torch.tensor((double)weighted.numel(), device: weighted.device));
        var mean = share.Sum(weighted.sum()) / count;
        var deviation = weighted - mean.detach();
        return (share.Sum((deviation * deviation).sum()) / (count - 1) / (mean * mean + Tiny)).to(torch.float32);
    }
}
