using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>How many rows are worked on at once.</summary>
internal static class RowBlocks
{
    // With the sums that are kept beside it a block must find room in the second cache.
    private const long Entries = 1 << 14;

    /// <summary>Rows of a block: some, and a multiple of what the product makes at once.</summary>
    public static long HeightOf(long stride) => Math.Max(1, Entries / stride / BlockProducts.Four) * BlockProducts.Four;
}

/// <summary>Marks of entries: one bit each, by rows of whole vectors.</summary>
internal static unsafe class EntryMarks
{
    private const int Step = Elements<float>.Count;

    public static Tensor Largest(IReadOnlyList<LazyMatrix> matrices, long rows, long columns, long count)
    {
        var words = LazyMatrix.StrideOf(columns) / Step;
        var marks = torch.zeros([matrices.Count, rows, words], ScalarType.Int16);
        var target = (nint)TensorMemory.Of<ushort>(marks);
        Threads.Share(count == 0 ? 0 : matrices.Count, tasks =>
        {
            using var search = new LargestSearch(rows, words * Step);
            while (tasks.Next(out var i))
                search.Mark(matrices[(int)i], count, (ushort*)target + i * rows * words);
        });
        return marks;
    }

    public static Tensor Random(IReadOnlyList<Generator> generators, long rows, long columns, float probability)
    {
        var (stride, words) = (LazyMatrix.StrideOf(columns), LazyMatrix.StrideOf(columns) / Step);
        var marks = torch.zeros([generators.Count, rows, words], ScalarType.Int16);
        var (height, target) = (RowBlocks.HeightOf(stride), (nint)TensorMemory.Of<ushort>(marks));
        Threads.Share(generators.Count, tasks =>
        {
            while (tasks.Next(out var i))
            {
                for (long row = 0; row < rows; row += height)
                {
                    var some = Math.Min(height, rows - row);
                    using var draws = torch.empty([some * columns], ScalarType.Float32);
                    draws.uniform_(0, 1, generators[(int)i]);
                    Below(TensorMemory.Of<float>(draws), some, columns, probability,
                        (ushort*)target + (i * rows + row) * words);
                }
            }
        });
        return marks;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Below(float* draws, long rows, long columns, float probability, ushort* marks)
    {
        var limit = Vector512.Create(probability);
        for (long i = 0; i < rows; i++, draws += columns)
        {
            long j = 0;
            for (; j + Step <= columns; j += Step)
                *marks++ = (ushort)Vector512.LessThan(Vector512.Load(draws + j), limit).ExtractMostSignificantBits();
            if (j == columns)
                continue;
            var last = 0;
            for (var bit = 0; j + bit < columns; bit++)
                last |= draws[j + bit] < probability ? 1 << bit : 0;
            *marks++ = (ushort)last;
        }
    }
}

/// <summary>Finds the largest magnitudes of a matrix that is made anew for each look at it.</summary>
/// <remarks>Magnitudes of floats are ordered as their bits are: two counts of 16 bits each find the smallest that is
/// kept without sorting. The zeros that fill up a row change nothing: they come last, where zeros are all that is left
/// to mark.</remarks>
internal sealed unsafe class LargestSearch(long rows, long stride) : IDisposable
{
    private const int Step = Elements<float>.Count;
    private const int Low = 16;            // bits of a float told apart in the second pass
    private const int Bins = 1 << 16;
    private readonly Scratch<uint> _bins = new(Bins);
    private readonly Scratch<float> _block = new(RowBlocks.HeightOf(stride) * stride);

    public void Dispose()
    {
        _bins.Dispose();
        _block.Dispose();
    }

    /// <summary>Marks the <paramref name="count"/> largest, of equal ones the first.</summary>
    public void Mark(LazyMatrix matrix, long count, ushort* marks)
    {
        var bins = (nint)_bins.Pointer;
        Clear();
        ForBlocks(matrix, (values, entries, _) => CountHigh((uint*)values, entries, (uint*)bins));
        var (high, missing) = FromAbove(count);
        Clear();
        ForBlocks(matrix, (values, entries, _) => CountLow((int*)values, entries, high, (uint*)bins));
        var (low, wanted) = FromAbove(missing);
        var target = (nint)marks;
        ForBlocks(matrix, (values, entries, first) => wanted = MarkFrom(
            (int*)values, entries, (high << Low) | low, wanted, (ushort*)target + first / Step));
    }

    // Body(values, how many, which is the first).
    private void ForBlocks(LazyMatrix matrix, Action<nint, long, long> body)
    {
        var height = RowBlocks.HeightOf(stride);
        for (long row = 0; row < rows; row += height)
        {
            var end = Math.Min(rows, row + height);
            body((nint)matrix.Make(row, end, _block.Pointer), (end - row) * stride, row * stride);
        }
    }

    private void Clear() => new Span<uint>(_bins.Pointer, Bins).Clear();

    // The bin in which the k-th largest lies, and how many of the k are in it.
    private (int Bin, long Inside) FromAbove(long k)
    {
        for (var bin = Bins - 1; ; bin--)
        {
            if (_bins.Pointer[bin] >= k)
                return (bin, k);
            k -= _bins.Pointer[bin];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CountHigh(uint* values, long count, uint* bins)
    {
        for (long j = 0; j < count; j++)
            bins[(values[j] & int.MaxValue) >> Low]++;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CountLow(int* values, long count, int high, uint* bins)
    {
        var (magnitude, wanted) = (Vector512.Create(int.MaxValue), Vector512.Create(high));
        for (long j = 0; j < count; j += Step)
        {
            var inside = Vector512.Equals((Vector512.Load(values + j) & magnitude) >> Low, wanted)
                .ExtractMostSignificantBits();
            for (; inside != 0; inside &= inside - 1)
                bins[values[j + BitOperations.TrailingZeroCount(inside)] & (Bins - 1)]++;
        }
    }

    // Marks what is above the threshold and the first that equal it; how many more of these are wanted.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static long MarkFrom(int* values, long count, int threshold, long wanted, ushort* marks)
    {
        var (magnitude, smallest) = (Vector512.Create(int.MaxValue), Vector512.Create(threshold));
        for (long j = 0; j < count; j += Step)
        {
            var bits = Vector512.Load(values + j) & magnitude;
            var kept = Vector512.GreaterThan(bits, smallest).ExtractMostSignificantBits();
            var equal = Vector512.Equals(bits, smallest).ExtractMostSignificantBits();
            for (; equal != 0 && wanted > 0; equal &= equal - 1, wanted--)
                kept |= equal & (~equal + 1);
            *marks++ = (ushort)kept;
        }
        return wanted;
    }
}

/// <summary>Sums and means of the entries that are marked, a block of rows of every matrix at a time.</summary>
internal static unsafe class KeptEntries
{
    private const int Step = Elements<float>.Count;

    public static Tensor Combine(
        IReadOnlyList<LazyMatrix> matrices, Tensor? marks, IReadOnlyList<double> weights, double divisor, bool signed)
    {
        var (rows, columns) = LazyMatrix.ShapeOf(matrices);
        var (stride, words) = (LazyMatrix.StrideOf(columns), LazyMatrix.StrideOf(columns) / Step);
        if (weights.Count != matrices.Count || matrices.Count > Sides.Most || !IsFor(marks))
        {
            var given = marks is null ? "none" : Shapes.Of(marks);
            throw new ArgumentException(
                $"{weights.Count} weights and marks {given} for {matrices.Count} matrices of [{rows}, {columns}]");
        }
        using var scope = torch.NewDisposeScope();
        var result = torch.empty([rows, stride], ScalarType.Float32);
        var (target, first) = ((nint)TensorMemory.Of<float>(result), (nint)TensorMemory.Of<ushort>(marks?.Dense()));
        var height = RowBlocks.HeightOf(stride);
        Threads.Share((rows + height - 1) / height, tasks =>
        {
            using var block = new Scratch<float>(height * stride);
            using var sides = new Sides(signed ? height * stride : 0);
            while (tasks.Next(out var task))
            {
                var (begin, end) = (task * height, Math.Min(rows, (task + 1) * height));
                var sum = (float*)target + begin * stride;
                var entries = (end - begin) * stride;
                new Span<float>(sum, (int)entries).Clear();
                sides.Clear();
                for (var i = 0; i < matrices.Count; i++)
                {
                    var values = matrices[i].Make(begin, end, block.Pointer);
                    var kept = first == 0 ? null : (ushort*)first + (i * rows + begin) * words;
                    if (signed)
                        Add(values, kept, entries, (float)weights[i], (float)divisor, sum, sides);
                    else
                        Add(values, kept, entries, (float)weights[i], (float)divisor, sum);
                }
                if (signed)
                    Elect(sum, entries, sides);
            }
        });
        return (stride == columns ? result : result.narrow(1, 0, columns).contiguous()).MoveToOuterDisposeScope();

        bool IsFor(Tensor? bits) => bits is null
            || (bits.dtype == ScalarType.Int16 && bits.shape.SequenceEqual([matrices.Count, rows, words]));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(float* values, ushort* marks, long count, float weight, float divisor, float* sum)
    {
        var (w, d) = (Vector512.Create(weight), Vector512.Create(divisor));
        for (long j = 0; j < count; j += Step)
            (Vector512.Load(sum + j) + Kept(values, marks, j, divisor, d) * w).Store(sum + j);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(
        float* values, ushort* marks, long count, float weight, float divisor, float* sum, Sides sides)
    {
        var (w, d) = (Vector512.Create(weight), Vector512.Create(divisor));
        float* above = sides.Above.Pointer, below = sides.Below.Pointer;
        var counts = sides.Counts.Pointer;
        var (oneAbove, oneBelow) = (Vector512.Create(1), Vector512.Create(Sides.OneBelow));
        for (long j = 0; j < count; j += Step)
        {
            var kept = Kept(values, marks, j, divisor, d);
            var (over, under) = (Vector512.GreaterThan(kept, default), Vector512.LessThan(kept, default));
            (Vector512.Load(sum + j) + kept).Store(sum + j);
            Vector512.FusedMultiplyAdd(kept & over, w, Vector512.Load(above + j)).Store(above + j);
            Vector512.FusedMultiplyAdd(kept & under, w, Vector512.Load(below + j)).Store(below + j);
            (Vector512.Load(counts + j) + (over.AsInt32() & oneAbove) + (under.AsInt32() & oneBelow)).Store(counts + j);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Kept(float* values, ushort* marks, long j, float divisor, Vector512<float> d)
    {
        var kept = Vector512.Load(values + j);
        if (marks != null)
        {
            var bit = Vector512.Create(
                1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12,
                1 << 13, 1 << 14, 1 << 15);
            kept &= Vector512.Equals(Vector512.Create((int)marks[j / Step]) & bit, bit).AsSingle();
        }
        return divisor == 1 ? kept : kept / d;
    }

    // The mean of the side that each sum is on, in its place.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Elect(float* sum, long count, Sides sides)
    {
        for (long j = 0; j < count; j += Step)
        {
            var counts = Vector512.Load(sides.Counts.Pointer + j);
            var positive = Vector512.GreaterThanOrEqual(Vector512.Load(sum + j), default);
            var number = Vector512.ConditionalSelect(
                positive.AsInt32(), counts & Vector512.Create(Sides.OneBelow - 1), counts >> Sides.BitsAbove);
            var total = Vector512.ConditionalSelect(
                positive, Vector512.Load(sides.Above.Pointer + j), Vector512.Load(sides.Below.Pointer + j));
            (total / Vector512.ConvertToSingle(Vector512.Max(number, Vector512<int>.One))).Store(sum + j);
        }
    }

    // Sums of what is above and below zero in each place, until it is known which of them counts, and of how many.
    private readonly struct Sides(long entries) : IDisposable
    {
        // Both counts share a number.
        public const int BitsAbove = 16, OneBelow = 1 << BitsAbove, Most = short.MaxValue;
        public readonly Scratch<float> Above = new(entries), Below = new(entries);
        public readonly Scratch<int> Counts = new(entries);

        public void Clear()
        {
            new Span<float>(Above.Pointer, (int)entries).Clear();
            new Span<float>(Below.Pointer, (int)entries).Clear();
            new Span<int>(Counts.Pointer, (int)entries).Clear();
        }

        public void Dispose()
        {
            Above.Dispose();
            Below.Dispose();
            Counts.Dispose();
        }
    }
}
