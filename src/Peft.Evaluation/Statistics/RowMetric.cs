namespace Peft.Evaluation.Statistics;

/// <summary>A metric over some rows of those measured: an index may come several times, and in any order.</summary>
/// <param name="rows">Indices of rows; none is possible only where there are no rows at all.</param>
public delegate double RowMetric(ReadOnlySpan<int> rows);

/// <summary>A confidence interval.</summary>
/// <param name="Low">Lower end.</param>
/// <param name="High">Upper end.</param>
public readonly record struct Interval(double Low, double High);
