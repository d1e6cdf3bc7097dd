namespace Peft.Fuzz.Tests;

/// <summary>An input that a reader did not take as it should.</summary>
/// <param name="Parser">The reader.</param>
/// <param name="Kind">crash, hang or memory; for a crash also what was thrown and where, so that equal ones count as one.</param>
/// <param name="Number">Number of the input, from 0: with the seed it makes the same input again.</param>
/// <param name="Detail">The whole error.</param>
/// <param name="File">Where the input was saved.</param>
internal sealed record Finding(string Parser, string Kind, long Number, string Detail, string File)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Parser} input {Number}: {Kind}; saved as {File}\n{Detail}";
}

/// <summary>What a parser came to.</summary>
/// <param name="Inputs">Inputs read.</param>
/// <param name="Accepted">Those without an error.</param>
/// <param name="Seconds">Time for all, making and writing them included.</param>
/// <param name="SlowestMilliseconds">Processor time of the slowest.</param>
/// <param name="MostAllocated">Bytes that the hungriest took.</param>
/// <param name="Findings">One of each kind.</param>
internal sealed record FuzzOutcome(
    long Inputs, long Accepted, double Seconds, double SlowestMilliseconds, long MostAllocated, IReadOnlyList<Finding> Findings);
