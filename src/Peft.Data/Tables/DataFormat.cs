namespace Peft.Data.Tables;

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
