namespace Peft.Torch.Fused;

/// <summary>Queries [Start, Start + Count) of one row of the batch, and the keys [Low, High) that they may see at
/// all.</summary>
internal readonly record struct AttentionBlock(long Row, long Start, long Count, long Low, long High)
{
    /// <summary>The keys that query i sees: [First, Last), empty where Last is not greater.</summary>
    public long First(AttentionOptions options, long i) =>
        options.Window > 0 ? Math.Min(High, Math.Max(Low, options.Offset + i - options.Window + 1)) : Low;

    /// <summary>The end of the keys that query i sees.</summary>
    public long Last(AttentionOptions options, long i) =>
        Math.Max(First(options, i), options.Causal ? Math.Max(Low, Math.Min(High, options.Offset + i + 1)) : High);
}

/// <summary>All blocks of queries. They end at the borders of sequences that share a row, so that nothing is computed
/// between two.</summary>
internal sealed class AttentionBlocks
{
    /// <summary>Queries a block: small enough that keys above the diagonal are mostly skipped, large enough for the
    /// products.</summary>
    public const long BlockRows = 64;

    private readonly List<AttentionBlock> _all = [];
    private readonly List<int> _begin = [];

    public AttentionBlocks(long batch, long queries, long keys, AttentionOptions options)
    {
        var segments = options.Segments;
        var next = 0;
        for (var row = 0L; row < batch; row++)
        {
            _begin.Add(_all.Count);
            if (segments.Length == 0)
                Add(row, 0, queries, 0, keys, options);
            for (; next < segments.Length && segments[next] < (row + 1) * queries; next += 2)
            {
                var (first, end) = (segments[next] - row * queries, segments[next + 1] - row * queries);
                Add(row, first, end, first, end, options);
            }
        }
        _begin.Add(_all.Count);
    }

    public int Count => _all.Count;

    public AttentionBlock this[int i] => _all[i];

    /// <summary>Keys of the widest block.</summary>
    public long Widest { get; private set; }

    /// <summary>The blocks of one row of the batch.</summary>
    public (int Begin, int End) OfRow(long row) => (_begin[(int)row], _begin[(int)row + 1]);

    private void Add(long row, long first, long end, long low, long high, AttentionOptions options)
    {
        for (var start = first; start < end; start += BlockRows)
        {
            var whole = new AttentionBlock(row, start, Math.Min(BlockRows, end - start), low, high);
            var seen = whole with
            {
                Low = whole.First(options, start),
                High = whole.Last(options, start + whole.Count - 1)
            };
            _all.Add(seen with { High = Math.Max(seen.Low, seen.High) });
            Widest = Math.Max(Widest, _all[^1].High - seen.Low);
        }
    }
}

/// <summary>Who sees whom in a block, both counted from its first: queries [first, end) of a key, keys [first, end) of
/// a query. Both borders only grow.</summary>
internal readonly struct Sight(AttentionBlock block, AttentionOptions options)
{
    // Key j is the own one of query j - Diagonal.
    private readonly long _diagonal = options.Offset + block.Start - block.Low;

    /// <summary>Queries of the block.</summary>
    public long Count => block.Count;

    /// <summary>Keys of the block.</summary>
    public long Keys => block.High - block.Low;

    /// <summary>The first query that sees a key.</summary>
    public long First(long key) => options.Causal ? Math.Max(0, key - _diagonal) : 0;

    /// <summary>The end of the queries that see a key.</summary>
    public long End(long key) =>
        options.Window > 0 ? Math.Min(Count, key - _diagonal + options.Window) : Count;

    /// <summary>The first key that a query sees.</summary>
    public long FirstKey(long query) => block.First(options, block.Start + query) - block.Low;

    /// <summary>The end of the keys that a query sees.</summary>
    public long EndKey(long query) => block.Last(options, block.Start + query) - block.Low;
}
