using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

/// <summary>A merge that keeps every adapter as an expert and routes tokens among them.</summary>
/// <param name="name">Its name; also the kind of its router.</param>
/// <param name="description">One line for help texts.</param>
public abstract class RoutedMerge(string name, string description) : MergeMethod(name, description)
{
    /// <summary>The trained vectors it needs (<see cref="GateVectors"/>); null: none.</summary>
    public virtual string? VectorKind => null;

    /// <summary>The router of the result.</summary>
    public abstract RouterOptions Router(MergeOptions options, int topK);

    /// <summary>The vector that an adapter is chosen by in a module.</summary>
    /// <remarks>Shapes: [D] float32.</remarks>
    /// <param name="input">The adapter in this module.</param>
    /// <param name="trained">Its vector of <see cref="VectorKind"/>; null where that is null.</param>
    public abstract Tensor VectorOf(MergeInput input, Tensor? trained);
}
