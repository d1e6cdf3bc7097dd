namespace Peft.Torch.Fused;

/// <summary>Which rows use each expert.</summary>
internal sealed unsafe class ExpertGroups
{
    /// <summary>Rows that stay in the cache while each expert goes over them.</summary>
    public const int ChunkRows = 128;

    // The rows of expert e in chunk c are _rows[_starts[e * Chunks + c]] and on: all rows of an expert lie together.
    private readonly int[] _rows, _starts;

    // Where the wide row of each lies: in the row's own place, or one behind the other in this order.
    private readonly int[] _wide;

    /// <summary>Reads the mask [rows, experts].</summary>
    public ExpertGroups(bool* selected, int rows, int experts, int ranks)
    {
        (Experts, Ranks) = (experts, ranks);
        Chunks = (rows + ChunkRows - 1) / ChunkRows;
        _starts = new int[experts * Chunks + 1];
        _wide = _rows = new int[rows * experts + 1];
        var mask = (byte*)selected;
        var next = 0;
        for (var e = 0; e < experts; e++)
        {
            for (var chunk = 0; chunk < Chunks; chunk++)
            {
                // Every row is written, and stays where it counts: no branch to be guessed wrong.
                for (var i = chunk * ChunkRows; i < Math.Min(rows, (chunk + 1) * ChunkRows); i++)
                {
                    _rows[next] = i;
                    next += mask[(long)i * experts + e];
                }

                _starts[e * Chunks + chunk + 1] = next;
            }
        }
    }

    private ExpertGroups(int rows, int experts, int ranks)
    {
        (Experts, Ranks) = (experts, ranks);
        Chunks = (rows + ChunkRows - 1) / ChunkRows;
        _wide = _rows = [.. Enumerable.Range(0, rows * experts).Select(i => i % rows)];
        _starts = [.. Enumerable.Range(0, experts * Chunks + 1)
            .Select(part => part / Chunks * rows + part % Chunks * ChunkRows)];
    }

    private ExpertGroups(ExpertGroups other, int ranks, int[] wide)
    {
        (_rows, _starts, _wide) = (other._rows, other._starts, wide);
        (Experts, Ranks, Chunks) = (other.Experts, ranks, other.Chunks);
    }

    /// <summary>Experts that every row uses.</summary>
    public static ExpertGroups Everyone(int rows, int experts, int ranks) => new(rows, experts, ranks);

    /// <summary>E.</summary>
    public int Experts { get; }

    /// <summary>Columns of h for each expert.</summary>
    public int Ranks { get; }

    /// <summary>C.</summary>
    public long Columns => (long)Experts * Ranks;

    /// <summary>Parts of the rows.</summary>
    public int Chunks { get; }

    /// <summary>How often an expert is used.</summary>
    public int Pairs => _starts[^1];

    /// <summary>The same with experts of another rank.</summary>
    public ExpertGroups OfRank(int ranks) => new(this, ranks, _wide);

    /// <summary>The same with a wide row for each use of an expert, one behind the other.</summary>
    public ExpertGroups Apart() => new(this, Ranks, [.. Enumerable.Range(0, Pairs)]);

    /// <summary>The rows that use an expert, in order.</summary>
    public Members Of(int expert) => Between(_starts[expert * Chunks], _starts[(expert + 1) * Chunks]);

    /// <summary>Those of a chunk.</summary>
    public Members Of(int expert, int chunk) =>
        Between(_starts[expert * Chunks + chunk], _starts[expert * Chunks + chunk + 1]);

    /// <summary>Those whose wide row lies from one to before another.</summary>
    public Members Of(int expert, long first, long end)
    {
        if (!ReferenceEquals(_wide, _rows))
        {
            var own = Math.Max(_starts[expert * Chunks], (int)first);
            return Between(own, Math.Max(own, Math.Min(_starts[(expert + 1) * Chunks], (int)end)));
        }

        int begin = _starts[expert * Chunks + (int)first / ChunkRows];
        int stop = _starts[expert * Chunks + (int)(end - 1) / ChunkRows + 1];
        while (begin < stop && _rows[begin] < first)
            begin++;
        while (stop > begin && _rows[stop - 1] >= end)
            stop--;
        return Between(begin, stop);
    }

    private Members Between(int begin, int end) => new(_rows.AsSpan(begin..end), _wide.AsSpan(begin..end));
}

/// <summary>Rows that use an expert: their own numbers, and where their wide rows lie.</summary>
internal readonly ref struct Members(ReadOnlySpan<int> rows, ReadOnlySpan<int> wide)
{
    /// <summary>Numbers of the rows.</summary>
    public readonly ReadOnlySpan<int> Rows = rows;

    /// <summary>Numbers of their wide rows.</summary>
    public readonly ReadOnlySpan<int> Wide = wide;
}

/// <summary>Only the experts that a row uses: for each, the products of the rows that use it, read where they lie. Sums
/// and factors are float32, so where the processor has products of bfloat16 the gain begins later. A plain LoRA is one
/// expert that every row uses.</summary>
internal sealed class GroupedExperts : IExpertProducts
{
    // Fewer rows are not worth the lists, but for those of decoding.
    private const long FewestRows = 64;

    // Shares of the stacked products below which these are faster; `make bench ARGS='--only experts'`.
    private const double MostSingle = 0.7, MostBFloat16 = 0.5;

    // The rank up to which one expert of all rows is faster so; `make bench ARGS='--only experts'`.
    private const long MostAlone = 16;

    private readonly LowRankShape _shape;
    private readonly ExpertGroups _inputs, _outputs;
    private readonly bool _isFew;

    /// <summary>Makes the products of experts whose inputs and outputs lie as these say.</summary>
    public GroupedExperts(LowRankShape shape, ExpertGroups inputs, ExpertGroups outputs) =>
        (_shape, _inputs, _outputs) = (shape, inputs, outputs);

    private GroupedExperts(LowRankShape shape, ExpertGroups groups, bool isFew = false)
        : this(shape, groups, groups) => _isFew = isFew;

    /// <summary>The products of the selected gates [N, G], of all where rows are few, or of one expert without a gate,
    /// where this is the faster way; else null.</summary>
    public static GroupedExperts? Of(LowRankShape shape, Tensor? gates, Tensor? selected, ScalarType type)
    {
        if (!GroupedKernel.Serves(shape, type))
            return null;
        if (FewRows<float, float>.Serves(shape.Rows))
            return new GroupedExperts(shape, Groups(shape, selected), isFew: true);
        if (shape.Rows < FewestRows)
            return null;
        if (gates is null && shape.Ranks <= MostAlone)
            return new GroupedExperts(shape, Groups(shape, null));
        if (selected is null)
            return null;
        var groups = Groups(shape, selected);
        var most = type == ScalarType.BFloat16 && Gemm.HasFastBFloat16 ? MostBFloat16 : MostSingle;
        return groups.Pairs <= most * shape.Rows * shape.Gates ? new GroupedExperts(shape, groups) : null;
    }

    private static unsafe ExpertGroups Groups(LowRankShape shape, Tensor? selected)
    {
        var (rows, experts, ranks) = ((int)shape.Rows, (int)shape.Gates, (int)(shape.Ranks / shape.Gates));
        if (selected is null)
            return ExpertGroups.Everyone(rows, experts, ranks);
        var mask = selected.Dense();
        return new ExpertGroups(TensorMemory.Of<bool>(mask), rows, experts, ranks);
    }

    /// <inheritdoc/>
    public LowRankTerm Forward(Tensor x, Tensor a, Tensor b, Tensor? gates, out Tensor h)
    {
        h = torch.empty([_shape.Rows, _shape.Ranks], ScalarType.Float32);
        var gated = torch.empty_like(h);
        GroupedKernel.Of(x.dtype, _inputs).Down(x, Factor(a), GateRows(gates), h, gated, (float)_shape.Scale);
        // To turn b takes longer than few rows do.
        return new LowRankTerm(gated, _isFew ? Factor(b) : Turned(Factor(b)), Transposed: _isFew, _outputs);
    }

    /// <inheritdoc/>
    public LowRankGradients Backward(
        Tensor dy, Tensor? x, Tensor a, Tensor b, Tensor? gates, Tensor? h, bool needsB, bool needsGates)
    {
        var kernel = GroupedKernel.Of(dy.dtype, _outputs);
        var dh = torch.empty([_shape.Rows, _shape.Ranks], ScalarType.Float32);
        var gated = needsB ? torch.empty_like(dh) : null;
        var db = needsB ? torch.empty([_shape.Outputs, _shape.Ranks], ScalarType.Float32) : null;
        var da = x is null ? null : torch.empty([_shape.Ranks, _shape.Inputs], ScalarType.Float32);
        var dgates = needsGates ? torch.zeros([_shape.Rows, _shape.Gates], ScalarType.Float32) : null;
        kernel.Back(dy, Turned(Factor(b)), GateRows(gates), h, dh, gated, dgates, (float)_shape.Scale);
        kernel.Outer(new(gated, dy, db, _outputs, IsTurned: true), new(dh, x, da, _inputs));
        return new LowRankGradients(
            new LowRankTerm(dh, Factor(a), Transposed: false, _inputs), da, db, dgates);
    }

    // The transpose, on all threads.
    private static unsafe Tensor Turned(Tensor matrix)
    {
        var (rows, columns) = (matrix.size(0), matrix.size(1));
        var turned = torch.empty([columns, rows], ScalarType.Float32);
        var (source, target) = ((nint)TensorMemory.Of<float>(matrix), (nint)TensorMemory.Of<float>(turned));
        // Each task fills whole lines of the target, several side by side where there is work for many threads so.
        var block = rows < 8 * BlockProducts.Wide ? BlockProducts.Lanes : BlockProducts.Wide;
        Elements<float>.ForRows((rows + block - 1) / block, block * columns, (first, end) => BlockProducts.Transpose(
            (float*)source + first * block * columns, columns, Math.Min(rows, end * block) - first * block, columns,
            (float*)target + first * block, rows));
        return turned;
    }

    private static Tensor Factor(Tensor factor) => LinearTensors.Dense(factor, ScalarType.Float32);

    private static Tensor? GateRows(Tensor? gates) =>
        gates is null ? null : LinearTensors.Dense(gates.reshape(-1, gates.size(-1)), ScalarType.Float32);
}
