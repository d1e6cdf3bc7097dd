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

/// <summary>How far two bags of words overlap.</summary>
public static class TokenOverlap
{
    /// <summary>Harmonic mean of precision and recall of the words; of two empty texts 1, of one 0.</summary>
    /// <remarks>Source: SQuAD 2.0's evaluation script (Rajpurkar et al. 2018, arXiv:1806.03822). Units: 0 to
    /// 1.</remarks>
    public static double F1(IReadOnlyList<string> prediction, IReadOnlyList<string> answer)
    {
        if (prediction.Count == 0 || answer.Count == 0)
            return prediction.Count == answer.Count ? 1 : 0;
        var left = answer.CountBy(word => word).ToDictionary();
        var shared = prediction.CountBy(word => word)
            .Sum(word => Math.Min(word.Value, left.GetValueOrDefault(word.Key)));
        return 2.0 * shared / (prediction.Count + answer.Count);
    }
}
