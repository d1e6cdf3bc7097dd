using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>The thin products of a mixture over the experts that each row uses, and no others. Low-rank rows [N, C],
/// factors and sums are float32; what stands in a row for an expert that it does not use is neither read nor
/// written.</summary>
internal abstract class GroupedKernel
{
    /// <summary>Ranks of an expert are a multiple of it.</summary>
    public const int RankStep = 4;

    /// <summary>Whether these kernels take such a mixture; they are made for registers of 512 bits.</summary>
    public static bool Serves(LowRankShape shape, ScalarType type) =>
        Vector512.IsHardwareAccelerated && type is ScalarType.Float32 or ScalarType.BFloat16
        && shape.Inputs % 16 == 0 && shape.Outputs % 16 == 0 && shape.Ranks / shape.Gates % RankStep == 0;

    /// <summary>The kernel of a type.</summary>
    public static GroupedKernel Of(ScalarType type, ExpertGroups groups) =>
        type == ScalarType.BFloat16 ? new GroupedKernel<ushort>(groups) : new GroupedKernel<float>(groups);

    /// <summary>h = x At; gated = scale * h * gates, which are 1 where they are not given.</summary>
    public abstract void Down(Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated, float scale);

    /// <summary>From dy and bt [C, O]: dh, the gradient of h; where asked for, gated again and the gradient of the
    /// gates [N, G], which need h.</summary>
    public abstract void Back(
        Tensor dy, Tensor bt, Tensor? gates, Tensor? h, Tensor dh, Tensor? gated, Tensor? dgates, float scale);

    /// <summary>Two sums over the rows that use each expert.</summary>
    public abstract void Outer(OuterSum first, OuterSum second);
}

/// <summary>Target [C, width], or turned [width, C], = low^T rows for each expert over the rows that use it; nothing
/// where there is no target.</summary>
internal readonly record struct OuterSum(
    Tensor? Low, Tensor? Rows, Tensor? Target, ExpertGroups Groups, bool IsTurned = false);

/// <inheritdoc/>
/// <typeparam name="T">Type of the rows: float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class GroupedKernel<T>(ExpertGroups groups) : GroupedKernel
    where T : unmanaged
{
    // Sixteen sums at a time: four rows or ranks by four vectors, or by four factors.
    private const int Lanes = Elements<T>.Count, Four = BlockProducts.Four, Block = BlockProducts.Wide;

    // Of a thread, so that those who are done early find more.
    private const int FewestTasks = 4;

    private readonly int _ranks = groups.Ranks;
    private readonly long _columns = groups.Columns;

    /// <inheritdoc/>
    public override void Down(Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated, float scale)
    {
        var (rows, factor, width) = ((nint)TensorMemory.Of<T>(x), (nint)TensorMemory.Of<float>(a), a.size(1));
        var (g, low, up) = (Floats(gates), Floats(h), Floats(gated));
        ForChunks((expert, members) =>
        {
            Dots((T*)rows, (float*)factor, width, (float*)low, members, expert);
            foreach (var row in members.Rows)
            {
                var (at, gate) = (At(row, expert), scale * Gate(g, (long)row * groups.Experts + expert));
                for (var r = 0; r < _ranks; r += Four)
                    (Vector128.Load((float*)low + at + r) * gate).Store((float*)up + at + r);
            }
        });
    }

    /// <inheritdoc/>
    public override void Back(
        Tensor dy, Tensor bt, Tensor? gates, Tensor? h, Tensor dh, Tensor? gated, Tensor? dgates, float scale)
    {
        var (rows, factor, width) = ((nint)TensorMemory.Of<T>(dy), (nint)TensorMemory.Of<float>(bt), bt.size(1));
        var (g, low, down, up, gateSums) = (Floats(gates), Floats(h), Floats(dh), Floats(gated), Floats(dgates));
        ForChunks((expert, members) =>
        {
            Dots((T*)rows, (float*)factor, width, (float*)down, members, expert);
            foreach (var row in members.Rows)
            {
                var (at, cell) = (At(row, expert), (long)row * groups.Experts + expert);
                var gate = scale * Gate(g, cell);
                var sum = Vector128<float>.Zero;
                for (var c = at; c < at + _ranks; c += Four)
                {
                    var found = Vector128.Load((float*)down + c);
                    (found * gate).Store((float*)down + c);
                    if (gateSums != 0)
                        sum += found * Vector128.Load((float*)low + c);
                    if (up != 0)
                        (Vector128.Load((float*)low + c) * gate).Store((float*)up + c);
                }
                if (gateSums != 0)
                    ((float*)gateSums)[cell] = scale * Vector128.Sum(sum);
            }
        });
    }

    /// <inheritdoc/>
    public override void Outer(OuterSum first, OuterSum second)
    {
        var (one, two) = (new Sum(first), new Sum(second));
        var (blocks, more) = (Blocks(one.Width), Blocks(two.Width));
        // The experts of a block read the same columns, one after the other while those are in the cache, unless
        // threads would go without.
        var parts = blocks + more < FewestTasks * Threads.Count ? groups.Experts : 1;
        Threads.Share((blocks + more) * parts, shared =>
        {
            while (shared.Next(out var task))
            {
                var (number, begin) = (task / parts, (int)(task % parts));
                var (sum, block) = number < blocks ? (one, number) : (two, number - blocks);
                for (var expert = begin; expert < groups.Experts; expert += parts)
                    Outer(expert, block * Block, sum);
            }
        });
    }

    /// <summary>Adds to a tile of a product, columns j and on of rows i and on, low times the factor [C,
    /// factorWidth].</summary>
    public void Up(
        float* low, float* factor, long factorWidth, long i, long j, long height, long width, float* tile, long step)
    {
        for (var expert = 0; expert < groups.Experts; expert++)
        {
            var members = groups.Of(expert, i, i + height);
            var own = low + (long)expert * _ranks;
            var f = factor + expert * _ranks * factorWidth + j;
            for (long column = 0, wide; column < width; column += wide)
            {
                wide = BlockProducts.WidthAt(column, width);
                for (var k = 0; k < members.Rows.Length; k += Four)
                {
                    BlockProducts.Tile(
                        wide, _ranks, FourRows.Of(members.Rows[k..], own, _columns), 1, f + column, factorWidth, 1,
                        true, FourRows.Of(members.Wide[k..], tile + column - i * step, step));
                }
            }
        }
    }

    /// <summary>The same for few rows, with the factor as it is, [columns of the product, C].</summary>
    public void UpFew(float* low, float* factor, long i, long j, long height, long width, float* tile, long step)
    {
        for (var expert = 0; expert < groups.Experts; expert++)
        {
            var members = groups.Of(expert, i, i + height);
            var at = (long)expert * _ranks;
            for (var k = 0; k < members.Rows.Length; k++)
            {
                AddDots(low + members.Rows[k] * _columns + at, factor + j * _columns + at, _columns, _ranks,
                    tile + (members.Wide[k] - i) * step, width);
            }
        }
    }

    // target [n] += factor [n, ranks] low, four of n at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddDots(float* low, float* factor, long factorStep, int ranks, float* target, long n)
    {
        for (long j = 0; j < n; j += Four, factor += Four * factorStep)
        {
            Vector128<float> a = default, b = default, c = default, d = default;
            for (var r = 0; r < ranks; r += RankStep)
            {
                var v = Vector128.Load(low + r);
                var at = factor + r;
                a = Vector128.FusedMultiplyAdd(v, Vector128.Load(at), a);
                b = Vector128.FusedMultiplyAdd(v, Vector128.Load(at + factorStep), b);
                c = Vector128.FusedMultiplyAdd(v, Vector128.Load(at + 2 * factorStep), c);
                d = Vector128.FusedMultiplyAdd(v, Vector128.Load(at + 3 * factorStep), d);
            }
            (Vector128.Load(target + j) + FewRows<T, float>.Sum(a, b, c, d)).Store(target + j);
        }
    }

    private delegate void ForMembers(int expert, Members members);

    private void ForChunks(ForMembers body) => Threads.Share(groups.Chunks, tasks =>
    {
        while (tasks.Next(out var chunk))
        {
            for (var expert = 0; expert < groups.Experts; expert++)
                body(expert, groups.Of(expert, (int)chunk));
        }
    });

    private static float Gate(nint gates, long cell) => gates == 0 ? 1 : ((float*)gates)[cell];

    private long At(int row, int expert) => row * _columns + (long)expert * _ranks;

    private static nint Floats(Tensor? tensor) => (nint)TensorMemory.Of<float>(tensor);

    private static long Blocks(long width) => (width + Block - 1) / Block;

    // target [N, C] = x [N, width] factor^T.
    private void Dots(T* x, float* factor, long width, float* target, Members members, int expert)
    {
        ReadOnlySpan<int> rows = members.Rows, wide = members.Wide;
        var sums = stackalloc float[Four * Four];
        for (var i = 0; i < rows.Length; i += Four)
        {
            // Where fewer are left, the last one is computed again.
            int last = rows.Length - 1, i1 = Math.Min(i + 1, last), i2 = Math.Min(i + 2, last),
                i3 = Math.Min(i + 3, last);
            T* x0 = x + wide[i] * width, x1 = x + wide[i1] * width, x2 = x + wide[i2] * width,
                x3 = x + wide[i3] * width;
            for (var r = 0; r < _ranks; r += Four)
            {
                var w = factor + ((long)expert * _ranks + r) * width;
                FewRows<T, float>.Four(
                    x0, x1, x2, x3, w, w + width, w + 2 * width, w + 3 * width, width, sums);
                Vector128.Load(sums).Store(target + At(rows[i], expert) + r);
                Vector128.Load(sums + 4).Store(target + At(rows[i1], expert) + r);
                Vector128.Load(sums + 8).Store(target + At(rows[i2], expert) + r);
                Vector128.Load(sums + 12).Store(target + At(rows[i3], expert) + r);
            }
        }
    }

    // Columns j and on of an expert's part of the target.
    private void Outer(int expert, long j, Sum sum)
    {
        // Not looked up by the loops below: a call would send their sums through memory.
        var members = sum.Groups.Of(expert);
        var columns = Math.Min(Block, sum.Width - j);
        var tile = stackalloc float[Four * Block];
        for (var c = (long)expert * _ranks; c < (expert + 1L) * _ranks; c += Four)
        {
            float* low = (float*)sum.Low + c, target = sum.IsTurned ? tile : (float*)sum.Target + c * sum.Width + j;
            var step = sum.IsTurned ? Block : sum.Width;
            if (columns == Block)
            {
                OuterWide(low, (T*)sum.Rows + j, sum.Width, members, target, step);
            }
            else
            {
                for (long k = 0; k < columns; k += Lanes)
                    OuterNarrow(low, (T*)sum.Rows + j + k, sum.Width, members, target + k, step);
            }

            if (sum.IsTurned)
                BlockProducts.Transpose(tile, Block, Four, columns, (float*)sum.Target + j * _columns + c, _columns);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void OuterWide(float* low, T* x, long width, Members members, float* target, long step)
    {
        Vector512<float> a0 = default, a1 = default, a2 = default, a3 = default;
        Vector512<float> b0 = default, b1 = default, b2 = default, b3 = default;
        Vector512<float> c0 = default, c1 = default, c2 = default, c3 = default;
        Vector512<float> d0 = default, d1 = default, d2 = default, d3 = default;
        var columns = _columns;
        ReadOnlySpan<int> rows = members.Rows, wide = members.Wide;
        for (var i = 0; i < rows.Length; i++)
        {
            var v = x + wide[i] * width;
            var g = low + rows[i] * columns;
            Vector512<float> v0 = Elements<T>.Load(v), v1 = Elements<T>.Load(v + 16),
                v2 = Elements<T>.Load(v + 32), v3 = Elements<T>.Load(v + 48);
            var f = Vector512.Create(g[0]);
            a0 = Vector512.FusedMultiplyAdd(f, v0, a0);
            a1 = Vector512.FusedMultiplyAdd(f, v1, a1);
            a2 = Vector512.FusedMultiplyAdd(f, v2, a2);
            a3 = Vector512.FusedMultiplyAdd(f, v3, a3);
            f = Vector512.Create(g[1]);
            b0 = Vector512.FusedMultiplyAdd(f, v0, b0);
            b1 = Vector512.FusedMultiplyAdd(f, v1, b1);
            b2 = Vector512.FusedMultiplyAdd(f, v2, b2);
            b3 = Vector512.FusedMultiplyAdd(f, v3, b3);
            f = Vector512.Create(g[2]);
            c0 = Vector512.FusedMultiplyAdd(f, v0, c0);
            c1 = Vector512.FusedMultiplyAdd(f, v1, c1);
            c2 = Vector512.FusedMultiplyAdd(f, v2, c2);
            c3 = Vector512.FusedMultiplyAdd(f, v3, c3);
            f = Vector512.Create(g[3]);
            d0 = Vector512.FusedMultiplyAdd(f, v0, d0);
            d1 = Vector512.FusedMultiplyAdd(f, v1, d1);
            d2 = Vector512.FusedMultiplyAdd(f, v2, d2);
            d3 = Vector512.FusedMultiplyAdd(f, v3, d3);
        }

        Store(a0, a1, a2, a3, target);
        Store(b0, b1, b2, b3, target + step);
        Store(c0, c1, c2, c3, target + 2 * step);
        Store(d0, d1, d2, d3, target + 3 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void OuterNarrow(float* low, T* x, long width, Members members, float* target, long step)
    {
        var columns = _columns;
        Vector512<float> a = default, b = default, c = default, d = default;
        ReadOnlySpan<int> rows = members.Rows, wide = members.Wide;
        for (var i = 0; i < rows.Length; i++)
        {
            var v = Elements<T>.Load(x + wide[i] * width);
            var g = low + rows[i] * columns;
            a = Vector512.FusedMultiplyAdd(Vector512.Create(g[0]), v, a);
            b = Vector512.FusedMultiplyAdd(Vector512.Create(g[1]), v, b);
            c = Vector512.FusedMultiplyAdd(Vector512.Create(g[2]), v, c);
            d = Vector512.FusedMultiplyAdd(Vector512.Create(g[3]), v, d);
        }

        a.Store(target);
        b.Store(target + step);
        c.Store(target + 2 * step);
        d.Store(target + 3 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(
        Vector512<float> v0, Vector512<float> v1, Vector512<float> v2, Vector512<float> v3, float* target)
    {
        v0.Store(target);
        v1.Store(target + 16);
        v2.Store(target + 32);
        v3.Store(target + 48);
    }

    // One product: where its tensors lie, and columns of the target; none without a target.
    private readonly struct Sum(OuterSum tensors)
    {
        public readonly nint Low = Floats(tensors.Low), Rows = (nint)TensorMemory.Of<T>(tensors.Rows),
            Target = Floats(tensors.Target);
        public readonly long Width = tensors.Target is null ? 0 : tensors.Rows!.size(1);
        public readonly bool IsTurned = tensors.IsTurned;
        public readonly ExpertGroups Groups = tensors.Groups;
    }
}
