using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch;

/// <summary>The thin products of a mixture, a share of the rows on each thread, where a chunk of rows stays in the cache between them.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What sums are in: float, or double for double.</typeparam>
internal sealed unsafe class LowRankKernel<T, W>(long rows, long inputs, long outputs, long ranks, long gates, W scale)
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long ChunkRows = 128;

    // Always the same shares for the same number of threads: sums over rows must not depend on who came first.
    private readonly long _shares = Math.Clamp((rows + ChunkRows - 1) / ChunkRows, 1, torch.get_num_threads());

    /// <summary>h [N, C] = x At, and gated [N, C] = scale * h o gates as the up products take it.</summary>
    public void Down(T* x, T* a, W* gateRows, W* h, T* gated) => Share((_, begin, end) =>
    {
        Gemm.Multiply(false, true, end - begin, ranks, inputs, W.One,
            x + begin * inputs, inputs, a, inputs, W.Zero, h + begin * ranks, ranks);
        Gate(h, gateRows, gated, begin, end);
    });

    /// <summary>scale * h o gates again, where backward kept h alone.</summary>
    public void Gate(W* h, W* gateRows, T* gated) => Share((_, begin, end) => Gate(h, gateRows, gated, begin, end));

    /// <summary>From dy [N, O]: the gradient of h [N, C] in dh as products take it, and where the pointers are not null that of the gates
    /// [N, G], of b [C, O] (transposed) and of a [C, D], whose input is x.</summary>
    public void Backward(T* dy, T* b, W* gateRows, W* h, T* gated, T* x, T* dh, W* dgates, W* db, W* da)
    {
        using var partial = new Scratch<W>(_shares * ranks * ((db != null ? outputs : 0) + (da != null ? inputs : 0)));
        using var wide = new Scratch<W>(rows * ranks);
        var (ups, downs) = ((nint)partial.Pointer, (nint)(partial.Pointer + (db != null ? _shares * ranks * outputs : 0)));
        var gradients = wide.Pointer;
        Share((share, begin, end) =>
        {
            W* up = (W*)ups + share * ranks * outputs, down = (W*)downs + share * ranks * inputs;
            for (var i = begin; i < end; i += ChunkRows)
            {
                var (count, beta) = (Math.Min(ChunkRows, end - i), i == begin ? W.Zero : W.One);
                Gemm.Multiply(false, false, count, ranks, outputs, scale,
                    dy + i * outputs, outputs, b, ranks, W.Zero, gradients + i * ranks, ranks);
                if (dgates != null)
                    GateGradients(gradients, h, dgates, i, i + count);
                Gate(gradients, gateRows, dh, i, i + count, W.One);
                if (db != null)
                {
                    Gemm.Multiply(true, false, ranks, outputs, count, W.One,
                        gated + i * ranks, ranks, dy + i * outputs, outputs, beta, up, outputs);
                }
                if (da != null)
                {
                    Gemm.Multiply(true, false, ranks, inputs, count, W.One,
                        dh + i * ranks, ranks, x + i * inputs, inputs, beta, down, inputs);
                }
            }
        });
        Sum((W*)ups, ranks * outputs, db);
        Sum((W*)downs, ranks * inputs, da);
    }

    private void Share(Action<long, long, long> body)
    {
        var each = (rows + _shares - 1) / _shares;
        Threads.Share(_shares, tasks =>
        {
            while (tasks.Next(out var share))
                body(share, Math.Min(rows, share * each), Math.Min(rows, (share + 1) * each));
        });
    }

    private void Gate(W* h, W* gateRows, T* gated, long begin, long end) => Gate(h, gateRows, gated, begin, end, scale);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Gate(W* h, W* gateRows, T* gated, long begin, long end, W factor)
    {
        var width = ranks / gates;
        var row = stackalloc W[(int)ranks];
        for (var i = begin; i < end; i++)
        {
            var source = h + i * ranks;
            for (long c = 0, g = 0; c < ranks; c += width, g++)
                Scale(source + c, gateRows == null ? factor : factor * gateRows[i * gates + g], row + c, width);
            VectorMath.Store(row, ranks, gated + i * ranks);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void GateGradients(W* gradients, W* h, W* dgates, long begin, long end)
    {
        var width = ranks / gates;
        for (var i = begin; i < end; i++)
        {
            for (long c = i * ranks, g = i * gates; g < (i + 1) * gates; c += width, g++)
                dgates[g] = Dot(gradients + c, h + c, width);
        }
    }

    private static void Scale(W* from, W factor, W* to, long count)
    {
        long j = 0;
        for (var factors = Vector256.Create(factor); j + Vector256<W>.Count <= count; j += Vector256<W>.Count)
            (Vector256.Load(from + j) * factors).Store(to + j);
        for (; j < count; j++)
            to[j] = from[j] * factor;
    }

    private static W Dot(W* left, W* right, long count)
    {
        var (sum, j) = (W.Zero, 0L);
        for (; j + Vector256<W>.Count <= count; j += Vector256<W>.Count)
            sum += Vector256.Sum(Vector256.Load(left + j) * Vector256.Load(right + j));
        for (; j < count; j++)
            sum += left[j] * right[j];
        return sum;
    }

    private void Sum(W* partial, long count, W* target)
    {
        if (target == null)
            return;
        var sum = new Span<W>(target, (int)count);
        new Span<W>(partial, (int)count).CopyTo(sum);
        for (long share = 1; share < _shares; share++)
            TensorPrimitives.Add(sum, new ReadOnlySpan<W>(partial + share * count, (int)count), sum);
    }
}
