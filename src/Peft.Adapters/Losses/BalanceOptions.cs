using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Losses;

/// <summary>Which balance loss keeps the experts busy (recipe key <c>adapter.router.balance</c>).</summary>
public sealed record BalanceOptions
{
    /// <summary>No balance loss.</summary>
    public const string None = "none";

    /// <summary><see cref="SwitchBalanceLoss"/>.</summary>
    public const string Switch = "switch";

    /// <summary>The loss.</summary>
    /// <value>Default none; none or switch.</value>
    public string Kind { get; init; } = None;

    /// <summary>Its weight in the total loss.</summary>
    /// <value>Default 0.001 (MixLoRA's code); from 0. 0.01 is usual for pre-training.</value>
    public double Coefficient { get; init; } = 0.001;

    /// <summary>Whether each module is balanced by itself and the mean taken, or all modules' tokens are pooled first.</summary>
    /// <value>Default module; module or model (Hugging Face Mixtral's and MixLoRA's form).</value>
    public string Scope { get; init; } = "module";

    /// <summary>Reads the key <c>balance</c> of a router's section.</summary>
    public static BalanceOptions Read(OptionReader router)
    {
        ArgumentNullException.ThrowIfNull(router);
        var reader = router.Section("balance");
        return new BalanceOptions
        {
            Kind = reader.Choice("kind", None, [None, Switch]),
            Coefficient = reader.Number("coefficient", 0.001, 0),
            Scope = reader.Choice("scope", "module", ["module", "model"]),
        };
    }

    /// <summary>The section as JSON.</summary>
    public JsonObject ToJson() => new() { ["kind"] = Kind, ["coefficient"] = Coefficient, ["scope"] = Scope };

    /// <summary>The loss as a term; none where it is off.</summary>
    public IReadOnlyList<AuxiliaryTerm> Terms() =>
        Kind == Switch && Coefficient > 0
            ? [new AuxiliaryTerm("balance", Coefficient, (records, mask) => SwitchBalanceLoss.Of(records, mask, Scope == "model"))]
            : [];
}
