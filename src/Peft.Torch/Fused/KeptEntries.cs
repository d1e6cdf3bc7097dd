namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>Marks the largest magnitudes of each matrix, ⌊density · entries⌋ of them; of equal ones the
    /// first.</summary>
    /// <remarks>Shapes: N matrices [O, D] give marks as <see cref="kept_sum"/> takes them. Of zeros any may be marked.
    /// Gradient: none. Errors: <see cref="ArgumentException"/> when the matrices differ in shape.</remarks>
    public static Tensor keep_largest(IReadOnlyList<LazyMatrix> matrices, double density)
    {
        var (rows, columns) = LazyMatrix.ShapeOf(matrices);
        return EntryMarks.Largest(matrices, rows, columns, (long)Math.Floor(density * (rows * columns)));
    }

    /// <summary>Marks each entry of matrices with a probability, each matrix from a generator of its own: row by row,
    /// the draws that <c>torch.rand</c> of the whole matrix gives.</summary>
    /// <remarks>Shapes: N generators give marks of N matrices [rows, columns]. Gradient: none.</remarks>
    public static Tensor keep_random(
        IReadOnlyList<Generator> generators, long rows, long columns, double probability) =>
        EntryMarks.Random(generators, rows, columns, (float)probability);

    /// <summary>Σ weight · kept / divisor, where kept is a matrix with zeros for its entries that are not
    /// marked.</summary>
    /// <remarks>Sums run in the matrices' order, whatever the number of threads. Shapes: N matrices [O, D] and marks
    /// int16 [N, O, ⌈D / 16⌉], 16 entries of a row in each, the first in the lowest bit; null: all are marked. Result
    /// [O, D] float32. Gradient: none. Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor kept_sum(
        IReadOnlyList<LazyMatrix> matrices, Tensor? marks, IReadOnlyList<double> weights, double divisor = 1) =>
        KeptEntries.Combine(matrices, marks, weights, divisor, signed: false);

    /// <summary>Elects the sign of Σ kept / divisor for every entry, zero as positive, and gives the sum of weight ·
    /// kept / divisor over the matrices that have this sign there, divided by their number.</summary>
    /// <remarks>
    /// Source: TIES, arXiv:2306.01708, steps 2 and 3; PEFT's <c>disjoint_merge</c>: the divisor counts matrices, not
    /// weights, and is at least 1; weights have no vote. Order, shapes, gradient and errors as in
    /// <see cref="kept_sum"/>.
    /// </remarks>
    public static Tensor signed_mean(
        IReadOnlyList<LazyMatrix> matrices, Tensor? marks, IReadOnlyList<double> weights, double divisor = 1) =>
        KeptEntries.Combine(matrices, marks, weights, divisor, signed: true);
}

/// <summary>A matrix of float32 on the CPU whose rows are made where they are needed: those of a tensor, or of a
/// product of low rank, which then never exists as a whole. A row is the same bits each time.</summary>
/// <remarks>Rows lie one after another, filled up with zeros to whole vectors. The tensors belong to the caller's scope
/// and live as long as the matrix is used.</remarks>
public sealed unsafe class LazyMatrix
{
    private readonly Tensor? _up;
    private readonly Tensor _rows;
    private readonly float _scale = 1;

    /// <summary>The rows of a tensor [O, D].</summary>
    public LazyMatrix(Tensor values)
    {
        (Rows, Columns) = (values.size(0), values.size(1));
        _rows = Filled(values);
    }

    /// <summary>scale · up down, with up [O, R] and down [R, D].</summary>
    public LazyMatrix(Tensor up, Tensor down, double scale)
    {
        if (up.size(1) != down.size(0))
            throw new ArgumentException($"up {Shapes.Of(up)} does not meet down {Shapes.Of(down)}", nameof(down));
        (Rows, Columns) = (up.size(0), down.size(1));
        (_up, _rows, _scale) = (up.to(ScalarType.Float32).Dense(), Filled(down), (float)scale);
    }

    /// <summary>Number of rows.</summary>
    public long Rows { get; }

    /// <summary>Number of columns.</summary>
    public long Columns { get; }

    /// <summary>Elements from one row to the next.</summary>
    internal static long StrideOf(long columns) => (columns + Elements<float>.Count - 1) / Elements<float>.Count
        * Elements<float>.Count;

    /// <summary>The shape that all of them have.</summary>
    internal static (long Rows, long Columns) ShapeOf(IReadOnlyList<LazyMatrix> matrices)
    {
        if (matrices.Count == 0)
            throw new ArgumentException("no matrix", nameof(matrices));
        var (rows, columns) = (matrices[0].Rows, matrices[0].Columns);
        foreach (var matrix in matrices)
        {
            if (matrix.Rows != rows || matrix.Columns != columns)
                throw new ArgumentException(
                    $"matrices of [{rows}, {columns}] and [{matrix.Rows}, {matrix.Columns}]", nameof(matrices));
        }
        return (rows, columns);
    }

    /// <summary>Rows [begin, end), made in <paramref name="block"/> where they are not there already.</summary>
    internal float* Make(long begin, long end, float* block)
    {
        var stride = StrideOf(Columns);
        var rows = TensorMemory.Of<float>(_rows);
        if (_up is null)
            return rows + begin * stride;
        var inner = _up.size(1);
        BlockProducts.Multiply(
            end - begin, stride, inner, TensorMemory.Of<float>(_up) + begin * inner, inner, 1, rows, stride, _scale,
            false, block, stride);
        return block;
    }

    private static Tensor Filled(Tensor values)
    {
        var missing = StrideOf(values.size(1)) - values.size(1);
        var wide = values.to(ScalarType.Float32);
        return missing == 0 ? wide.Dense() : torch.nn.functional.pad(wide, [0, missing]).Dense();
    }
}
