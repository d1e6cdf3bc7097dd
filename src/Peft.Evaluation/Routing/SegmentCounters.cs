namespace Peft.Evaluation.Routing;

/// <summary>
/// SCH: hit rates of a cache of experts that knows how often each expert comes in the next m tokens and gives up the
/// one that comes least. All sizes of the cache at once, by one stack of experts.
/// </summary>
/// <remarks>
/// Source: arXiv:2505.16056, by Mattson's priority stack (1970), which is what its published code computes. An expert
/// stands higher the more often it comes in the m tokens from the current one on, then the more lately it was used; the
/// stack changes only where an expert is used: it goes to the top, and what it pushes down trades places with whatever
/// is less worth keeping, down to where it came from. A hit at size c: the expert stood among the first c when its
/// token began; an expert never used hits while the cache has free room, as there. Hits are pooled over what is added;
/// each sequence begins with an empty cache.
/// </remarks>
public sealed class SegmentCacheCounter
{
    private readonly int _experts;
    private readonly long[] _hits; // [E], by place in the stack
    private long _uses;

    /// <summary>Makes an empty counter.</summary>
    /// <param name="experts">Number of experts, E.</param>
    /// <param name="segment">Tokens looked ahead, the current one included, m.</param>
    public SegmentCacheCounter(int experts, int segment)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(experts, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(segment, 1);
        (_experts, Segment) = (experts, segment);
        _hits = new long[experts];
    }

    /// <summary>Tokens looked ahead.</summary>
    public int Segment { get; }

    /// <summary>Hit rate of a cache of this many experts; 0 before anything was added.</summary>
    public double HitRate(int cacheSize) => _uses == 0 ? 0 : _hits.Take(cacheSize).Sum() / (double)_uses;

    /// <summary>Adds a sequence.</summary>
    /// <param name="tokens">Experts of each token, no expert twice; they are fetched in this order.</param>
    public void Add(IReadOnlyList<IReadOnlyList<int>> tokens)
    {
        var coming = new int[_experts];
        var lastUse = new long[_experts];
        var stack = new List<int>(_experts);
        var seen = 0;
        var clock = 0L;
        foreach (var expert in tokens.Take(Segment).SelectMany(token => token))
            coming[expert]++;
        for (var t = 0; t < tokens.Count; t++)
        {
            foreach (var expert in tokens[t])
            {
                var place = stack.IndexOf(expert);
                _hits[place >= 0 ? place : seen++]++;
                _uses++;
            }
            foreach (var expert in tokens[t])
            {
                Use(stack, expert);
                coming[expert]--;
                lastUse[expert] = ++clock;
            }
            if (t + Segment < tokens.Count)
            {
                foreach (var expert in tokens[t + Segment])
                    coming[expert]++;
            }
        }

        void Use(List<int> order, int expert)
        {
            var place = order.IndexOf(expert);
            if (place < 0)
            {
                order.Add(expert);
                place = order.Count - 1;
            }
            if (place == 0)
                return;
            var carried = order[0];
            order[0] = expert;
            for (var i = 1; i < place; i++)
            {
                if ((coming[order[i]], lastUse[order[i]]).CompareTo((coming[carried], lastUse[carried])) < 0)
                    (order[i], carried) = (carried, order[i]);
            }
            order[place] = carried;
        }
    }
}

/// <summary>
/// SRP: how well a router could do that must hold one set of experts for m tokens in a row. Counts are pooled over all
/// sequences and modules that are added, before the best threshold is looked for.
/// </summary>
/// <remarks>
/// Source: arXiv:2505.16056. For all overlapping windows of m tokens and all experts, c = tokens of the window that use
/// the expert; a threshold t predicts "active" where c ≥ t; F1(t) = 2 Σ_{c≥t} c / max(m #{c≥t} + Σ c, 1); SRP = max
/// over t = 0 … m.
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
    public double Value => Any ? F1(BestThreshold) : 0;

    /// <summary>Experts of the set that does best over the experts that a token uses; 0 where none is used.</summary>
    /// <remarks>Source: m* of arXiv:2505.16056, predicted over active at the optimum.</remarks>
    public double SizeRatio => Counts(BestThreshold) is { Active: > 0 } best ? best.Predicted / (double)best.Active : 0;

    private int BestThreshold => Enumerable.Range(0, Segment + 1).MaxBy(F1);

    /// <summary>Adds a sequence.</summary>
    /// <param name="tokens">Experts of each token, no expert twice.</param>
    public void Add(IReadOnlyList<IReadOnlyList<int>> tokens)
    {
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
        var (match, predicted, active) = Counts(threshold);
        return 2.0 * match / Math.Max(predicted + active, 1);
    }

    private (long Match, long Predicted, long Active) Counts(int threshold)
    {
        var (match, predicted, active) = (0L, 0L, 0L);
        for (var count = 0; count <= Segment; count++)
        {
            active += count * _windows[count];
            if (count >= threshold)
                (match, predicted) = (match + count * _windows[count], predicted + Segment * _windows[count]);
        }
        return (match, predicted, active);
    }
}
