using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>What keeps the experts busy (recipe key <c>adapter.router.balance</c>).</summary>
public sealed record BalanceOptions
{
    /// <summary>Nothing.</summary>
    public const string None = "none";

    /// <summary><see cref="SwitchBalanceLoss"/>.</summary>
    public const string Switch = "switch";

    /// <summary><see cref="LocalizedBalanceLoss"/>.</summary>
    public const string Localized = "localized";

    /// <summary><see cref="Routing.SelectionBias"/>: no loss; only routers that select can do it.</summary>
    public const string LossFree = "loss-free";

    /// <summary>The strategy.</summary>
    /// <value>Default none; none, switch, localized (LoRAMoE), and loss-free where the router selects.</value>
    public string Kind { get; init; } = None;

    /// <summary>Weight of a balance loss in the total loss.</summary>
    /// <value>Default 0.001 (MixLoRA's code), 0.1 for localized (LoRAMoE's paper); from 0. 0.01 is usual for pre-training.</value>
    public double Coefficient { get; init; } = 0.001;

    /// <summary>Whether each module is balanced by itself and the mean taken, or all modules' tokens are pooled first.</summary>
    /// <value>Default module; module or model (Hugging Face Mixtral's and MixLoRA's form).</value>
    public string Scope { get; init; } = "module";

    /// <summary>How far localized pulls a group of experts to its tasks.</summary>
    /// <value>Default 0.1 (LoRAMoE's paper); from 0 to 1.</value>
    public double Delta { get; init; } = 0.1;

    /// <summary>For each task id the group of its experts, 1 (the first half) or 0 (the second half); for localized.</summary>
    /// <value>No default.</value>
    public EquatableList<int> TaskTypes { get; init; } = [];

    /// <summary>Step of the bias of loss-free.</summary>
    /// <value>Default 0.001 (the paper's); above 0. Tuned for sigmoid scores.</value>
    public double Rate { get; init; } = 0.001;

    /// <summary>Whether experts are selected by a score plus a bias that follows their load.</summary>
    public bool IsLossFree => Kind == LossFree;

    /// <summary>Reads the key <c>balance</c> of a router's section.</summary>
    /// <param name="router">The router's section.</param>
    /// <param name="selects">Whether the router chooses experts, so that a bias can move its choice.</param>
    /// <param name="fallback">The method's own default.</param>
    public static BalanceOptions Read(OptionReader router, bool selects = false, BalanceOptions? fallback = null)
    {
        ArgumentNullException.ThrowIfNull(router);
        fallback ??= new BalanceOptions();
        var reader = router.Section("balance");
        var kind = reader.Choice("kind", fallback.Kind, selects ? [None, Switch, Localized, LossFree] : [None, Switch, Localized]);
        var options = new BalanceOptions
        {
            Kind = kind,
            Coefficient = reader.Number("coefficient", kind == Localized ? 0.1 : fallback.Coefficient, 0),
            Scope = reader.Choice("scope", fallback.Scope, ["module", "model"]),
        };
        if (kind == Localized)
        {
            options = options with { Delta = reader.Number("delta", 0.1, 0, 1), TaskTypes = [.. reader.Integers("task_types", [])] };
            if (options.TaskTypes.Count == 0 || options.TaskTypes.Any(type => type is not (0 or 1)))
                reader.Fault(
                    "task_types", $"[{string.Join(", ", options.TaskTypes)}]", "a 0 or 1 for each task",
                    "1 sends a task to the first half of the experts, 0 to the second");
        }
        return kind == LossFree ? options with { Rate = reader.Number("rate", 0.001, 1e-9) } : options;
    }

    /// <summary>The section as JSON.</summary>
    public JsonObject ToJson()
    {
        var json = new JsonObject { ["kind"] = Kind, ["coefficient"] = Coefficient, ["scope"] = Scope };
        if (Kind == Localized)
        {
            json["delta"] = Delta;
            json["task_types"] = new JsonArray([.. TaskTypes.Select(type => (JsonNode)JsonValue.Create(type))]);
        }
        if (Kind == LossFree)
            json["rate"] = Rate;
        return json;
    }

    /// <summary>The loss as a term; none where it is off.</summary>
    public IReadOnlyList<AuxiliaryTerm> Terms() => (Kind, Coefficient) switch
    {
        (_, 0) => [],
        (Switch, _) => [new("balance", Coefficient, (records, tokens) => SwitchBalanceLoss.Of(records, tokens.Mask, Scope == "model"))],
        (Localized, _) => [new("balance", Coefficient, (records, tokens) => LocalizedBalanceLoss.Of(records, tokens, this))],
        _ => [],
    };
}
