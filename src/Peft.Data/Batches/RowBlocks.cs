using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Batches;

/// <summary>
/// One data set, endlessly: rows are read in blocks of <c>shuffle_buffer_size</c> in file order, each block is
/// shuffled, and its rows are encoded a few at a time as they are drawn. Only the current block is held.
/// </summary>
internal sealed class RowBlocks(
    StreamedSet set, FileStamps stamps, BatchOptions options, TextEncoder encoder, TaskRegistry tasks,
    ulong key) : IDisposable
{
    private const int EncodedTogether = 64; // rows
    private readonly DataSetReader _reader = set.Reader;
    private readonly TextEncoder _encoder = encoder;
    private readonly SequenceBuilder _builder = new(encoder, options, set.Reader);
    private readonly int _taskId = tasks.IdOf(
        set.Reader.Options.Task ?? set.Reader.Options.Name, set.Reader.Options.Place);
    private readonly Dictionary<string, int> _fileIndex =
        set.Reader.Files.Select((file, at) => (file.Name, at)).ToDictionary(
            file => file.Name, file => file.at, StringComparer.Ordinal);

    private readonly Queue<(IReadOnlyList<TokenSequence> Sequences, DataRowException? Error)> _encoded = [];
    private IEnumerator<Example>? _rows; // behind the block
    private ReadCounts _counts = new(); // of _rows
    private StreamCounts _read = new(); // rows of the block, counted with the first that is drawn
    private (Example[] Rows, StreamCounts Read)? _all; // in file order, of a data set that is no larger than a block
    private Example?[] _block = []; // in the order of drawing; null once encoded
    private bool _isBlockRead;
    private (int File, long Row) _blockEnd;
    private RowPosition _at = RowPosition.StartOf(0);
    private RowPosition _start = RowPosition.StartOf(0);
    private long _sequences; // since _start

    /// <summary>Before the next row.</summary>
    public RowPosition Position => _at;

    /// <summary>Rows of this pass that were drawn.</summary>
    public long Drawn => _at.Block * options.ShuffleBufferSize + _at.Index;

    /// <summary>Whether a place can be one of this data set.</summary>
    public bool Has(RowPosition place) =>
        place is { Pass: >= 0, Block: >= 0, File: >= 0, Row: >= 0, Index: >= 0, Piece: >= 0 }
        && place.File < _reader.Files.Count && place.Index <= options.ShuffleBufferSize;

    /// <summary>Goes to a place; costs nothing where it is there already.</summary>
    public void Seek(RowPosition position)
    {
        if (_at == position)
            return;
        LeaveBlock();
        _start = _at = position;
        _sequences = 0;
    }

    /// <summary>Looks for the next sequence. False at the end of a pass; the next pass begins with the next
    /// call.</summary>
    /// <exception cref="DataRowException">A row that is read cannot be used and on_bad_row is error.</exception>
    public bool MoveToNext()
    {
        while (true)
        {
            if (_encoded.TryPeek(out var head))
            {
                if (_at.Piece < head.Sequences.Count || head.Error is not null)
                    return true;
                NextRow(CountsOfBlock);
            }
            else if (_at.Index < _block.Length)
            {
                Encode();
            }
            else if (!ReadBlock())
            {
                EndPass();
                return false;
            }
        }
    }

    /// <summary>Draws the sequence that <see cref="MoveToNext"/> found.</summary>
    /// <exception cref="DataRowException">The row makes no sequence.</exception>
    public TokenSequence Take()
    {
        var (sequences, error) = _encoded.Peek();
        if (error is not null)
            throw error;
        var sequence = sequences[_at.Piece];
        SequenceReader.RequireKnown(sequence, _encoder);
        _sequences++;
        var counts = CountsOfBlock.With(sequence);
        if (_at.Piece + 1 < sequences.Count)
            _at = _at with { Piece = _at.Piece + 1, Counts = counts };
        else
            NextRow(counts);
        return sequence;
    }

    /// <inheritdoc/>
    public void Dispose() => _rows?.Dispose();

    // Beyond its first place a block is counted already: so it comes once, also where it is read again to go on in it.
    private StreamCounts CountsOfBlock => _at is { Index: 0, Piece: 0 } ? _at.Counts + _read : _at.Counts;

    private void NextRow(StreamCounts before)
    {
        var sequences = _encoded.Dequeue().Sequences;
        var isUnlearnable = ReferenceEquals(sequences, SequenceBuilder.Unlearnable);
        var isUnusable = ReferenceEquals(sequences, SequenceBuilder.Unusable);
        var isLong = sequences.Count == 0 && !isUnlearnable && !isUnusable;
        var counts = before with
        {
            BadRows = before.BadRows + (isUnusable ? 1 : 0),
            DrawnRows = before.DrawnRows + 1,
            UnlearnableRows = before.UnlearnableRows + (isUnlearnable ? 1 : 0),
            LongRows = before.LongRows + (isLong ? 1 : 0),
        };
        _at = _at with { Index = _at.Index + 1, Piece = 0, Counts = counts };
    }

    private bool ReadBlock()
    {
        if (_isBlockRead)
            _at = new RowPosition(_at.Pass, _at.Block + 1, _blockEnd.File, _blockEnd.Row, 0, 0)
            {
                Counts = CountsOfBlock,
            };
        _isBlockRead = true;
        var before = (_counts.Rows, _counts.Filtered, _counts.Bad);
        var rows = ReadRows();
        _read = new StreamCounts(
            _counts.Rows - before.Rows, _counts.Filtered - before.Filtered, _counts.Bad - before.Bad);
        if (rows.Length > 0)
            _blockEnd = (_fileIndex[rows[^1].Row.File], rows[^1].Row.Row);
        if (_at.Block == 0 && rows.Length < options.ShuffleBufferSize)
            _all ??= ([.. rows], _read);
        if (_at.Block == 0 && _all is { } all)
            _read = all.Read;
        if (options.Shuffle)
            Permutation.Shuffle(rows.AsSpan(), CounterRandom.Key((long)key, _at.Pass, _at.Block));
        _block = rows;
        Array.Clear(_block, 0, Math.Min(_at.Index, _block.Length)); // drawn before the place that was sought
        return rows.Length > 0;
    }

    private Example[] ReadRows()
    {
        if (_all is { } all)
            return _at.Block == 0 ? [.. all.Rows] : [];
        try
        {
            var left = (_reader.Options.Limit ?? long.MaxValue) - _at.Block * options.ShuffleBufferSize;
            _rows ??= _reader.Read(_at.File, _at.Row, left, _counts = new ReadCounts()).GetEnumerator();
            var rows = new List<Example>();
            while (rows.Count < options.ShuffleBufferSize && _rows.MoveNext())
                rows.Add(_rows.Current);
            stamps.RequireUnchanged();
            return [.. rows];
        }
        catch (UserException error)
        {
            LeaveBlock(); // asked again, it fails again
            stamps.RequireUnchanged(error); // rather than what a half-written row looks like
            throw;
        }
    }

    private void Encode()
    {
        var first = _at.Index;
        var count = Math.Min(EncodedTogether, _block.Length - first);
        var built = new (IReadOnlyList<TokenSequence>, DataRowException?)[count];
        Parallel.For(
            0, built.Length, at => built[at] = _builder.TryBuild(_block[first + at]!, _reader.Options.IsText, _taskId));
        Array.Clear(_block, first, built.Length);
        foreach (var result in built)
            _encoded.Enqueue(result);
    }

    private void EndPass()
    {
        var (all, before) = (CountsOfBlock, _start.Counts);
        if (_sequences == 0 && _start == RowPosition.StartOf(_at.Pass) with { Counts = before })
        {
            throw SequenceReader.NoSequence(
                _reader.Options.Place, all.Rows - before.Rows, all.FilteredRows - before.FilteredRows,
                all.BadRows - before.BadRows, all.LongRows - before.LongRows);
        }

        _at = RowPosition.StartOf(_at.Pass + 1) with { Counts = all };
        LeaveBlock();
        _start = _at;
        _sequences = 0;
    }

    private void LeaveBlock()
    {
        _rows?.Dispose();
        (_rows, _counts, _read, _block, _isBlockRead) = (null, new ReadCounts(), new StreamCounts(), [], false);
        _encoded.Clear();
    }
}
