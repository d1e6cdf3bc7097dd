using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>Reads one data set as sequences, streaming, and keeps count.</summary>
internal sealed class SequenceReader(
    DataSetReader reader, SequenceOptions options, TextEncoder encoder, TaskRegistry tasks)
{
    private readonly long[] _lengths = new long[options.MaxLength + 1];
    private readonly Dictionary<int, long> _tasks = [];
    private long _sequences;
    private long _tokens;
    private long _learned;
    private long _cutTokens;
    private long _cutSequences;
    private long _longRows;
    private long _unlearnableRows;
    private long _unusableRows;
    private long _emptyAnswers;
    private long _cutTurns;
    private long _cutConversations;

    /// <summary>How many sequences there are of each length.</summary>
    public IReadOnlyList<long> Histogram => _lengths;

    /// <summary>What became of the rows so far.</summary>
    public DataStatistics Statistics => new()
    {
        Name = reader.Options.Name,
        Rows = reader.Counts.Rows,
        FilteredRows = reader.Counts.Filtered,
        BadRows = reader.Counts.Bad + _unusableRows,
        LongRows = _longRows,
        UnlearnableRows = _unlearnableRows,
        EmptyAnswers = _emptyAnswers,
        Sequences = _sequences,
        Tokens = _tokens,
        LearnedTokens = _learned,
        CutTokens = _cutTokens,
        CutSequences = _cutSequences,
        CutTurns = _cutTurns,
        CutConversations = _cutConversations,
        Lengths = LengthStatistics.Of(_lengths),
        Tasks =
        [
            .. _tasks.OrderBy(task => task.Key).Select(task => KeyValuePair.Create(tasks.Names[task.Key], task.Value)),
        ],
    };

    /// <summary>Refuses a token that the model has no row for.</summary>
    /// <exception cref="DataRowException">There is one.</exception>
    public static void RequireKnown(TokenSequence sequence, TextEncoder encoder)
    {
        if (encoder.UnknownIn(sequence.Ids, sequence.Row.ToString()) is { } fault)
            throw new DataRowException(sequence.Row, fault);
    }

    /// <summary>The error of a data set of which nothing is left.</summary>
    public static UserException NoSequence(string place, long rows, long filtered, long bad, long tooLong) =>
        UserException.At(
        place,
        $"no sequence: {Words.Count(rows, "row")} read, {filtered:N0} left out by the filter,"
            + $" {bad:N0} bad, {tooLong:N0} too long",
        "at least one", "correct the filter or the files");

    /// <summary>The sequences.</summary>
    /// <param name="readAhead">How many rows are tokenised together, on all cores.</param>
    /// <param name="most">Rows at most; null for as many as the data set's options say.</param>
    public IEnumerable<TokenSequence> Read(int readAhead, long? most = null)
    {
        var limit = reader.Options.Limit ?? long.MaxValue;
        var rows = reader.Read(0, 0, Math.Min(limit, most ?? limit));
        foreach (var sequence in reader.Options.IsText && options.IsWrapped ? Wrapped(rows) : Single(rows, readAhead))
        {
            Count(sequence);
            yield return sequence;
        }
    }

    private IEnumerable<TokenSequence> Single(IEnumerable<Example> rows, int readAhead)
    {
        var builder = new SequenceBuilder(encoder, options, reader);
        foreach (var chunk in rows.Chunk(readAhead))
        {
            // Ids are given in file order, before the work is spread.
            var taskIds = Array.ConvertAll(chunk, example => tasks.IdOf(example.Task!, reader.Options.Place));
            var built = new (IReadOnlyList<TokenSequence> Sequences, DataRowException? Error)[chunk.Length];
            Parallel.For(
                0, chunk.Length, at => built[at] = builder.TryBuild(chunk[at], reader.Options.IsText, taskIds[at]));
            _emptyAnswers += chunk.Count(row => row.Conversation is null && string.IsNullOrWhiteSpace(row.Answer));
            foreach (var (sequences, error) in built)
            {
                if (error is not null)
                    throw error;
                foreach (var sequence in sequences)
                    yield return sequence;
                if (ReferenceEquals(sequences, SequenceBuilder.Unlearnable))
                    _unlearnableRows++;
                else if (ReferenceEquals(sequences, SequenceBuilder.Unusable))
                    _unusableRows++;
                else if (sequences.Count == 0)
                    _longRows++;
            }
        }
    }

    private IEnumerable<TokenSequence> Wrapped(IEnumerable<Example> rows)
    {
        // Texts of one task only share a block.
        var packers = new SortedDictionary<int, TextPacker>();
        foreach (var example in rows)
        {
            var taskId = tasks.IdOf(example.Task!, reader.Options.Place);
            if (!packers.TryGetValue(taskId, out var packer))
                packers.Add(taskId, packer = new TextPacker(encoder, options.MaxLength, options.AddEos));
            foreach (var block in packer.Add(example.Answer, taskId, new RowId(example.Row.File, example.Row.Row)))
                yield return block;
        }

        foreach (var packer in packers.Values)
        {
            if (packer.Finish() is { } last)
                yield return last;
            _cutTokens += packer.Left;
        }
    }

    private void Count(TokenSequence sequence)
    {
        RequireKnown(sequence, encoder);
        _sequences++;
        _tokens += sequence.Ids.Length;
        _learned += sequence.LearnedTokens;
        _cutTokens += sequence.CutTokens;
        _cutSequences += sequence.CutTokens > 0 ? 1 : 0;
        _cutTurns += sequence.CutTurns;
        _cutConversations += sequence.CutTurns > 0 ? 1 : 0;
        _lengths[sequence.Ids.Length]++;
        _tasks[sequence.TaskId] = _tasks.GetValueOrDefault(sequence.TaskId) + 1;
    }
}
