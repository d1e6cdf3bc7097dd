namespace Peft.Adapters.Exchange;

/// <summary>The exact singular value decomposition of a product B A, without the product.</summary>
/// <remarks>
/// Source: B = Q₁R₁, Aᵀ = Q₂R₂ (QR), R₁R₂ᵀ = U S Vᵀ; then B A = (Q₁U) S (Q₂V)ᵀ. In float64: only matrices of rank size are decomposed.
/// Shapes: Left [O, K], Values [K] falling, Right [K, D], K at most the rank of B A's factors.
/// </remarks>
/// <param name="Left">Left singular vectors.</param>
/// <param name="Values">Singular values.</param>
/// <param name="Right">Right singular vectors, as rows.</param>
public sealed record LowRankProduct(Tensor Left, Tensor Values, Tensor Right)
{
    /// <summary>Decomposes a product.</summary>
    /// <remarks>Shapes: up [O, C], down [C, D].</remarks>
    public static LowRankProduct Of(Tensor up, Tensor down)
    {
        ArgumentNullException.ThrowIfNull(up);
        ArgumentNullException.ThrowIfNull(down);
        using var off = torch.no_grad();
        var (left, leftFactor) = torch.linalg.qr(up.detach().to(torch.float64));
        var (right, rightFactor) = torch.linalg.qr(down.detach().to(torch.float64).t());
        var (u, s, vh) = torch.linalg.svd(leftFactor.matmul(rightFactor.t()));
        return new(left.matmul(u), s, vh.matmul(right.t()));
    }

    /// <summary>Factors of the best approximation of a rank: A = √S Vᵀ, B = U √S.</summary>
    /// <remarks>Shapes: Down [rank, D], Up [O, rank] float32; filled up with zeros where the product has a smaller rank.</remarks>
    public (Tensor Down, Tensor Up) Truncated(int rank)
    {
        using var off = torch.no_grad();
        var kept = Math.Min(rank, Values.shape[0]);
        var root = Values.narrow(0, 0, kept).sqrt();
        var down = torch.zeros([rank, Right.shape[1]], torch.float32);
        var up = torch.zeros([Left.shape[0], rank], torch.float32);
        down.narrow(0, 0, kept).copy_(Right.narrow(0, 0, kept) * root.unsqueeze(-1));
        up.narrow(1, 0, kept).copy_(Left.narrow(1, 0, kept) * root);
        return (down, up);
    }

    /// <summary>‖B A − its approximation‖ / ‖B A‖ in the Frobenius norm, and the share of the squared norm that is kept.</summary>
    public (double Error, double Energy) Lost(int rank)
    {
        var squares = Values.data<double>().Select(value => value * value).ToArray();
        var all = squares.Sum();
        var kept = squares.Take(rank).Sum();
        return all == 0 ? (0, 1) : (Math.Sqrt(Math.Max(0, squares.Skip(rank).Sum()) / all), kept / all);
    }
}
