using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Linear algebra.
public static partial class torch
{
    /// <summary>Decompositions and norms.</summary>
    public static class linalg
    {
        /// <summary>A = U diag(S) Vh, singular values falling. Shapes: [N, M] gives U [N, K], S [K], Vh [K, M], K the
        /// smaller of
        /// N and M; with full_matrices U [N, N], Vh [M, M].</summary>
        public static (Tensor U, Tensor S, Tensor Vh) svd(Tensor A, bool full_matrices = false)
        {
            pt_svd(A.Handle, full_matrices, out var u, out var s, out var vh);
            return (new Tensor(u), new Tensor(s), new Tensor(vh));
        }

        /// <summary>Eigenvalues (rising) and vectors (columns) of a symmetric matrix; its lower triangle is
        /// read.</summary>
        public static (Tensor values, Tensor vectors) eigh(Tensor A)
        {
            pt_eigh(A.Handle, out var values, out var vectors);
            return (new Tensor(values), new Tensor(vectors));
        }

        /// <summary>A = Q R, reduced. Shapes: [N, M] gives Q [N, K], R [K, M].</summary>
        public static (Tensor Q, Tensor R) qr(Tensor A)
        {
            pt_qr(A.Handle, out var q, out var r);
            return (new Tensor(q), new Tensor(r));
        }

        /// <summary>The X with A X = B. Shapes: A [N, N], B [N, M].</summary>
        public static Tensor solve(Tensor A, Tensor B)
        {
            pt_solve(A.Handle, B.Handle, out var result);
            return new Tensor(result);
        }

        /// <summary>Norm of all elements as one vector, a scalar.</summary>
        public static Tensor vector_norm(Tensor x, double ord = 2)
        {
            pt_vector_norm(x.Handle, ord, out var result);
            return new Tensor(result);
        }

        /// <summary>Norm along dimensions.</summary>
        public static Tensor vector_norm(Tensor x, double ord, ReadOnlySpan<long> dim, bool keepdim = false)
        {
            pt_vector_norm_dim(x.Handle, ord, dim, dim.Length, keepdim, out var result);
            return new Tensor(result);
        }
    }
}
