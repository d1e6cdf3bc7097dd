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
    private readonly SequenceBuilder _builder = new(encoder, options, set.Reader);
    private readonly int _taskId = tasks.IdOf(
        set.Reader.Options.Task ?? set.Reader.Options.Name, set.Reader.Options.Place);
    private readonly Dictionary<string, int> _fileIndex =
        set.Reader.Files.Select((file, at) => (file.Name, at)).ToDictionary(
            file => file.Name, file => file.at, StringComparer.Ordinal);

    private readonly Queue<(IReadOnlyList<TokenSequence> Sequences, DataRowException? Error)> _encoded = [];
    private IEnumerator<Example>? _rows; // behind the block
    private Example[]? _all; // in file order, of a data set that is no larger than a block
    private Example?[] _block = []; // in the order of drawing; null once encoded
    private bool _isBlockRead;
    private (int File, long Row) _blockEnd;
    private RowPosition _at = RowPosition.StartOf(0);
    private RowPosition _start = RowPosition.StartOf(0);
    private long _sequences; // since _start
    private long _longRows;

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
        (_sequences, _longRows) = (0, 0);
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
                _longRows += head.Sequences.Count == 0 ? 1 : 0;
                NextRow();
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
        _sequences++;
        if (_at.Piece + 1 < sequences.Count)
            _at = _at with { Piece = _at.Piece + 1 };
        else
            NextRow();
        return sequence;
    }

    /// <inheritdoc/>
    public void Dispose() => _rows?.Dispose();

    private void NextRow()
    {
        _encoded.Dequeue();
        _at = _at with { Index = _at.Index + 1, Piece = 0 };
    }

    private bool ReadBlock()
    {
        if (_isBlockRead)
            _at = new RowPosition(_at.Pass, _at.Block + 1, _blockEnd.File, _blockEnd.Row, 0, 0);
        _isBlockRead = true;
        var rows = ReadRows();
        if (rows.Length > 0)
            _blockEnd = (_fileIndex[rows[^1].Row.File], rows[^1].Row.Row);
        if (_at.Block == 0 && rows.Length < options.ShuffleBufferSize)
            _all ??= [.. rows];
        if (options.Shuffle)
            Permutation.Shuffle(rows.AsSpan(), CounterRandom.Key((long)key, _at.Pass, _at.Block));
        _block = rows;
        Array.Clear(_block, 0, Math.Min(_at.Index, _block.Length)); // drawn before the place that was sought
        return rows.Length > 0;
    }

    private Example[] ReadRows()
    {
        if (_all is not null)
            return _at.Block == 0 ? [.. _all] : [];
        try
        {
            var left = (_reader.Options.Limit ?? long.MaxValue) - _at.Block * options.ShuffleBufferSize;
            _rows ??= _reader.Read(_at.File, _at.Row, left).GetEnumerator();
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
        if (_sequences == 0 && _start == RowPosition.StartOf(_at.Pass))
            throw SequenceReader.NoSequence(_reader.Options.Place, _reader.Counts, _longRows);
        LeaveBlock();
        _start = _at = RowPosition.StartOf(_at.Pass + 1);
        (_sequences, _longRows) = (0, 0);
    }

    private void LeaveBlock()
    {
        _rows?.Dispose();
        (_rows, _block, _isBlockRead) = (null, [], false);
        _encoded.Clear();
    }
}
