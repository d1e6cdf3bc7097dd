using System.Text.Json.Nodes;

namespace Peft.Adapters.Routing;

/// <summary>Settings that every router has; each router's own record adds its keys.</summary>
public abstract record RouterOptions
{
    /// <summary>The router's name in <see cref="RouterCatalog"/>.</summary>
    public abstract string Kind { get; }

    /// <summary>The balance loss over this router's decisions.</summary>
    /// <value>Default none.</value>
    public BalanceOptions Balance { get; init; } = new();

    /// <summary>Whether the section has the key <c>balance</c>.</summary>
    public virtual bool HasBalance => true;

    /// <summary>Adds the router's own keys; <see cref="RouterCatalog.ToJson"/> adds kind and balance.</summary>
    public abstract void WriteTo(JsonObject json);

    /// <summary>The factor on the experts' output where the method sets it; null: alpha / r.</summary>
    public virtual double? ScaleOf(int rank) => null;

    /// <summary>Whether A learns.</summary>
    public virtual bool TrainsDown => true;

    /// <summary>First values of A where the method has its own, [R, D] float32; null: as <c>init_lora_weights</c> says.</summary>
    /// <exception cref="Peft.Formats.UserException">The options do not fit this projection.</exception>
    public virtual Tensor? FirstDown(string path, int rank, long width, long seed) => null;

    /// <summary>Forward and backward passes of a training step over the same rows.</summary>
    public virtual int Passes => 1;

    /// <summary>Whether the projections of one attention block share a decision, made at the first of them.</summary>
    public virtual bool SharesInBlock => false;

    /// <summary>Weight of <see cref="PreservationLoss"/>, which holds the experts near their first values.</summary>
    public virtual double PreservationCoefficient => 0;

    /// <summary>The losses this method adds by itself, beside <see cref="Balance"/>; none for most.</summary>
    public virtual IReadOnlyList<AuxiliaryTerm> OwnLosses() => [];
}
