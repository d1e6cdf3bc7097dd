using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

/// <summary>Routes by the gates that were trained on each adapter by itself.</summary>
/// <remarks>Source: PHATGOOSE, arXiv:2402.05859.</remarks>
public sealed class PhatgooseMerge() : RoutedMerge("phatgoose", "routed: the gate that peft gate trained for each adapter (PHATGOOSE)")
{
    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.Gate;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new PhatgooseRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}
