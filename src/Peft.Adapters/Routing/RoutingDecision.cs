using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>What a router decided for N tokens and E experts (for R ranks, where a method routes ranks).</summary>
/// <remarks>Shapes: all [N, E]. Gates and Probabilities float32, Selected bool, Logits float32.</remarks>
/// <param name="Gates">The weight of each expert's output; zero where the expert is not used.</param>
/// <param name="Selected">Which experts are used.</param>
/// <param name="Probabilities">The router's distribution before selection; null where there is none (task ids).</param>
/// <param name="Logits">The scores before softmax; null where there are none.</param>
public record RoutingDecision(Tensor Gates, Tensor Selected, Tensor? Probabilities = null, Tensor? Logits = null)
{
    /// <summary>Every expert for every token.</summary>
    /// <remarks>Shapes: all [N, E] float32.</remarks>
    public static RoutingDecision OfAll(Tensor gates, Tensor? probabilities = null, Tensor? logits = null)
    {
        var all = torch.ones(gates.shape, torch.@bool, gates.device);
        return new(gates, all, probabilities, logits) { All = all };
    }

    /// <summary>Whether every expert is known to be used for every token, so that no one has to look.</summary>
    public bool SelectsAll => ReferenceEquals(Selected, All);

    // What was selected where that was everything; another selection may have taken its place.
    private Tensor? All { get; init; }

    /// <summary>Whether the adapter hands no gradient to its input.</summary>
    public bool DetachesInput { get; init; }

    /// <summary>What multiplies the input before the experts see it, as the router did; null: nothing. It lives as
    /// long as the block that it was made in.</summary>
    /// <remarks>Shapes: as the input.</remarks>
    public Tensor? InputFactor { get; init; }

    /// <summary>The rows of each expert where it is a whole feed-forward, whose projections follow this
    /// decision.</summary>
    public ExpertRows? Rows { get; init; }

    /// <summary>Whether slices of a frozen feed-forward are weighed, before its last projection.</summary>
    public bool WeighsSlices { get; init; }

    /// <summary>How the experts' matrices are averaged for each token, where a method averages them instead of their
    /// outputs; then the gates only tell of it.</summary>
    public FactorMix? Mix { get; init; }

    /// <summary>What A makes of the input, where the router has computed it for itself.</summary>
    /// <remarks>Shapes: [N, R] float32.</remarks>
    public Tensor? Hidden { get; init; }

    /// <summary>Every tensor of the decision; they live as long as the pass.</summary>
    public virtual IEnumerable<Tensor> Tensors
    {
        get
        {
            yield return Gates;
            yield return Selected;
            if (Probabilities is not null)
                yield return Probabilities;
            if (Logits is not null)
                yield return Logits;
            if (Hidden is not null)
                yield return Hidden;
            if (Mix is not null)
            {
                yield return Mix.Weights;
                yield return Mix.Of;
            }
        }
    }
}

/// <summary>A routing decision of one module, emitted through the pass for losses and metrics.</summary>
/// <remarks>
/// Shapes: [N, E], tokens in the order of the flattened batch [B, T], padding included (losses and metrics mask it).
/// The pass keeps the tensors alive beyond the decoder block that made them.
/// </remarks>
/// <param name="Module">Path of the wrapped projection; behind it <c>@2</c> and on for the later iterations of a
/// chain.</param>
/// <param name="Decision">Gates, selection, probabilities, logits.</param>
public sealed record RoutingRecord(string Module, RoutingDecision Decision) : IPassRecord
{
    /// <summary>Number of experts (of ranks, where those are routed).</summary>
    public int Experts => (int)Decision.Gates.shape[1];

    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => Decision.Tensors;
}
