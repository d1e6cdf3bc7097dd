using Parquet;
using Parquet.Meta;

namespace Peft.Data.Tables;

/// <summary>A Parquet file, opened once and safely: its ends are looked at and its footer is walked before the library
/// reads it.</summary>
/// <remarks>Over some damaged bytes the library reads on for ever, takes no cancellation there, and works on a copy in
/// memory that no stream can stop. So all that it reads is read against the clock: the thread is left behind, and the
/// file counts as damaged.
/// </remarks>
public sealed class ParquetFile : IDisposable
{
    private const long SlowestBytes = 1 << 20; // a second
    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(30);
    private readonly TimeSpan _limit;

    private ParquetFile(DataFile file, ParquetReader reader, TimeSpan limit) =>
        (File, Reader, _limit) = (file, reader, limit);

    /// <summary>The file.</summary>
    public DataFile File { get; }

    /// <summary>The library's reader; what takes reading goes through <see cref="Within{T}(Func{Task{T}})"/>.</summary>
    public ParquetReader Reader { get; }

    /// <summary>Rows of all row groups, out of the footer.</summary>
    public long RowCount => Reader.RowGroups.Sum(group => group.RowCount);

    /// <summary>Opens a file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="isRaw">Whether texts are to be had as their bytes, so that it is seen whether they are
    /// UTF-8.</param>
    /// <exception cref="DataFileException">It cannot be read, or is not a whole Parquet file.</exception>
    public static ParquetFile Open(DataFile file, bool isRaw = false)
    {
        FileStream? stream = null;
        try
        {
            stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            CheckEnds(file, stream);
            if (!ParquetFooter.IsWhole(stream))
                throw new DataFileException(file, "damaged: its footer cannot be read");
            stream.Position = 0;
            var limit = Shortest + TimeSpan.FromSeconds(stream.Length / SlowestBytes);
            return new ParquetFile(file, InTime(limit, () => Create(stream, isRaw)), limit);
        }
        catch (Exception error)
        {
            stream?.Dispose();
            throw Translated(file, error);
        }
    }

    /// <summary>The error of a file over which reading failed; the library meets damaged bytes with exceptions of many
    /// kinds.</summary>
    public static DataFileException Translated(DataFile file, Exception error) => error switch
    {
        DataFileException known => known,
        not (InvalidDataException or EndOfStreamException) when DataStreams.IsReading(error) =>
            DataStreams.Unreadable(file, error),
        _ => new DataFileException(file, $"damaged: {Peft.Formats.Quote.Of(error.Message)}", inner: error),
    };

    /// <summary>The result of a reading that ends in time.</summary>
    /// <exception cref="InvalidDataException">It does not end within 30 s and 1 s for each MiB of the file.</exception>
    public T Within<T>(Func<Task<T>> read) => InTime(_limit, read);

    /// <inheritdoc/>
    public void Dispose() => Reader.DisposeAsync().AsTask().GetAwaiter().GetResult();

    private static T InTime<T>(TimeSpan limit, Func<Task<T>> read)
    {
        var reading = Task.Run(read);
        if (!((IAsyncResult)reading).AsyncWaitHandle.WaitOne(limit))
            throw new InvalidDataException($"it could not be read in {limit.TotalSeconds:F0} s");
        return reading.GetAwaiter().GetResult();
    }

    private static async Task<ParquetReader> Create(FileStream stream, bool isRaw)
    {
        var options = new ParquetOptions
        {
            UseDateOnlyTypeForDates = true, UseBigDecimal = true, TreatByteArrayAsString = false,
        };
        var reader = await ParquetReader.CreateAsync(stream, options, leaveStreamOpen: false);
        if (isRaw)
            TextsAsBytes(reader.Metadata!.Schema);
        // Read when they are first asked for.
        _ = (reader.Schema.Fields.Count, reader.RowGroups.Sum(group => group.RowCount));
        return reader;
    }

    // Before the schema is first asked for. The library would put U+FFFD for what is not UTF-8, and say nothing.
    private static void TextsAsBytes(IEnumerable<SchemaElement> schema)
    {
        foreach (var element in schema.Where(element => element.Type == Parquet.Meta.Type.BYTE_ARRAY))
        {
            if (element.ConvertedType is ConvertedType.UTF8 or ConvertedType.JSON or ConvertedType.ENUM)
                element.ConvertedType = null;
            if (element.LogicalType is { STRING: not null } or { JSON: not null } or { ENUM: not null })
                element.LogicalType = null;
        }
    }

    private static void CheckEnds(DataFile file, FileStream stream)
    {
        const int Magic = 4;
        Span<byte> ends = stackalloc byte[2 * Magic];
        if (stream.Length >= 3 * Magic)
        {
            stream.ReadExactly(ends[..Magic]);
            stream.Seek(-Magic, SeekOrigin.End);
            stream.ReadExactly(ends[Magic..]);
        }

        var begin = ends[..Magic];
        var end = ends[Magic..];
        if (begin.SequenceEqual("PARE"u8) || end.SequenceEqual("PARE"u8))
            throw new DataFileException(file, "an encrypted file");
        if (!begin.SequenceEqual("PAR1"u8))
            throw new DataFileException(file, "does not begin with PAR1");
        if (!end.SequenceEqual("PAR1"u8))
            throw new DataFileException(file, "cut short: its end is missing");
    }
}
