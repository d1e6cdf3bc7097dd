namespace Peft.Data.Tables;

/// <summary>Reads the rows of one file, one after the other, in the memory of one row (Parquet: of one row group's columns that are read).</summary>
public abstract class TableReader : IDisposable
{
    /// <summary>What stands in <see cref="Values"/> for bytes that are not UTF-8.</summary>
    public static readonly object NotUtf8 = new();

    /// <summary>Makes a reader.</summary>
    /// <param name="columns">How many columns are read.</param>
    protected TableReader(int columns) => Values = new object?[columns];

    /// <summary>The row's number in the file, from 1.</summary>
    public long Number { get; protected set; }

    /// <summary>The line that the row begins at, from 1; null for formats without lines.</summary>
    public virtual long? Line => null;

    /// <summary>Why what was read is no row; null when it is one. Then <see cref="Values"/> mean nothing.</summary>
    public string? Broken { get; protected set; }

    /// <summary>
    /// The row's values, by wanted column: null where there is none; string, bool, integers, <see cref="Peft.Formats.Templates.WrittenNumber"/>,
    /// lists and objects; <see cref="NotUtf8"/>. Overwritten by the next row.
    /// </summary>
    public object?[] Values { get; }

    /// <summary>Goes to the next row; false at the end.</summary>
    /// <exception cref="DataFileException">The file cannot be read on.</exception>
    public abstract bool Read();

    /// <inheritdoc/>
    public abstract void Dispose();
}
