using System.Runtime.InteropServices;

namespace Peft.Adapters.Merging;

/// <summary>TIES as KnOTS, Core Space and RobustMerge write it: a threshold of its own, and a mean over what
/// agrees.</summary>
/// <remarks>PEFT's rule (<see cref="Pruning"/>) keeps exactly ⌊density · n⌋ entries; with a threshold that is itself
/// kept, and entries equal to it, there is one more.</remarks>
public static class Trimming
{
    /// <summary>The matrix with its largest entries, zeros for the rest: those not below element n − ⌊density · n⌋ of
    /// the magnitudes in rising order.</summary>
    /// <remarks>Source: gstoica27/KnOTS, masking_ops.py. Shapes: as the matrix.</remarks>
    public static Tensor Largest(Tensor matrix, double density)
    {
        var count = matrix.numel();
        var place = count - (long)Math.Floor(density * count);
        return place < 1 ? matrix : AtLeast(matrix, Magnitude(matrix, place));
    }

    /// <summary>The magnitude at a place in rising order, from 1.</summary>
    public static double Magnitude(Tensor matrix, long place) =>
        torch.kthvalue(matrix.abs().reshape(-1), place, 0).values.ToDouble();

    /// <summary>The matrix with zeros for what is smaller than a threshold.</summary>
    /// <remarks>Shapes: as the matrix.</remarks>
    public static Tensor AtLeast(Tensor matrix, double threshold) => matrix * matrix.abs().ge(threshold);

    /// <summary>The mean of the nonzero entries whose sign is that of their sum; where the sum is zero, the sign that
    /// most sums have.</summary>
    /// <remarks>Source: gstoica27/KnOTS, masking_ops.py; arXiv:2306.01708. Shapes: as the matrices.</remarks>
    public static Tensor AgreeingMean(IReadOnlyList<Tensor> matrices)
    {
        var sum = torch.zeros_like(matrices[0]);
        foreach (var matrix in matrices)
            sum.add_(matrix);
        var sign = sum.sign();
        sign = torch.where(sign.eq(0), sign.sum().sign(), sign);
        var (total, count) = (torch.zeros_like(sum), torch.zeros_like(sum));
        foreach (var matrix in matrices)
        {
            var agrees = (matrix * sign).gt(0);
            total.add_(matrix * agrees);
            count.add_(agrees.to(count.dtype));
        }
        return total / count.clamp(min: 1);
    }
}

/// <summary>The element at a place among magnitudes that never lie in memory together: two passes, a count of each
/// value's upper half and then of its lower one.</summary>
/// <remarks>Magnitudes of float32 have the order of their bits.</remarks>
public sealed class MagnitudeOrder
{
    private const int Halves = 1 << 16;
    private readonly long[] _upper = new long[Halves];
    private readonly long[] _lower = new long[Halves];
    private int _bin = -1;
    private long _place;

    /// <summary>Number of entries of the first pass.</summary>
    public long Count { get; private set; }

    /// <summary>Takes in entries of the first pass.</summary>
    /// <remarks>Shapes: any, float32.</remarks>
    public void First(Tensor values)
    {
        foreach (var bits in BitsOf(values))
            _upper[bits >> 16]++;
        Count += values.numel();
    }

    /// <summary>Ends the first pass.</summary>
    /// <param name="place">The place in rising order, from 1.</param>
    public void Seek(long place)
    {
        _place = place;
        for (_bin = 0; _place > _upper[_bin]; _bin++)
            _place -= _upper[_bin];
    }

    /// <summary>Takes in the same entries in the second pass.</summary>
    /// <remarks>Shapes: any, float32.</remarks>
    public void Second(Tensor values)
    {
        foreach (var bits in BitsOf(values))
        {
            if (bits >> 16 == _bin)
                _lower[bits & (Halves - 1)]++;
        }
    }

    /// <summary>The magnitude at the place.</summary>
    public double Value
    {
        get
        {
            var (low, place) = (0, _place);
            for (; place > _lower[low]; low++)
                place -= _lower[low];
            return BitConverter.Int32BitsToSingle((_bin << 16) | low);
        }
    }

    private static ReadOnlySpan<int> BitsOf(Tensor values) =>
        MemoryMarshal.Cast<float, int>(values.abs().Values<float>());
}
