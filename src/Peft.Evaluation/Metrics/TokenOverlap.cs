namespace Peft.Evaluation.Metrics;

/// <summary>How far two bags of words overlap.</summary>
public static class TokenOverlap
{
    /// <summary>Harmonic mean of precision and recall of the words; of two empty texts 1, of one 0.</summary>
    /// <remarks>Source: SQuAD 2.0's evaluation script (Rajpurkar et al. 2018, arXiv:1806.03822). Units: 0 to 1.</remarks>
    public static double F1(IReadOnlyList<string> prediction, IReadOnlyList<string> answer)
    {
        ArgumentNullException.ThrowIfNull(prediction);
        ArgumentNullException.ThrowIfNull(answer);
        if (prediction.Count == 0 || answer.Count == 0)
            return prediction.Count == answer.Count ? 1 : 0;
        var left = answer.CountBy(word => word).ToDictionary();
        var shared = prediction.CountBy(word => word).Sum(word => Math.Min(word.Value, left.GetValueOrDefault(word.Key)));
        return 2.0 * shared / (prediction.Count + answer.Count);
    }
}
