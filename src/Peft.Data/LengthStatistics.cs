namespace Peft.Data;

/// <summary>Exact percentiles of sequence lengths, in tokens.</summary>
/// <param name="Shortest">The least.</param>
/// <param name="Median">Half are not longer.</param>
/// <param name="P90">90 % are not longer.</param>
/// <param name="P99">99 % are not longer.</param>
/// <param name="Longest">The greatest.</param>
public sealed record LengthStatistics(int Shortest, int Median, int P90, int P99, int Longest)
{
    /// <summary>From how many sequences there are of each length.</summary>
    internal static LengthStatistics Of(IReadOnlyList<long> histogram)
    {
        var total = histogram.Sum();
        return total == 0
            ? new LengthStatistics(0, 0, 0, 0, 0)
            : new LengthStatistics(At(0), At(0.5), At(0.9), At(0.99), At(1));

        int At(double share)
        {
            var rank = Math.Max(1, (long)Math.Ceiling(share * total));
            var length = -1;
            for (var seen = 0L; seen < rank;)
                seen += histogram[++length];
            return length;
        }
    }
}
