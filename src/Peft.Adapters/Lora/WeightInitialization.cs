using System.Globalization;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Lora;

/// <summary>What an adapter begins with where that is a part of the base's weight: the base computes with the rest, so
/// that nothing is changed at first.</summary>
/// <remarks>Shapes: Down [C, D], Up [O, C] float32, all experts stacked. The frozen weight becomes <c>W − scale · Up
/// Down</c>.</remarks>
/// <param name="Down">A as it began.</param>
/// <param name="Up">B as it began, times the share of it that is taken out.</param>
public sealed record TakenOut(Tensor Down, Tensor Up)
{
    internal const string DownName = "lora_first_A";
    internal const string UpName = "lora_first_B";

    /// <summary>Whether a tensor of this name is one of the two.</summary>
    internal static bool IsName(string name) => name[(name.LastIndexOf('.') + 1)..] is DownName or UpName;

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

/// <summary>Settings of <see cref="WeightInitialization.Goat"/> (recipe key <c>adapter.goat</c>).</summary>
public sealed record GoatOptions
{
    /// <summary>The scale of the paper's theory: √(3 η n / r) with n inputs.</summary>
    public const string Theory = "theory";

    /// <summary>The scale of every LoRA.</summary>
    public const string Alpha = "alpha";

    private const string Head = "head";
    private const string Tail = "tail";

    /// <summary>What the experts' output is multiplied by.</summary>
    /// <value>Default theory, the paper's; alpha: by lora_alpha and use_rslora, as the code's released name
    /// does.</value>
    [Key(Choices = [Theory, Alpha])]
    public string Scaling { get; init; } = Theory;

    /// <summary>η of the theory's scale: the learning rate by that of training all weights.</summary>
    /// <value>Default 1; above 0.</value>
    [Key(Above = 0, When = "scaling=theory")]
    public double Eta { get; init; } = 1;

    /// <summary>ρ: the experts begin as their part of the weight over ρ.</summary>
    /// <value>Default 10; above 0.</value>
    [Key(Above = 0)]
    public double Rho { get; init; } = 10;

    /// <summary>Which singular triplets of its segment an expert takes.</summary>
    /// <value>Default head, the largest; tail, the code's mini.</value>
    [Key(Choices = [Head, Tail])]
    public string Triplets { get; init; } = Head;

    /// <summary>How much of what the experts begin with is taken out of the weight.</summary>
    /// <value>Default one by the number of experts, so that all experts with equal weights are the base; from 0 to
    /// 1.</value>
    [Key(Min = 0, Max = 1)]
    public double? InitCof { get; init; }

    /// <summary>Whether the theory sets the scale.</summary>
    public bool SetsScale => Scaling == Theory;

    /// <summary>Whether the last triplets of a segment are meant.</summary>
    internal bool TakesLast => Triplets == Tail;

    /// <summary>The scale for a rank and a number of inputs.</summary>
    internal double ScaleOf(int rank, long inputs) => Math.Sqrt(3 * Eta * inputs / rank);
}

/// <summary>First values of A and B that are parts of the base's weight (<c>init_lora_weights</c>).</summary>
/// <remarks>
/// Source: huggingface/peft 5d602fd, <c>pissa_init</c> and <c>olora_init</c>, in float32.
/// PiSSA, arXiv:2404.02948, eq. 2 and 3: the r largest singular triplets, A = diag(√(S / s)) Vᵀ and
/// B = U diag(√(S / s)), s the scale. With <c>pissa_niter_N</c> they come from a random projection and N power
/// iterations (Halko et al., arXiv:0909.4061, algorithm 4.4), which is much faster for wide layers.
/// OLoRA, arXiv:2406.01775: W = Q R, A the first r rows of R, B the first r columns of Q.
/// GOAT, arXiv:2502.16894; Facico/GOAT-PEFT, peta/src/goat/layer.py: each of E experts has r singular triplets at the
/// head of its own E-th of them, A = diag(√(S / (s ρ))) Vᵀ and B = U diag(√(S / (s ρ))).
/// </remarks>
public static class WeightInitialization
{
    /// <summary>The largest singular triplets.</summary>
    public const string Pissa = "pissa";

    /// <summary>The first columns of a QR decomposition.</summary>
    public const string Olora = "olora";

    /// <summary>A segment of the singular triplets for each expert.</summary>
    public const string Goat = "goat";

    private const string Iterations = "pissa_niter_";
    private const int MostIterations = 100;

    /// <summary>Whether an initialisation is one of these.</summary>
    public static bool ChangesBase(string kind) => kind is Pissa or Olora or Goat || IterationsOf(kind) is not null;

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

    /// <summary>The first values of the experts of one projection, stacked; nothing of them is scaled down.</summary>
    /// <remarks>Shapes: → [E·R, D] and [O, E·R].</remarks>
    /// <param name="path">The projection's path.</param>
    /// <param name="weight">Its weight, [O, D].</param>
    /// <param name="experts">Experts E.</param>
    /// <param name="rank">Rank R of each.</param>
    /// <param name="scale">Factor on B A.</param>
    /// <param name="options">ρ, and which triplets.</param>
    /// <exception cref="UserException">A segment has no so many triplets.</exception>
    public static TakenOut OfSegments(
        string path, Tensor weight, int experts, int rank, double scale, GoatOptions options)
    {
        var segment = Math.Min(weight.shape[0], weight.shape[1]) / experts;
        if (rank > segment)
            throw UserException.At(
                path, $"rank {rank} with init_lora_weights: {Goat}",
                $"at most {segment}, the shorter side of its weight by {experts} experts",
                "lower adapter.r or adapter.experts.count, or set adapter.rank_pattern");
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (u, s, vh) = Exact(weight.detach().to(torch.CPU).to(torch.float32));
        long[] taken = [.. from expert in Enumerable.Range(0, experts)
            from place in Enumerable.Range(0, rank)
            select (expert * segment) + (options.TakesLast ? segment - rank : 0) + place];
        var places = torch.tensor(taken);
        var roots = (s.index_select(0, places) / (scale * options.Rho)).sqrt();
        return new(
            (vh.index_select(0, places) * roots.unsqueeze(1)).MoveToOuterDisposeScope(),
            (u.index_select(1, places) * roots).contiguous().MoveToOuterDisposeScope());
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

/// <summary>First values of A and of cores; B begins at zero, so a fresh adapter changes nothing.</summary>
public static class LoraInitialization
{
    /// <summary>The core of every expert, each from its own stream.</summary>
    /// <remarks>Source: DCDmllm/CoMoL, mocorelora/layer.py: Kaiming uniform with a = sqrt 5, which is U(−1/√R, 1/√R).
    /// Shapes: → [E, R, R] float32 on the CPU.</remarks>
    public static Tensor Cores(string path, int experts, int r, long seed)
    {
        using var off = torch.no_grad();
        var cores = torch.zeros([experts, r, r], torch.float32);
        using var scope = torch.NewDisposeScope();
        for (var expert = 0; expert < experts; expert++)
        {
            using var random = Seeds.GeneratorFor(
                seed, string.Create(CultureInfo.InvariantCulture, $"{path}.lora_core.expert_{expert}"));
            Seeded.kaiming_uniform_(cores[expert], Math.Sqrt(5), random);
        }

        return cores;
    }

    /// <summary>A of every expert, stacked; each expert draws from its own stream, named by module and
    /// expert.</summary>
    /// <remarks>
    /// Source: huggingface/peft 5d602fd, <c>reset_lora_parameters</c>: Kaiming uniform with a = sqrt 5, which is
    /// U(−1/√D, 1/√D); gaussian: N(0, (1/r)²). One stream an expert: adding a module or an expert never changes
    /// another's first values. Where a row falls into blocks that are drawn each by itself (MHR), a block's width
    /// stands for D.
    /// Shapes: → [E·R, D] float32 on the CPU; expert e has rows e·R to e·R + R − 1.
    /// </remarks>
    public static Tensor Down(
        string path, int experts, int r, long width, string kind, long seed, long? block = null)
    {
        using var off = torch.no_grad();
        var stacked = torch.zeros([(long)experts * r, width], torch.float32);
        using var scope = torch.NewDisposeScope();
        for (var expert = 0; expert < experts; expert++)
        {
            var name = string.Create(CultureInfo.InvariantCulture, $"{path}.lora_A.expert_{expert}");
            using var random = Seeds.GeneratorFor(seed, name);
            var rows = stacked.narrow(0, (long)expert * r, r);
            if (kind == "gaussian")
                Seeded.normal_(rows, 0, 1.0 / r, random);
            else
                Seeded.kaiming_uniform_(rows, Math.Sqrt(5), random);
        }
        if (kind != "gaussian" && block is { } inputs && inputs != width)
            stacked.mul_(Math.Sqrt((double)width / inputs));
        return stacked;
    }
}
