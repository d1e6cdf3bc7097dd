using Peft.Formats;

namespace Peft.Data.Tables;

/// <summary>One file of examples.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="Name">Its name in messages and in <see cref="RowId"/>: as the recipe wrote it.</param>
/// <param name="Format">How it is written.</param>
public sealed record DataFile(string Path, string Name, DataFormat Format);

/// <summary>Where an example came from.</summary>
/// <param name="File">The data file, as the recipe names it.</param>
/// <param name="Row">Its row in that file, from 1; a header line is not counted.</param>
public sealed record RowId(string File, long Row)
{
    /// <summary>The line that it begins at, from 1, where the format has lines and the row was just read.</summary>
    public long? Line { get; init; }

    /// <summary>Whether it is the same row; its line follows from that.</summary>
    public bool Equals(RowId? other) => other is not null && Row == other.Row && File == other.File;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(File, Row);

    /// <summary>For messages: <c>train.csv:13</c>, or <c>train.parquet, row 12</c>.</summary>
    public override string ToString() => Line is { } line ? $"{File}:{line}" : $"{File}, row {Row}";
}

/// <summary>How a data file is written.</summary>
public enum DataFormat
{
    /// <summary>Apache Parquet; columns have types.</summary>
    Parquet,

    /// <summary>JSON: a list of objects, or objects one after the other.</summary>
    Json,

    /// <summary>JSON Lines: one object a line.</summary>
    JsonLines,

    /// <summary>Comma-separated, with a header line.</summary>
    Csv,

    /// <summary>Tab-separated, with a header line; a quote is a character like any other.</summary>
    Tsv,

    /// <summary>Plain text, one row a line, in the column <c>text</c>.</summary>
    Text,
}

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

    /// <summary>What <c>format:</c> may say.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. ByName.Keys];

    /// <summary>What a file of a format holds, for messages.</summary>
    public static string Describe(DataFormat format) => format switch
    {
        DataFormat.JsonLines => "one JSON object a line, in UTF-8",
        DataFormat.Json => "a JSON list of objects, in UTF-8",
        DataFormat.Csv => "comma-separated values in UTF-8 with a header line and quotes as in RFC 4180",
        DataFormat.Tsv => "tab-separated values in UTF-8 with a header line",
        DataFormat.Text => "text in UTF-8, one row a line",
        _ => "a Parquet file with its text columns in UTF-8",
    };

    /// <summary>The format of a name; null when there is none of that name.</summary>
    public static DataFormat? Named(string name) => ByName.TryGetValue(name, out var format) ? format : null;

    /// <summary>The format by the ending of a file name (.gz and .zst are looked through); null when it says
    /// nothing.</summary>
    public static DataFormat? OfPath(string path)
    {
        var name = Path.GetFileName(path);
        if (Path.GetExtension(name).ToLowerInvariant() is ".gz" or ".zst")
            name = Path.GetFileNameWithoutExtension(name);
        return Named(Path.GetExtension(name).TrimStart('.'));
    }
}

/// <summary>A data file that cannot be read; the message names the file and what is wrong with it.</summary>
public sealed class DataFileException : UserException
{
    /// <summary>A file that is not what its format says.</summary>
    /// <param name="file">The file.</param>
    /// <param name="found">What is wrong with it.</param>
    /// <param name="line">The line, where there is one.</param>
    /// <param name="inner">The error underneath.</param>
    public DataFileException(DataFile file, string found, long? line = null, Exception? inner = null)
        : this(new Fault(
            line is null ? file.Name : $"{file.Name}:{line}", found, DataFormats.Describe(file.Format),
            file.Format == DataFormat.Parquet ? "export it again with the program that wrote it"
                : "correct the file"), inner)
    {
    }

    /// <summary>Any other fault of a file.</summary>
    public DataFileException(Fault fault, Exception? inner)
        : base(fault.ToString(), inner ?? new InvalidDataException(fault.Found)) => Fault = fault;

    /// <summary>The message in its parts.</summary>
    public Fault Fault { get; }
}
