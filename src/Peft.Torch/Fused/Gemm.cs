using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

/// <summary>Products of small matrices on the calling thread, by the MKL that lies in libtorch_cpu: row by row, any row
/// length.</summary>
/// <remarks>Inside a parallel region MKL uses one thread. Where libtorch was built without MKL the names do not exist,
/// and the fused operations are composed.</remarks>
internal static unsafe partial class Gemm
{
    private const string Library = "torch_cpu";
    private static readonly string[] Needed =
        ["sgemm_", "dgemm_", "cblas_gemm_bf16bf16f32", "mkl_serv_intel_cpu_true", "MKL_Set_Num_Threads_Local"];

    private const int RowMajor = 101, Plain = 111, Transposed = 112;

    private static readonly Lazy<bool> Found = new(() =>
        NativeLibrary.TryLoad(Library, typeof(Gemm).Assembly, null, out var library)
        && Needed.All(name => NativeLibrary.TryGetExport(library, name, out _)));

    private static readonly Lazy<bool> Fast =
        new(() => IsAvailable && Kernels.ProcessorHasBFloat16 && mkl_serv_intel_cpu_true() == 1);

    /// <summary>Whether libtorch carries MKL.</summary>
    public static bool IsAvailable => Found.Value;

    /// <summary>Whether its products of bfloat16 are faster than those of float32: the processor has them, and MKL
    /// takes its fast kernels there.</summary>
    public static bool HasFastBFloat16 => Fast.Value;

    /// <summary>c = alpha * op(a) op(b) + beta * c with op(a) [m, k], op(b) [k, n]; T is float, double, or ushort
    /// holding bfloat16, and W the type sums are in: float, or double for double.</summary>
    public static void Multiply<T, W>(
        bool ta, bool tb, long m, long n, long k, W alpha, T* a, long lda, T* b, long ldb, W beta, W* c, long ldc)
        where T : unmanaged
        where W : unmanaged
    {
        if (m == 0 || n == 0)
            return;
        // A BLAS counts by columns: the transpose of the product, its factors exchanged.
        byte left = (byte)(tb ? 'T' : 'N'), right = (byte)(ta ? 'T' : 'N');
        int rows = (int)m, columns = (int)n, inner = (int)k, stepA = (int)lda, stepB = (int)ldb, stepC = (int)ldc;
        if (typeof(T) == typeof(ushort))
        {
            cblas_gemm_bf16bf16f32(
                RowMajor, ta ? Transposed : Plain, tb ? Transposed : Plain, rows, columns, inner, (float)(object)alpha,
                (ushort*)a, stepA, (ushort*)b, stepB, (float)(object)beta, (float*)c, stepC);
        }
        else if (typeof(T) == typeof(float))
        {
            sgemm_(&left, &right, &columns, &rows, &inner,
                (float*)&alpha, (float*)b, &stepB, (float*)a, &stepA, (float*)&beta, (float*)c, &stepC);
        }
        else
        {
            dgemm_(&left, &right, &columns, &rows, &inner,
                (double*)&alpha, (double*)b, &stepB, (double*)a, &stepA, (double*)&beta, (double*)c, &stepC);
        }
    }

    /// <summary>Runs a body outside a parallel region as inside one: its products wake no other thread.</summary>
    public static void OnThisThread(Action body)
    {
        if (!IsAvailable)
        {
            body();
            return;
        }
        var before = MKL_Set_Num_Threads_Local(1);
        try
        {
            body();
        }
        finally
        {
            _ = MKL_Set_Num_Threads_Local(before);
        }
    }

    [LibraryImport(Library)]
    private static partial int MKL_Set_Num_Threads_Local(int threads);

    [LibraryImport(Library)]
    private static partial int mkl_serv_intel_cpu_true();

    [LibraryImport(Library)]
    private static partial void sgemm_(
        byte* ta, byte* tb, int* m, int* n, int* k, float* alpha, float* a, int* lda, float* b, int* ldb,
        float* beta, float* c, int* ldc);

    [LibraryImport(Library)]
    private static partial void dgemm_(
        byte* ta, byte* tb, int* m, int* n, int* k, double* alpha, double* a, int* lda, double* b, int* ldb,
        double* beta, double* c, int* ldc);

    [LibraryImport(Library)]
    private static partial void cblas_gemm_bf16bf16f32(
        int layout, int ta, int tb, int m, int n, int k, float alpha, ushort* a, int lda,
        ushort* b, int ldb, float beta, float* c, int ldc);
}

/// <summary>Two matrices to multiply, row by row in memory: left [m, Inner] or, where TransposeLeft, [Inner, m]; right
/// [Inner, n] or [n, Inner] likewise.</summary>
internal readonly unsafe struct Factors<T>(
    T* left, long leftStep, bool transposeLeft, T* right, long rightStep, bool transposeRight, long inner)
    where T : unmanaged
{
    public readonly T* Left = left, Right = right;
    public readonly long LeftStep = leftStep, RightStep = rightStep, Inner = inner;
    public readonly bool TransposeLeft = transposeLeft, TransposeRight = transposeRight;

    /// <summary>Where row i of the product begins in the left matrix.</summary>
    public T* LeftAt(long i) => Left + (TransposeLeft ? i : i * LeftStep);

    /// <summary>Where column j of the product begins in the right matrix.</summary>
    public T* RightAt(long j) => Right + (TransposeRight ? j * RightStep : j);
}

/// <summary>Adds something to a tile of a product: columns j to j + width of rows i to i + height, which lie step
/// elements apart.</summary>
internal unsafe delegate void AddToTile<W>(long i, long j, long height, long width, W* tile, long step)
    where W : unmanaged;

/// <summary>Products of whole matrices on all threads, a tile at a time: what is added to a tile, and its rounding,
/// find it in the cache.</summary>
/// <typeparam name="T">What the products take: float, double, or ushort holding bfloat16.</typeparam>
/// <typeparam name="W">What sums are in: float, or double for double.</typeparam>
internal static unsafe class Tiles<T, W>
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private const long Rows = 512, Columns = 768, FewestRows = 64, FewestColumns = 192;

    // Multiply-adds that take as long as waking a thread.
    private const long SmallWork = 1 << 18;

    /// <summary>target [m, n] = main + added + bias, rounded once. Sums of main do not depend on whether anything is
    /// added; without main they begin at zero, and where <paramref name="sums"/> with what target holds.</summary>
    public static void Product(
        long m, long n, Factors<T>? main, AddToTile<W>? add, W* bias, T* target, bool sums = false)
    {
        var (rows, columns) = SizeOf(m, n);
        var (down, across) = (Pieces(m, rows), Pieces(n, columns));
        Threads.Share(down * across, tasks =>
        {
            using var wide = new Scratch<W>(typeof(T) == typeof(W) ? 0 : rows * columns);
            while (tasks.Next(out var task))
            {
                var (i, j) = (task % down * rows, task / down * columns);
                var (height, width) = (Math.Min(rows, m - i), Math.Min(columns, n - j));
                var goal = target + i * n + j;
                var (tile, step) = typeof(T) == typeof(W) ? ((nint)goal, n) : ((nint)wide.Pointer, width);
                // What target holds is the beginning of a tile in its own place, and comes last to any other.
                var continues = sums && typeof(T) == typeof(W);
                if (main is { } factors)
                    Multiply(factors, i, j, height, width, continues ? W.One : W.Zero, (W*)tile, step);
                else if (!continues)
                    Clear((W*)tile, step, height, width);
                add?.Invoke(i, j, height, width, (W*)tile, step);
                Finish((W*)tile, step, height, width, bias == null ? null : bias + j, goal, n, sums);
            }
        }, alone: m * n * (main?.Inner ?? 1) < SmallWork);
    }

    private static void Clear(W* tile, long step, long height, long width)
    {
        for (long i = 0; i < height; i++)
            new Span<W>(tile + i * step, (int)width).Clear();
    }

    /// <summary>A tile = beta * itself + the product's part that it covers.</summary>
    public static void Multiply(
        Factors<T> factors, long i, long j, long height, long width, W beta, W* tile, long step)
    {
        if (typeof(W) == typeof(float) && !factors.TransposeLeft && factors.TransposeRight
            && FewRows<T, T>.Serves(height))
        {
            FewRows<T, T>.Multiply(
                height, width, factors.Inner, factors.LeftAt(i), factors.LeftStep, factors.RightAt(j),
                factors.RightStep, float.CreateTruncating(beta), (float*)tile, step);
            return;
        }

        Gemm.Multiply(factors.TransposeLeft, factors.TransposeRight, height, width, factors.Inner, W.One,
            factors.LeftAt(i), factors.LeftStep, factors.RightAt(j), factors.RightStep, beta, tile, step);
    }

    private static void Finish(
        W* tile, long step, long height, long width, W* bias, T* goal, long goalStep, bool sums)
    {
        for (long i = 0; i < height; i++)
        {
            var row = tile + i * step;
            if (bias != null)
                Add(row, bias, width);
            if (typeof(T) != typeof(W))
                VectorMath.Finish((float*)row, width, goal + i * goalStep, sums);
        }
    }

    private static void Add(W* row, W* bias, long n)
    {
        long j = 0;
        for (; j + Vector512<W>.Count <= n; j += Vector512<W>.Count)
            (Vector512.Load(row + j) + Vector512.Load(bias + j)).Store(row + j);
        for (; j < n; j++)
            row[j] += bias[j];
    }

    // Large tiles repack the factors least; smaller ones where threads would go without, and where some would have a
    // tile more to do than others.
    private static (long Rows, long Columns) SizeOf(long m, long n)
    {
        var threads = Threads.Count;
        var (rows, columns) = (Rows, Columns);
        while (Count() < threads && columns > FewestColumns)
            columns /= 2;
        while (Count() < threads && rows > FewestRows)
            rows /= 2;
        var (down, across) = (Pieces(m, rows), Pieces(n, columns));
        while (down * across % threads != 0 && down * across < 8 * threads && m > down * FewestRows)
            down++;
        while (down * across % threads != 0 && down == 1 && n > across * FewestColumns)
            across++;
        return (Even(m, down), Even(n, across));

        long Count() => Pieces(m, rows) * Pieces(n, columns);
    }

    private static long Pieces(long length, long size) => (length + size - 1) / size;

    // So many pieces, alike; of whole vectors where there are several.
    private static long Even(long length, long pieces) =>
        pieces <= 1 ? length : (Pieces(length, pieces) + 15) / 16 * 16;
}
