using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>Products of small matrices on the calling thread, by the MKL that lies in libtorch_cpu: row by row, any row length.</summary>
/// <remarks>Inside a parallel region MKL uses one thread. Where libtorch was built without MKL the names do not exist, and the fused
/// operations are composed.</remarks>
internal static unsafe partial class Gemm
{
    private const string Library = "torch_cpu";
    private static readonly string[] Needed =
        ["sgemm_", "dgemm_", "cblas_gemm_bf16bf16f32", "mkl_serv_intel_cpu_true", "MKL_Set_Num_Threads_Local"];

    private const int RowMajor = 101, Plain = 111, Transposed = 112;

    private static readonly Lazy<bool> Found = new(() =>
        NativeLibrary.TryLoad(Library, typeof(Gemm).Assembly, null, out var library)
        && Needed.All(name => NativeLibrary.TryGetExport(library, name, out _)));

    private static readonly Lazy<bool> Fast = new(() => IsAvailable && Kernels.ProcessorHasBFloat16 && mkl_serv_intel_cpu_true() == 1);

    /// <summary>Whether libtorch carries MKL.</summary>
    public static bool IsAvailable => Found.Value;

    /// <summary>Whether its products of bfloat16 are faster than those of float32: the processor has them, and MKL takes its fast kernels
    /// there.</summary>
    public static bool HasFastBFloat16 => Fast.Value;

    /// <summary>c = alpha * op(a) op(b) + beta * c with op(a) [m, k], op(b) [k, n]; T is float, double, or ushort holding bfloat16, and W
    /// the type sums are in: float, or double for double.</summary>
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
            cblas_gemm_bf16bf16f32(RowMajor, ta ? Transposed : Plain, tb ? Transposed : Plain, rows, columns, inner, (float)(object)alpha,
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
    private static partial void sgemm_(byte* ta, byte* tb, int* m, int* n, int* k, float* alpha, float* a, int* lda, float* b, int* ldb,
        float* beta, float* c, int* ldc);

    [LibraryImport(Library)]
    private static partial void dgemm_(byte* ta, byte* tb, int* m, int* n, int* k, double* alpha, double* a, int* lda, double* b, int* ldb,
        double* beta, double* c, int* ldc);

    [LibraryImport(Library)]
    private static partial void cblas_gemm_bf16bf16f32(int layout, int ta, int tb, int m, int n, int k, float alpha, ushort* a, int lda,
        ushort* b, int ldb, float beta, float* c, int ldc);
}
