namespace Peft.Evaluation.Metrics;

/// <summary>Least number of insertions, deletions and substitutions between two sequences.</summary>
public static class EditDistance
{
    /// <summary>Levenshtein distance.</summary>
    /// <remarks>Source: Levenshtein 1966; two rows of the table are kept. Units: operations.</remarks>
    public static int Between<T>(IReadOnlyList<T> a, IReadOnlyList<T> b)
        where T : IEquatable<T>
    {
        var previous = new int[b.Count + 1];
        var current = new int[b.Count + 1];
        for (var j = 0; j <= b.Count; j++)
            previous[j] = j;
        for (var i = 1; i <= a.Count; i++)
        {
            current[0] = i;
            for (var j = 1; j <= b.Count; j++)
            {
                var substitution = previous[j - 1] + (a[i - 1].Equals(b[j - 1]) ? 0 : 1);
                current[j] = Math.Min(substitution, Math.Min(previous[j], current[j - 1]) + 1);
            }
            (previous, current) = (current, previous);
        }
        return previous[b.Count];
    }
}
