using System.Collections;

namespace Peft.Data.Batches;

/// <summary>
/// The endless stream of training batches. Sequences come in a random order, a window of <c>bucket_window</c> batches at a
/// time; those of a window are sorted by length and cut into batches, or packed into rows, so that little padding is computed,
/// and the batches are shuffled. Every sequence of an epoch comes exactly once; batches at the end of an epoch may be smaller.
/// </summary>
public sealed class BatchStream : IEnumerable<TokenBatch>
{
    private readonly SequenceSet _set;
    private readonly BatchPlanner _planner;
    private readonly long[] _drawn; // before the window
    private readonly long[] _drawnAfter;
    private long[][][] _batches = [];
    private BatchStreamState _at;
    private bool _isWindowReady;

    internal BatchStream(SequenceSet set, DataOptions options, int batchSize, long seed, BatchStreamState? state)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(batchSize, 1);
        _set = set;
        _planner = new BatchPlanner(set, options, batchSize, seed);
        var start = new BatchStreamState(
            seed, batchSize, options.BucketWindow, options.RowLength, set.Count, set.DataSha256, 0, 0, 0, new long[_planner.CounterCount]);
        _at = state is null ? start : Fitting(state, start);
        _drawn = [.. _at.Drawn];
        _drawnAfter = new long[_drawn.Length];
    }

    /// <summary>The epoch of the next batch, from 0.</summary>
    public long Epoch => _at.Epoch;

    /// <summary>Where the stream stands: before the next batch.</summary>
    public BatchStreamState State => _at with { Drawn = [.. _drawn] };

    /// <summary>Batches in an epoch; with packing, in the first one: the others pack a little better or worse.</summary>
    public long BatchesPerEpoch => _at.RowLength == 0
        ? (_planner.SequencesPerEpoch + _at.BatchSize - 1) / _at.BatchSize
        : FirstEpoch().Batches;

    /// <summary>Goes to a saved place.</summary>
    /// <exception cref="BatchStateException">It was saved with other data or settings.</exception>
    public void Restore(BatchStreamState state)
    {
        _at = Fitting(state, _at);
        state.Drawn.ToArray().CopyTo(_drawn, 0);
        _isWindowReady = false;
    }

    /// <summary>The next batch.</summary>
    public TokenBatch Next()
    {
        if (!_isWindowReady)
        {
            _drawn.CopyTo(_drawnAfter, 0);
            _batches = _planner.Plan(_at.Epoch, _at.Window, _drawnAfter);
            _isWindowReady = true;
        }

        var batch = _set.Batch(_batches[_at.Batch]);
        var next = _at.Batch + 1;
        if (next < _batches.Length)
        {
            _at = _at with { Batch = next };
            return batch;
        }

        var isEpochEnd = _at.Window + 1 == _planner.WindowsPerEpoch;
        _at = _at with
        {
            Batch = 0,
            Window = isEpochEnd ? 0 : _at.Window + 1,
            Epoch = isEpochEnd ? _at.Epoch + 1 : _at.Epoch,
        };
        _drawnAfter.CopyTo(_drawn, 0);
        _isWindowReady = false;
        return batch;
    }

    /// <summary>Goes on without end; <see cref="State"/> goes with it.</summary>
    public IEnumerator<TokenBatch> GetEnumerator()
    {
        while (true)
            yield return Next();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Counts rows, tokens and padding of the first epoch, from the sequences' lengths alone.</summary>
    public EpochShape FirstEpoch()
    {
        var drawn = new long[_drawn.Length];
        var shape = new EpochShape(_planner.SequencesPerEpoch, 0, 0, 0, 0);
        for (var window = 0L; window < _planner.WindowsPerEpoch; window++)
        {
            foreach (var batch in _planner.Plan(0, window, drawn))
            {
                var lengths = batch.Select(_planner.LengthOf).ToList();
                shape = shape with
                {
                    Rows = shape.Rows + batch.Length,
                    Batches = shape.Batches + 1,
                    Tokens = shape.Tokens + lengths.Sum(length => (long)length),
                    Positions = shape.Positions + (long)batch.Length * lengths.Max(),
                };
            }
        }

        return shape;
    }

    private static BatchStreamState Fitting(BatchStreamState given, BatchStreamState here)
    {
        Require("seed", given.Seed, here.Seed);
        Require("per_device_train_batch_size", given.BatchSize, here.BatchSize);
        Require("bucket_window", given.BucketWindow, here.BucketWindow);
        Require("length of packed rows (0: no packing)", given.RowLength, here.RowLength);
        Require("number of sequences", given.Sequences, here.Sequences);
        Require("number of weighted data sets", given.Drawn.Count, here.Drawn.Count);
        Require("data hash", given.DataSha256, here.DataSha256);
        var window = (long)here.BatchSize * here.BucketWindow;
        var isInside = given.Epoch >= 0 && given.Window >= 0 && given.Window <= (here.Sequences - 1) / window && given.Batch >= 0
            && given.Batch < (Math.Min(window, here.Sequences - given.Window * window) + here.BatchSize - 1) / here.BatchSize
            && given.Drawn.All(count => count >= 0);
        return isInside ? given : throw new BatchStateException(
            $"resume - epoch {given.Epoch}, window {given.Window}, batch {given.Batch} - a place in these {here.Sequences} sequences"
            + " - the checkpoint is damaged: resume from another one");
    }

    private static void Require<T>(string what, T given, T here)
    {
        if (!EqualityComparer<T>.Default.Equals(given, here))
        {
            throw new BatchStateException(
                $"resume - {what} was {given} when the checkpoint was written and is {here} now - the same data and settings"
                + " - set it back, or start anew with --overwrite");
        }
    }
}
