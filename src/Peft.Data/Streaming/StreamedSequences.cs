using Peft.Data.Batches;
using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Streaming;

/// <summary>
/// Windows of sequences that are read and tokenised as they are drawn. With weights each place draws a data set by weight, as
/// <see cref="SequenceOrder"/> does, and a data set begins again when it is through. Without, an epoch is each row once: data
/// sets are drawn by the rows that they have left, or one after the other where rows are not shuffled.
/// </summary>
internal sealed class StreamedSequences : ISequenceSource, IDisposable
{
    private readonly DataOptions _options;
    private readonly IReadOnlyList<string> _files;
    private readonly IReadOnlyList<long?> _rows; // of each data set
    private readonly RowBlocks[] _sets;
    private readonly DataSetChoice _choice;
    private readonly int _windowRows;

    public StreamedSequences(StreamedSets data, DataOptions options, TextEncoder encoder, TaskRegistry tasks, int batchSize, long seed)
    {
        _options = options;
        _files = data.Files;
        _rows = [.. data.Sets.Select(set => set.Rows)];
        _sets = [.. data.Sets.Select((set, slot) => new RowBlocks(
            set, data.Stamps, options, encoder, tasks, CounterRandom.Key(seed, (long)SequenceOrder.Stream.Block, slot)))];
        _choice = new DataSetChoice([.. data.Sets.Select(set => set.Reader.Options.Weight)], seed);
        _windowRows = batchSize * options.BucketWindow;
        SequencesPerEpoch = data.SequencesPerEpoch;
        PadId = encoder.PadId;
        Start = new BatchStreamState(
            seed, batchSize, options.BucketWindow, options.RowLength, SequencesPerEpoch ?? 0, data.DataSha256, 0, 0, 0, [],
            new StreamPosition(options.ShuffleBufferSize, 0, Positions()));
    }

    /// <inheritdoc/>
    public BatchStreamState Start { get; }

    /// <inheritdoc/>
    public long? SequencesPerEpoch { get; }

    /// <inheritdoc/>
    public int PadId { get; }

    /// <inheritdoc/>
    public bool Has(BatchStreamState place) =>
        place.Stream is { Place: >= 0 } stream && _sets.Zip(stream.Sets).All(pair => pair.First.Has(pair.Second));

    /// <inheritdoc/>
    public SequenceWindow Read(BatchStreamState at)
    {
        var position = at.Stream!;
        for (var set = 0; set < _sets.Length; set++)
            _sets[set].Seek(position.Sets[set]);
        var window = new List<EncodedSequence>();
        var tokens = 0L;
        var place = position.Place;
        var next = Choose(at.Epoch, place);
        for (; next is not null && (_options.RowLength == 0 ? window.Count : tokens / _options.RowLength) < _windowRows; next = Choose(at.Epoch, ++place))
        {
            window.Add(next.Take());
            tokens += window[^1].Ids.Length;
        }

        var isEpochEnd = next is null;
        return new SequenceWindow(
            window.Count,
            index => window[(int)index].Ids.Length,
            index => window[(int)index].ToTokenSequence(_files),
            at with
            {
                Epoch = isEpochEnd ? at.Epoch + 1 : at.Epoch,
                Window = isEpochEnd ? 0 : at.Window + 1,
                Batch = 0,
                Stream = position with { Place = isEpochEnd ? 0 : place, Sets = Positions() },
            });
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
        List<int> open = [.. Enumerable.Range(0, _sets.Length).Where(set => _sets[set].Position.Pass == epoch && _sets[set].MoveToNext())];
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
