using Peft.Adapters.Bundles;
using Peft.Adapters.Merging;

namespace Peft.Recipes.Exchange;

/// <summary>One comparison of what was written with the adapter it was written from.</summary>
/// <param name="What">What was compared.</param>
/// <param name="Tensors">Tensors that were read again and found equal bit for bit; 0 where values were meant to change.</param>
/// <param name="LargestDifference">Largest difference of a logit on the probe text.</param>
/// <param name="Allowed">The largest that is let pass.</param>
public sealed record ExportProof(string What, int Tensors, double LargestDifference, double Allowed);

/// <summary>What an export came to.</summary>
/// <param name="Output">The directory.</param>
/// <param name="Kind">What it holds, in words.</param>
/// <param name="Proofs">How it was proven.</param>
public sealed record ExportReport(string Output, string Kind, IReadOnlyList<ExportProof> Proofs)
{
    /// <summary>What collapsing the gates lost; empty where nothing was collapsed.</summary>
    public IReadOnlyList<CollapseLoss> Losses { get; init; } = [];

    /// <summary>Largest difference of a logit between the routed mixture and what was written; null where gates are exact.</summary>
    public double? RoutedDifference { get; init; }

    /// <summary>What readers of the result should know.</summary>
    public IReadOnlyList<string> Remarks { get; init; } = [];
}
