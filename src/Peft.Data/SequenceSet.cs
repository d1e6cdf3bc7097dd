using Peft.Data.Batches;
using Peft.Data.Tokens;

namespace Peft.Data;

/// <summary>The sequences of all data sets of <c>train:</c> or of <c>eval:</c>, in file order.</summary>
public sealed class SequenceSet : IDisposable
{
    private readonly SequenceStore _store;
    private readonly IReadOnlyList<string> _files;

    internal SequenceSet(
        SequenceStore store, IReadOnlyList<string> files, int padId, string dataSha256, IReadOnlyList<SequenceRange> ranges,
        DataStatistics statistics, IReadOnlyList<DataStatistics> dataSets)
    {
        _store = store;
        _files = files;
        PadId = padId;
        DataSha256 = dataSha256;
        Ranges = ranges;
        Statistics = statistics;
        DataSets = dataSets;
    }

    /// <summary>How many sequences there are.</summary>
    public long Count => _store.Count;

    /// <summary>Hash over the data files.</summary>
    public string DataSha256 { get; }

    /// <summary>Counts and lengths of all data sets together.</summary>
    public DataStatistics Statistics { get; }

    /// <summary>Counts and lengths of each data set, in the recipe's order.</summary>
    public IReadOnlyList<DataStatistics> DataSets { get; }

    /// <summary>True when the tokens did not fit the memory budget and lie in a temporary file.</summary>
    public bool IsOnDisk => _store.IsOnDisk;

    internal IReadOnlyList<SequenceRange> Ranges { get; }

    internal int PadId { get; }

    /// <summary>The sequence at an index.</summary>
    public TokenSequence this[long index] => _store.Read(index).ToTokenSequence(_files);

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
    public void Dispose() => _store.Dispose();

    internal int LengthOf(long index) => _store.LengthOf(index);
}
