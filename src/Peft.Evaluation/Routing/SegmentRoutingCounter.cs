namespace Peft.Evaluation.Routing;

/// <summary>
/// SRP: how well a router could do that must hold one set of experts for m tokens in a row. Counts are pooled over all sequences
/// and modules that are added, before the best threshold is looked for.
/// </summary>
/// <remarks>
/// Source: arXiv:2505.16056. For all overlapping windows of m tokens and all experts, c = tokens of the window that use the expert;
/// a threshold t predicts "active" where c ≥ t; F1(t) = 2 Σ_{c≥t} c / max(m #{c≥t} + Σ c, 1); SRP = max over t = 0 … m.
/// </remarks>
public sealed class SegmentRoutingCounter
{
    private readonly int _experts;
    private readonly long[] _windows; // [m + 1], how many (window, expert) have this count

    /// <summary>Makes an empty counter.</summary>
    /// <param name="experts">Number of experts, E.</param>
    /// <param name="segment">Length of the windows in tokens, m.</param>
    public SegmentRoutingCounter(int experts, int segment)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(experts, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(segment, 1);
        (_experts, Segment) = (experts, segment);
        _windows = new long[segment + 1];
    }

    /// <summary>Length of the windows.</summary>
    public int Segment { get; }

    /// <summary>Whether any window was counted: sequences shorter than the segment have none.</summary>
    public bool Any => _windows.Any(count => count > 0);

    /// <summary>SRP of what was added; 0 before the first window.</summary>
    public double Value => Any ? Enumerable.Range(0, Segment + 1).Max(F1) : 0;

    /// <summary>Adds a sequence.</summary>
    /// <param name="tokens">Experts of each token, no expert twice.</param>
    public void Add(IReadOnlyList<IReadOnlyList<int>> tokens)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        var counts = new int[_experts];
        for (var t = 0; t < tokens.Count; t++)
        {
            foreach (var expert in tokens[t])
                counts[expert]++;
            if (t >= Segment)
            {
                foreach (var expert in tokens[t - Segment])
                    counts[expert]--;
            }
            if (t < Segment - 1)
                continue;
            foreach (var count in counts)
                _windows[count]++;
        }
    }

    /// <summary>F1 of the prediction "active where the count is at least the threshold".</summary>
    public double F1(int threshold)
    {
        var (match, predicted, active) = (0L, 0L, 0L);
        for (var count = 0; count <= Segment; count++)
        {
            active += count * _windows[count];
            if (count >= threshold)
                (match, predicted) = (match + count * _windows[count], predicted + Segment * _windows[count]);
        }
        return 2.0 * match / Math.Max(predicted + active, 1);
    }
}
