using System.Collections;
using Peft.Formats;

namespace Peft.Data.Batches;

/// <summary>
/// The endless stream of training batches. Sequences come in a random order, a window of <c>bucket_window</c> batches
/// at a time; those of a window are sorted by length and cut into batches, or packed into rows, so that little padding
/// is computed, and the batches are shuffled. Every sequence of an epoch comes exactly once; batches at the end of an
/// epoch may be smaller.
/// </summary>
public sealed class BatchStream : IEnumerable<TokenBatch>
{
    private readonly IWindowSource _source;
    private readonly BatchPlanner _planner;
    private Window? _window;
    private long[][][] _batches = [];
    private BatchStreamState _at;

    internal BatchStream(IWindowSource source, BatchOptions options, BatchStreamState? state)
    {
        _source = source;
        _at = source.Start;
        _planner = new BatchPlanner(options, _at.BatchSize, _at.Seed);
        if (state is not null)
            Restore(state);
    }

    /// <summary>The epoch of the next batch, from 0.</summary>
    public long Epoch => _at.Epoch;

    /// <summary>What became of the rows that were read, those for the next batches with them; null unless
    /// streaming.</summary>
    public StreamCounts? Counts => _source.Counts;

    /// <summary>The place before the next batch.</summary>
    public BatchStreamState State => _at;

    /// <summary>Batches in an epoch; with packing, in the first one: the others pack a little better or worse. Null
    /// where rows are streamed and only reading tells.</summary>
    public long? BatchesPerEpoch => _source.SequencesPerEpoch is not { } sequences ? null
        : _at.RowLength == 0 ? (sequences + _at.BatchSize - 1) / _at.BatchSize
        : FirstEpoch().Batches;

    /// <summary>Goes to a saved place.</summary>
    /// <exception cref="UserException">It was saved with other data or settings.</exception>
    public void Restore(BatchStreamState state)
    {
        RequireFitting(state, _source.Start);
        var isPlace = state is { Epoch: >= 0, Window: >= 0, Batch: >= 0 } && _source.Has(state);
        if (isPlace)
        {
            _at = state;
            ReadWindow();
        }

        if (!isPlace || state.Batch >= _batches.Length)
        {
            throw UserException.At(
                "resume", $"epoch {state.Epoch}, window {state.Window}, batch {state.Batch}",
                "a place in these "
                    + (state.Stream is null ? Words.Count(state.Sequences, "sequence") : "streamed rows"),
                "the checkpoint is damaged: resume from another one");
        }
    }

    /// <summary>The next batch.</summary>
    /// <exception cref="Examples.DataRowException">Streaming, and a row cannot be used and on_bad_row is
    /// error.</exception>
    public TokenBatch Next()
    {
        if (_window is null)
            ReadWindow();
        var rows = _batches[_at.Batch].Select(row => Array.ConvertAll(row, index => _window!.Sequence(index)));
        var batch = TokenBatch.OfRows([.. rows], _source.PadId);
        if (_at.Batch + 1 < _batches.Length)
        {
            _at = _at with { Batch = _at.Batch + 1 };
            return batch;
        }

        _at = _window!.After;
        _window = null;
        return batch;
    }

    /// <summary>All further batches, without end; <see cref="State"/> moves along.</summary>
    public IEnumerator<TokenBatch> GetEnumerator()
    {
        while (true)
            yield return Next();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Counts rows, tokens and padding of the first epoch, from the sequences' lengths alone.</summary>
    internal EpochShape FirstEpoch()
    {
        var shape = new EpochShape(0, 0, 0, 0, 0);
        for (var at = _source.Start; at.Epoch == 0;)
        {
            var window = _source.Read(at);
            foreach (var batch in _planner.Plan(window, at.Epoch, at.Window))
            {
                var lengths = batch.Select(row => row.Sum(window.LengthOf)).ToList();
                shape = new EpochShape(
                    shape.Sequences + batch.Sum(row => row.Length),
                    shape.Rows + batch.Length,
                    shape.Batches + 1,
                    shape.Tokens + lengths.Sum(length => (long)length),
                    shape.Positions + (long)batch.Length * lengths.Max());
            }

            at = window.After;
        }

        return shape;
    }

    private void ReadWindow()
    {
        _window = _source.Read(_at);
        _batches = _planner.Plan(_window, _at.Epoch, _at.Window);
    }

    private static void RequireFitting(BatchStreamState given, BatchStreamState here)
    {
        Require("seed", given.Seed, here.Seed);
        Require("per_device_train_batch_size", given.BatchSize, here.BatchSize);
        Require("bucket_window", given.BucketWindow, here.BucketWindow);
        Require("length of packed rows (0: no packing)", given.RowLength, here.RowLength);
        Require("number of sequences", given.Sequences, here.Sequences);
        Require("number of weighted data sets", given.Drawn.Count, here.Drawn.Count);
        Require(
            "shuffle_buffer_size (0: not streaming)", given.Stream?.ShuffleBufferSize ?? 0,
            here.Stream?.ShuffleBufferSize ?? 0);
        Require("number of data sets", given.Stream?.Sets.Count ?? 0, here.Stream?.Sets.Count ?? 0);
        Require("data hash", given.DataSha256, here.DataSha256);
    }

    private static void Require<T>(string what, T given, T here)
    {
        if (!EqualityComparer<T>.Default.Equals(given, here))
        {
            throw UserException.At(
                "resume", $"{what} was {given} when the checkpoint was written and is {here} now",
                "the same data and settings",
                "set it back, or start anew with --overwrite");
        }
    }
}

/// <summary>The size of an epoch's batches, counted without building them.</summary>
/// <param name="Sequences">Sequences.</param>
/// <param name="Rows">Rows of all batches.</param>
/// <param name="Batches">Batches.</param>
/// <param name="Tokens">Real tokens.</param>
/// <param name="Positions">Tokens with padding: what is computed.</param>
public sealed record EpochShape(long Sequences, long Rows, long Batches, long Tokens, long Positions)
{
    /// <summary>Sequences of a row, on average.</summary>
    public double SequencesPerRow => Sequences / (double)Math.Max(1, Rows);

    /// <summary>Share of the positions that hold a real token.</summary>
    public double Fill => Tokens / (double)Math.Max(1, Positions);

    /// <summary>Positions that hold none.</summary>
    public long Padding => Positions - Tokens;
}
