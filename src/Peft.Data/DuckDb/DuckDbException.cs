namespace Peft.Data.DuckDb;

/// <summary>What DuckDB itself said about a statement. Callers turn it into a message that names the data file.</summary>
public sealed class DuckDbException : Exception
{
    /// <summary>Makes the error from DuckDB's text.</summary>
    public DuckDbException(string message)
        : base(message)
    {
    }

    /// <summary>The first line of DuckDB's text: what is wrong, without its advice on DuckDB's own settings.</summary>
    public string Summary => Message.Split('\n')[0].Trim();

    /// <summary>The line of the data file that DuckDB names, where it names one that can be relied on (CSV).</summary>
    public string Reason => Message.StartsWith("Invalid Input Error: CSV Error on Line", StringComparison.Ordinal)
        ? string.Join("; ", Message.Split('\n').Where(IsReason).Select(line => line.Trim()))
        : Summary;

    // DuckDB prints: "CSV Error on Line: 3", "Original Line: ...", the reason, then its settings and advice.
    private static bool IsReason(string line) =>
        line.Contains("CSV Error on Line", StringComparison.Ordinal)
        || line.StartsWith("Expected Number of Columns", StringComparison.Ordinal)
        || line.StartsWith("Invalid unicode", StringComparison.Ordinal)
        || line.StartsWith("Value with unterminated quote", StringComparison.Ordinal)
        || line.StartsWith("Maximum line size", StringComparison.Ordinal);
}
