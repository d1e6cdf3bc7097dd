namespace Peft.Benchmarks;

/// <summary>One number of the report.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="Value">The median.</param>
/// <param name="Unit">Its unit.</param>
/// <param name="Low">The lowest of the rounds.</param>
/// <param name="High">The highest.</param>
/// <param name="Limit">What could not be passed, or what it stands against, in words.</param>
internal sealed record Measurement(string Name, double Value, string Unit, double Low, double High, string Limit)
{
    /// <summary>From one value a round.</summary>
    public static Measurement Of(string name, string unit, IEnumerable<double> rounds, string limit)
    {
        var sorted = rounds.Order().ToArray();
        return new(name, Median(sorted), unit, sorted[0], sorted[^1], limit);
    }

    private static double Median(double[] sorted)
    {
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
