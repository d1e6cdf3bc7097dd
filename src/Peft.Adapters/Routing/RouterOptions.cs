using System.Text.Json.Nodes;
using Peft.Adapters.Losses;

namespace Peft.Adapters.Routing;

/// <summary>Settings that every router has; each router's own record adds its keys.</summary>
public abstract record RouterOptions
{
    /// <summary>The router's name in <see cref="RouterCatalog"/>.</summary>
    public abstract string Kind { get; }

    /// <summary>The balance loss over this router's decisions.</summary>
    /// <value>Default none.</value>
    public BalanceOptions Balance { get; init; } = new();

    /// <summary>Adds the router's own keys; <see cref="RouterCatalog.ToJson"/> adds kind and balance.</summary>
    public abstract void WriteTo(JsonObject json);

    /// <summary>The losses this method adds by itself, beside <see cref="Balance"/>; none for most.</summary>
    public virtual IReadOnlyList<AuxiliaryTerm> OwnLosses() => [];
}
