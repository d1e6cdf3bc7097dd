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
        ["txt"] = DataFormat.Text,
    };

    /// <summary>What a file of a format holds, for messages.</summary>
    public static string Describe(DataFormat format) => format switch
    {
        DataFormat.JsonLines => "one JSON object a line, in UTF-8",
        DataFormat.Json => "a JSON list of objects, in UTF-8",
        DataFormat.Csv => "comma-separated values in UTF-8 with a header line, quotes as RFC 4180 has them",
        DataFormat.Tsv => "tab-separated values in UTF-8 with a header line",
        DataFormat.Text => "text in UTF-8, one row a line",
        _ => "a Parquet file, text columns in UTF-8",
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
