using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Peft.Data.Tokens;

/// <summary>All sequences of a run by index, 4 bytes a token and 40 a sequence, in memory or beyond the budget on disk.</summary>
internal sealed class SequenceStore(long memoryBudget, string spillFolder) : IDisposable
{
    // Records are smaller than the tokens they describe.
    private readonly SpillBuffer _records = new(memoryBudget / 5, spillFolder);
    private readonly SpillBuffer _tokens = new(memoryBudget / 5 * 4, spillFolder);

    /// <summary>How many sequences there are.</summary>
    public long Count { get; private set; }

    /// <summary>True when some of it lies on disk.</summary>
    public bool IsOnDisk => _records.IsOnDisk || _tokens.IsOnDisk;

    /// <summary>Appends a sequence.</summary>
    public void Add(in EncodedSequence sequence)
    {
        var record = new Record
        {
            Offset = _tokens.Append(MemoryMarshal.AsBytes(sequence.Ids.AsSpan())),
            Row = sequence.Row,
            Length = sequence.Ids.Length,
            LearnedFrom = sequence.LearnedFrom,
            TaskId = sequence.TaskId,
            FileId = sequence.FileId,
            CutTokens = sequence.CutTokens,
        };
        _records.Append(MemoryMarshal.AsBytes(new ReadOnlySpan<Record>(in record)));
        Count++;
    }

    /// <summary>Length of a sequence, in tokens.</summary>
    public int LengthOf(long index) => ReadRecord(index).Length;

    /// <summary>Reads a sequence.</summary>
    public EncodedSequence Read(long index)
    {
        var record = ReadRecord(index);
        var ids = new int[record.Length];
        _tokens.Read(record.Offset, MemoryMarshal.AsBytes(ids.AsSpan()));
        return new EncodedSequence(ids, record.LearnedFrom, record.TaskId, record.FileId, record.Row, record.CutTokens);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _records.Dispose();
        _tokens.Dispose();
    }

    private Record ReadRecord(long index)
    {
        var record = default(Record);
        _records.Read(index * Unsafe.SizeOf<Record>(), MemoryMarshal.AsBytes(new Span<Record>(ref record)));
        return record;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Record
    {
        public long Offset; // in bytes
        public long Row;
        public int Length;
        public int LearnedFrom;
        public int TaskId;
        public int FileId;
        public int CutTokens;
        private readonly int _unused;
    }
}
