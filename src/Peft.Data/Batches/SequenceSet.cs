using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Batches;

/// <summary>
/// The sequences of all data sets of <c>train:</c> or of <c>eval:</c>, by index, in file order: 4 bytes a token and 40
/// a sequence, in memory or beyond the budget on disk.
/// </summary>
public sealed class SequenceSet : IDisposable
{
    private const int ReadAhead = 1024; // rows
    private const int ProgressSteps = 8192; // sequences

    // Records are smaller than the tokens they describe.
    private readonly SpillBuffer _records;
    private readonly SpillBuffer _tokens;
    private readonly List<string> _files = [];

    private SequenceSet(BatchOptions options, int padId, string dataSha256)
    {
        var (budget, folder) = ((long)options.MemoryBudgetMb << 20, options.SpillDirectory ?? Path.GetTempPath());
        _records = new SpillBuffer(budget / 5, folder);
        _tokens = new SpillBuffer(budget / 5 * 4, folder);
        (PadId, DataSha256) = (padId, dataSha256);
    }

    /// <summary>How many sequences there are.</summary>
    public long Count { get; private set; }

    /// <summary>Hash over the data files.</summary>
    public string DataSha256 { get; }

    /// <summary>Counts and lengths of all data sets together.</summary>
    public DataStatistics Statistics { get; private set; } = new() { Name = "all" };

    /// <summary>Counts and lengths of each data set, in the recipe's order.</summary>
    public IReadOnlyList<DataStatistics> DataSets { get; private set; } = [];

    /// <summary>True when the tokens did not fit the memory budget and lie in a temporary file.</summary>
    public bool IsOnDisk => _records.IsOnDisk || _tokens.IsOnDisk;

    /// <summary>The token that fills up short rows.</summary>
    internal int PadId { get; }

    /// <summary>Where each data set's sequences are.</summary>
    internal IReadOnlyList<DrawRange> Ranges { get; private set; } = [];

    /// <summary>The sequence at an index.</summary>
    public TokenSequence this[long index]
    {
        get
        {
            var record = ReadRecord(index);
            var ids = new int[record.Length];
            _tokens.Read(record.Offset, MemoryMarshal.AsBytes(ids.AsSpan()));
            var runs = Unmarked(ids);
            return new TokenSequence(
                ids, runs, record.TaskId, new RowId(_files[record.FileId], record.Row), record.CutTokens)
            {
                CutTurns = record.CutTurns,
            };
        }
    }

    /// <summary>All sequences in file order, padded to batches; the last batch may be smaller.</summary>
    public IEnumerable<TokenBatch> Sequential(int batchSize)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        for (var start = 0L; start < Count; start += batchSize)
        {
            var first = start;
            var count = (int)Math.Min(batchSize, Count - start);
            yield return TokenBatch.Of([.. Enumerable.Range(0, count).Select(at => this[first + at])], PadId);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _records.Dispose();
        _tokens.Dispose();
    }

    /// <summary>Reads and tokenises data sets, on all cores.</summary>
    /// <param name="readers">The data sets, checked.</param>
    /// <param name="options">Lengths, memory and its folder.</param>
    /// <param name="encoder">Makes tokens of text.</param>
    /// <param name="tasks">Takes the tasks that come up.</param>
    /// <param name="dataSha256">Hash over the data files.</param>
    /// <param name="progress">Told the number of sequences now and then; may be null.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="Peft.Formats.UserException">A row cannot be used, or a data set has no sequence.</exception>
    internal static SequenceSet Read(
        IReadOnlyList<DataSetReader> readers, BatchOptions options, TextEncoder encoder, TaskRegistry tasks,
        string dataSha256,
        Action<long>? progress, CancellationToken cancellation)
    {
        var set = new SequenceSet(options, encoder.PadId, dataSha256);
        try
        {
            var ranges = new List<DrawRange>();
            var dataSets = new List<DataStatistics>();
            var lengths = new long[options.MaxLength + 1];
            foreach (var reader in readers)
            {
                var start = set.Count;
                var source = new SequenceReader(reader, options, encoder, tasks);
                foreach (var sequence in source.Read(ReadAhead))
                {
                    set.Add(sequence);
                    if (set.Count % ProgressSteps != 0)
                        continue;
                    cancellation.ThrowIfCancellationRequested();
                    progress?.Invoke(set.Count);
                }

                dataSets.Add(source.Statistics);
                ranges.Add(new DrawRange(start, set.Count - start, reader.Options.Weight));
                for (var length = 0; length < lengths.Length; length++)
                    lengths[length] += source.Histogram[length];
                if (source.Statistics is { Sequences: 0 } none)
                    throw SequenceReader.NoSequence(
                        reader.Options.Place, none.Rows, none.FilteredRows, none.BadRows, none.LongRows);
            }

            (set.Ranges, set.DataSets) = (ranges, dataSets);
            set.Statistics = DataStatistics.Sum(dataSets, LengthStatistics.Of(lengths), tasks.Names);
            return set;
        }
        catch
        {
            set.Dispose();
            throw;
        }
    }

    /// <summary>Length of a sequence, in tokens.</summary>
    internal int LengthOf(long index) => ReadRecord(index).Length;

    private void Add(TokenSequence sequence)
    {
        var record = new Record
        {
            Offset = _tokens.Append(MemoryMarshal.AsBytes(Marked(sequence).AsSpan())),
            Row = sequence.Row.Row,
            Length = sequence.Ids.Length,
            TaskId = sequence.TaskId,
            FileId = IdOf(sequence.Row.File),
            CutTokens = sequence.CutTokens,
            CutTurns = sequence.CutTurns,
        };
        _records.Append(MemoryMarshal.AsBytes(new ReadOnlySpan<Record>(in record)));
        Count++;
    }

    // An id is never negative: a learned one is stored as its complement, so that what is learned costs no memory.
    private static int[] Marked(TokenSequence sequence)
    {
        int[] marked = [.. sequence.Ids];
        foreach (var run in sequence.Learned)
        {
            for (var at = run.Start; at < run.End; at++)
                marked[at] = ~marked[at];
        }

        return marked;
    }

    // Takes the marks off and tells where they were.
    private static IReadOnlyList<LearnedRun> Unmarked(int[] ids)
    {
        var runs = TokenSequence.Runs(ids.Length, at => ids[at] < 0);
        foreach (var run in runs)
        {
            for (var at = run.Start; at < run.End; at++)
                ids[at] = ~ids[at];
        }

        return runs;
    }

    // Files come one after the other: the last one is nearly always the one.
    private int IdOf(string file)
    {
        var at = _files.LastIndexOf(file);
        if (at >= 0)
            return at;
        _files.Add(file);
        return _files.Count - 1;
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
        public int TaskId;
        public int FileId;
        public int CutTokens;
        public int CutTurns;
        private readonly int _unused;
    }
}
