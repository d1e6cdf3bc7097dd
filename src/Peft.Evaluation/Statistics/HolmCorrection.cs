namespace Peft.Evaluation.Statistics;

/// <summary>Correction of p values for making many comparisons.</summary>
public static class HolmCorrection
{
    /// <summary>The p values, adjusted: those below a level together hold the chance of any false find below that level.</summary>
    /// <remarks>Source: Holm 1979, step-down; adjusted p of rank i (from 0) of m: max over j ≤ i of min(1, (m − j) p_j).</remarks>
    public static IReadOnlyList<double> Adjust(IReadOnlyList<double> pValues)
    {
        ArgumentNullException.ThrowIfNull(pValues);
        var adjusted = new double[pValues.Count];
        var (rank, largest) = (0, 0.0);
        foreach (var i in Enumerable.Range(0, pValues.Count).OrderBy(i => pValues[i]))
        {
            largest = Math.Max(largest, Math.Min(1, (pValues.Count - rank) * pValues[i]));
            adjusted[i] = largest;
            rank++;
        }
        return adjusted;
    }
}
