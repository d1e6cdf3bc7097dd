using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>A routing decision of one module, emitted through the pass for losses and metrics.</summary>
/// <remarks>
/// Shapes: [N, E], tokens in the order of the flattened batch [B, T], padding included (losses and metrics mask it).
/// The pass keeps the tensors alive beyond the decoder block that made them.
/// </remarks>
/// <param name="Module">Path of the wrapped projection.</param>
/// <param name="Decision">Gates, selection, probabilities, logits.</param>
public sealed record RoutingRecord(string Module, RoutingDecision Decision) : IPassRecord
{
    /// <summary>Number of experts (of ranks, where those are routed).</summary>
    public int Experts => (int)Decision.Gates.shape[1];

    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => Decision.Tensors;
}
