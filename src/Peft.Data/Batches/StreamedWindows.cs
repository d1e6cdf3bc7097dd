using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Batches;

/// <summary>
/// Windows of sequences that are read and tokenised as they are drawn. With weights each place draws a data set by
/// weight, as
/// <see cref="DrawOrder"/> does, and a data set begins again when it is through. Without, an epoch is each row once:
/// data sets are drawn by the rows that they have left, or one after the other where rows are not shuffled.
/// </summary>
internal sealed class StreamedWindows : IWindowSource, IDisposable
{
    private readonly BatchOptions _options;
    private readonly IReadOnlyList<long?> _rows; // of each data set
    private readonly RowBlocks[] _sets;
    private readonly WeightedDraw _choice;
    private readonly int _windowRows;

    public StreamedWindows(
        StreamedData data, BatchOptions options, TextEncoder encoder, TaskRegistry tasks, int batchSize, long seed)
    {
        _options = options;
        _rows = [.. data.Sets.Select(set => set.Rows)];
        _sets = [.. data.Sets.Select((set, slot) => new RowBlocks(
            set, data.Stamps, options, encoder, tasks, CounterRandom.Key(seed, (long)RandomStream.Block, slot)))];
        _choice = new WeightedDraw([.. data.Sets.Select(set => set.Reader.Options.Weight)], seed);
        _windowRows = batchSize * options.BucketWindow;
        SequencesPerEpoch = data.SequencesPerEpoch;
        PadId = encoder.PadId;
        Start = new BatchStreamState(
            seed, batchSize, options.BucketWindow, options.RowLength, SequencesPerEpoch ?? 0, data.DataSha256, 0, 0, 0,
            [],
            new StreamPosition(options.ShuffleBufferSize, 0, Positions()));
    }

    /// <inheritdoc/>
    public BatchStreamState Start { get; }

    /// <inheritdoc/>
    public long? SequencesPerEpoch { get; }

    /// <inheritdoc/>
    public int PadId { get; }

    /// <inheritdoc/>
    public StreamCounts? Counts => _sets.Aggregate(new StreamCounts(), (all, set) => all + set.Position.Counts);

    /// <inheritdoc/>
    public bool Has(BatchStreamState place) =>
        place.Stream is { Place: >= 0 } stream && _sets.Zip(stream.Sets).All(pair => pair.First.Has(pair.Second));

    /// <inheritdoc/>
    public Window Read(BatchStreamState at)
    {
        var position = at.Stream!;
        for (var set = 0; set < _sets.Length; set++)
            _sets[set].Seek(position.Sets[set]);
        var window = new List<TokenSequence>();
        var tokens = 0L;
        var place = position.Place;
        var next = Choose(at.Epoch, place);
        for (; next is not null && Rows() < _windowRows; next = Choose(at.Epoch, ++place))
        {
            window.Add(next.Take());
            tokens += window[^1].Ids.Length;
        }

        var isEpochEnd = next is null;
        return new Window(
            window.Count,
            index => window[(int)index].Ids.Length,
            index => window[(int)index],
            at with
            {
                Epoch = isEpochEnd ? at.Epoch + 1 : at.Epoch,
                Window = isEpochEnd ? 0 : at.Window + 1,
                Batch = 0,
                Stream = position with { Place = isEpochEnd ? 0 : place, Sets = Positions() },
            });

        long Rows() => _options.RowLength == 0 ? window.Count : tokens / _options.RowLength;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var set in _sets)
            set.Dispose();
    }

    private RowPosition[] Positions() => [.. _sets.Select(set => set.Position)];

    // The data set whose turn it is, standing at its next sequence; null at the end of the epoch.
    private RowBlocks? Choose(long epoch, long place)
    {
        if (!_choice.IsWeighted)
            return ByRowsLeft(epoch, place);
        if (place == SequencesPerEpoch)
            return null;
        var chosen = _sets[_choice.ByWeight(epoch, place)];
        // A pass that is through is followed by another, which has a sequence or is refused.
        return chosen.MoveToNext() || chosen.MoveToNext() ? chosen : null;
    }

    private RowBlocks? ByRowsLeft(long epoch, long place)
    {
        var all = Enumerable.Range(0, _sets.Length);
        List<int> open = [.. all.Where(set => _sets[set].Position.Pass == epoch && _sets[set].MoveToNext())];
        if (open.Count == 0)
            return null;
        if (open.Count == 1 || !_options.Shuffle)
            return _sets[open[0]];
        var left = open.ConvertAll(set => Math.Max(1, _rows[set]!.Value - _sets[set].Drawn));
        var point = (long)(_choice.Point(epoch, place) * left.Sum());
        var chosen = 0;
        while (point >= left[chosen])
            point -= left[chosen++];
        return _sets[open[chosen]];
    }
}

/// <summary>A data set that is read while training.</summary>
/// <param name="Reader">Its rows.</param>
/// <param name="Rows">How many rows it has; null where only reading tells.</param>
/// <param name="Unknown">Why, then.</param>
internal sealed record StreamedSet(DataSetReader Reader, long? Rows, string? Unknown);

/// <summary>The data sets of <c>train:</c> that are read while training, and what is known of them before.</summary>
/// <param name="Sets">The data sets, in the recipe's order.</param>
/// <param name="DataSha256">Hash over the data files.</param>
/// <param name="Stamps">The files as they were before anything was read.</param>
/// <param name="SequencesPerEpoch">Sequences of an epoch; null where only reading tells.</param>
/// <param name="Unknown">Why only reading tells.</param>
internal sealed record StreamedData(
    IReadOnlyList<StreamedSet> Sets, string DataSha256, FileStamps Stamps, long? SequencesPerEpoch, string? Unknown)
{
    /// <summary>Counts rows where that takes no reading.</summary>
    /// <param name="readers">The data sets, checked.</param>
    /// <param name="options">The recipe's section.</param>
    /// <param name="dataSha256">Hash over the data files.</param>
    /// <param name="stamps">The files as they were before that.</param>
    /// <exception cref="UserException">Rows are to come once an epoch from several data sets, and one is of unknown
    /// size.</exception>
    public static StreamedData Of(
        IReadOnlyList<DataSetReader> readers, BatchOptions options, string dataSha256, FileStamps stamps)
    {
        var sets = readers.Select(reader => (Reader: reader, Count: reader.CountRows()))
            .Select(set => new StreamedSet(set.Reader, set.Count.Rows, set.Count.Unknown)).ToList();
        var open = sets.Find(set => set.Rows is null);
        var why = open is not null ? $"{open.Reader.Options.Place}: {open.Unknown}"
            : options.OnLongAnswer == LongAnswerPolicy.Skip ? "on_long_answer is skip"
            : options.Packing ? "with packing" : null;
        if (open is not null && sets.Count > 1 && options.Shuffle
            && sets.TrueForAll(set => set.Reader.Options.Weight is null))
        {
            throw UserException.At(
                "data.train", $"{sets.Count} data sets of unknown size without `weight:`, streamed ({why})",
                "weights, or sizes that are known without reading (Parquet without a filter)",
                "give each data set a `weight:`");
        }

        return new StreamedData(sets, dataSha256, stamps, why is null ? sets.Sum(set => set.Rows) : null, why);
    }
}
