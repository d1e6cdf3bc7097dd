namespace Peft.Data.Tables;

/// <summary>Names and file name endings of the formats.</summary>
public static class DataFormats
{
    private static readonly Dictionary<string, DataFormat> ByName = new(StringComparer.OrdinalIgnoreCase)
    {
        ["parquet"] = DataFormat.Parquet,
        ["jsonl"] = DataFormat.JsonLines,
        ["json"] = DataFormat.Json,
        ["csv"] = DataFormat.Csv,
        ["tsv"] = DataFormat.Tsv,
        ["ndjson"] = DataFormat.JsonLines,
    };

    /// <summary>What <c>format:</c> may say.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. ByName.Keys];

    /// <summary>The format of a name; null when there is none of that name.</summary>
    public static DataFormat? Named(string name) => ByName.TryGetValue(name, out var format) ? format : null;

    /// <summary>The format by the ending of a file name (.gz and .zst are looked through); null when it says nothing.</summary>
    public static DataFormat? OfPath(string path)
    {
        var name = Path.GetFileName(path);
        if (Path.GetExtension(name).ToLowerInvariant() is ".gz" or ".zst")
            name = Path.GetFileNameWithoutExtension(name);
        return Named(Path.GetExtension(name).TrimStart('.'));
    }
}
