using System.Globalization;
using Peft.Formats;

namespace Peft.Adapters.Lora;

/// <summary>What an adapter begins with where that is a part of the base's weight: the base computes with the rest, so
/// that nothing is changed at first.</summary>
/// <remarks>Shapes: Down [R, D], Up [O, R] float32. The frozen weight becomes <c>W − scale · Up Down</c>.</remarks>
/// <param name="Down">A as it began.</param>
/// <param name="Up">B as it began.</param>
public sealed record TakenOut(Tensor Down, Tensor Up)
{
    internal const string DownName = "lora_first_A";
    internal const string UpName = "lora_first_B";

    /// <summary>What is left of a weight.</summary>
    /// <remarks>Shapes: [O, D] → the same, in the weight's type, in memory of its own. Gradient: none.</remarks>
    public Tensor Rest(Tensor weight, double scale)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var type = weight.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32;
        return (weight.detach().to(type) - (Up.to(type).mm(Down.to(type)) * scale)).to(weight.dtype)
            .MoveToOuterDisposeScope();
    }
}

/// <summary>First values of A and B that are parts of the base's weight (<c>init_lora_weights</c>).</summary>
/// <remarks>
/// Source: huggingface/peft 5d602fd, <c>pissa_init</c> and <c>olora_init</c>, in float32.
/// PiSSA, arXiv:2404.02948, eq. 2 and 3: the r largest singular triplets, A = diag(√(S / s)) Vᵀ and
/// B = U diag(√(S / s)), s the scale. With <c>pissa_niter_N</c> they come from a random projection and N power
/// iterations (Halko et al., arXiv:0909.4061, algorithm 4.4), which is much faster for wide layers.
/// OLoRA, arXiv:2406.01775: W = Q R, A the first r rows of R, B the first r columns of Q.
/// </remarks>
public static class WeightInitialization
{
    /// <summary>The largest singular triplets.</summary>
    public const string Pissa = "pissa";

    /// <summary>The first columns of a QR decomposition.</summary>
    public const string Olora = "olora";

    private const string Iterations = "pissa_niter_";
    private const int MostIterations = 100;

    /// <summary>Whether an initialisation is one of these.</summary>
    public static bool ChangesBase(string kind) => kind is Pissa or Olora || IterationsOf(kind) is not null;

    /// <summary>The power iterations of <c>pissa_niter_N</c>; null for other texts.</summary>
    public static int? IterationsOf(string kind) =>
        kind.StartsWith(Iterations, StringComparison.Ordinal)
        && int.TryParse(
            kind.AsSpan(Iterations.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var count)
        && count is >= 1 and <= MostIterations ? count : null;

    /// <summary>The first values of one projection.</summary>
    /// <param name="kind">Which.</param>
    /// <param name="path">The projection's path, which names its stream of random numbers.</param>
    /// <param name="weight">Its weight, [O, D].</param>
    /// <param name="rank">Rank r.</param>
    /// <param name="scale">Factor on B A.</param>
    /// <param name="seed">Seed of the run.</param>
    /// <exception cref="UserException">The weight has no so many directions.</exception>
    public static TakenOut First(string kind, string path, Tensor weight, int rank, double scale, long seed)
    {
        var most = Math.Min(weight.shape[0], weight.shape[1]);
        if (rank > most)
            throw UserException.At(
                path, $"rank {rank} with init_lora_weights: {kind}",
                $"at most {most}, the shorter side of its weight", "lower adapter.r, or set adapter.rank_pattern");
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var matrix = weight.detach().to(torch.CPU).to(torch.float32);
        var (down, up) = kind == Olora ? OfQr(matrix, rank)
            : OfSvd(IterationsOf(kind) is { } count
                ? Randomized(matrix, rank, count, seed, path) : Exact(matrix), rank, scale);
        return new(down.MoveToOuterDisposeScope(), up.MoveToOuterDisposeScope());
    }

    private static (Tensor Down, Tensor Up) OfQr(Tensor weight, int rank)
    {
        var (q, r) = torch.linalg.qr(weight);
        return (r.narrow(0, 0, rank).clone(), q.narrow(1, 0, rank).contiguous());
    }

    private static (Tensor Down, Tensor Up) OfSvd((Tensor U, Tensor S, Tensor Vh) parts, int rank, double scale)
    {
        var roots = (parts.S.narrow(0, 0, rank) / scale).sqrt();
        return ((parts.Vh.narrow(0, 0, rank) * roots.unsqueeze(1)).contiguous(),
            (parts.U.narrow(1, 0, rank) * roots).contiguous());
    }

    private static (Tensor U, Tensor S, Tensor Vh) Exact(Tensor weight)
    {
        var (u, s, vh) = torch.linalg.svd(weight, fullMatrices: false);
        return (u, s, vh);
    }

    private static (Tensor U, Tensor S, Tensor Vh) Randomized(
        Tensor weight, int rank, int iterations, long seed, string path)
    {
        using var random = Seeds.GeneratorFor(seed, $"{path}.{TakenOut.DownName}");
        var basis = Basis(weight.mm(torch.randn([weight.shape[1], rank], torch.float32, generator: random)));
        for (var i = 0; i < iterations; i++)
            basis = Basis(weight.mm(Basis(weight.t().mm(basis))));
        var (u, s, vh) = torch.linalg.svd(basis.t().mm(weight), fullMatrices: false);
        return (basis.mm(u), s, vh);
    }

    private static Tensor Basis(Tensor columns) => torch.linalg.qr(columns).Q;
}
