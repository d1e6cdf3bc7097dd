using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="BlockFfnRouter"/>; the defaults are the reference's.</summary>
public sealed record BlockFfnRouterOptions : ExpertRouterOptions
{
    /// <summary>Added to the mean square inside the norm.</summary>
    /// <value>Default 1e-5 (1e-6 in the reference's exported models); above 0.</value>
    [Key(Above = 0, Max = 0.1)]
    public double Eps { get; init; } = 1e-5;

    /// <summary>Deviation of the router's first values.</summary>
    /// <value>Default 0.01; above 0.</value>
    [Key(Above = 0)]
    public double InitStd { get; init; } = 0.01;

    /// <summary>Weight of <see cref="ActivationLocality"/>.</summary>
    /// <value>Default 0.001 (0.001 to 0.002 in the reference); from 0.</value>
    [Key(Min = 0)]
    public double LocalityCoefficient { get; init; } = 0.001;

    /// <summary>Whether the token that follows hands no gradient on.</summary>
    /// <value>Default false: the reference stops none.</value>
    [Key]
    public bool DetachTarget { get; init; }

    /// <summary>Weight of <see cref="ChunkSparsity"/>.</summary>
    /// <value>Default 0.05, constant (the reference begins there and adapts it); from 0.</value>
    [Key(Min = 0)]
    public double SparsityCoefficient { get; init; } = 0.05;

    /// <summary>Tokens of a chunk.</summary>
    /// <value>Default 64; from 1.</value>
    [Key(Min = 1, Max = 1 << 20)]
    public int ChunkSize { get; init; } = 64;

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective()
    {
        var first = new BlockFfnRouterOptions();
        return
        [
            .. base.Ineffective(),
            .. IneffectiveKey.If(
                LocalityCoefficient == 0, "detach_target", DetachTarget, first.DetachTarget, "locality_coefficient: 0"),
            .. IneffectiveKey.If(
                SparsityCoefficient == 0, "chunk_size", ChunkSize, first.ChunkSize, "sparsity_coefficient: 0"),
        ];
    }

    /// <inheritdoc/>
    public override IReadOnlyList<AuxiliaryTerm> OwnLosses()
    {
        var terms = new List<AuxiliaryTerm>();
        if (LocalityCoefficient > 0)
            terms.Add(new("locality", LocalityCoefficient, (records, tokens) => ModuleMean.Of(
                records, alike => ActivationLocality.Of(
                    ModuleMean.Beside(alike, record => record.Decision.Logits!), Of(alike[0]).Neighbors, DetachTarget,
                    tokens.Share) * alike.Count)));
        if (SparsityCoefficient > 0)
            terms.Add(new("chunk_sparsity", SparsityCoefficient, (records, tokens) => ModuleMean.Of(
                records, alike => ChunkSparsity.Of(
                    ChunkSparsity.Shares(ModuleMean.Beside(alike, record => record.Decision.Gates), alike.Count),
                    tokens, Of(alike[0]).Neighbors.Length, ChunkSize) * alike.Count)));
        return terms;
    }

    private static ThresholdDecision Of(RoutingRecord record) => (ThresholdDecision)record.Decision;
}

/// <summary>A decision that knows which tokens follow each other.</summary>
public sealed record ThresholdDecision(
    Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits, TokenNeighbors Neighbors)
    : RoutingDecision(Gates, Selected, Probabilities, Logits);

/// <summary>Which tokens of a pass follow another of their sequence; one for all routers of the pass.</summary>
/// <param name="Follows">[B, T − 1] bool: whether token t + 1 is real and follows real token t.</param>
/// <param name="Length">T.</param>
public sealed record TokenNeighbors(Tensor Follows, long Length) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Follows];

    /// <summary>Those of a pass, made by the first who asks.</summary>
    /// <remarks>Shapes: x [B, T, D], or [T, D] of one sequence.</remarks>
    public static TokenNeighbors Of(Tensor x, ForwardPass pass)
    {
        var (rows, length) = x.ndim == 3 ? (x.shape[0], x.shape[1]) : (1, x.shape[0]);
        if (pass.Records<TokenNeighbors>().LastOrDefault(known => known.Length == length) is { } found)
            return found;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var follows = torch.ones([rows, length - 1], torch.@bool, x.device);
        if (pass.TokenMask is { } mask)
            follows = follows.logical_and(mask.narrow(1, 0, length - 1)).logical_and(mask.narrow(1, 1, length - 1));
        if (pass.Segments is { } segments)
        {
            var ids = segments.SequenceIds(x.device);
            follows = follows.logical_and(ids.narrow(1, 0, length - 1).eq(ids.narrow(1, 1, length - 1)));
        }

        var neighbors = new TokenNeighbors(follows.MoveToOuterDisposeScope(), length);
        pass.Emit(neighbors);
        return neighbors;
    }
}

/// <summary>Every expert whose score is above zero works, with the score as its weight after a norm over the
/// experts.</summary>
/// <remarks>
/// Source: BlockFFN, arXiv:2507.08771; thunlp/BlockFFN moe_gates.py: <c>a = ReLU(R x)</c>, <c>g = w ∘ a / √(mean(a²) +
/// eps)</c> over the experts, w learned from 1; an expert at zero does nothing. A token may use none. There the experts
/// are small feed-forward layers of the base; here they are LoRA.
/// Shapes: x [N, D] → gates [N, E]; Probabilities are a over its sum, zero where no expert works.
/// Units: root mean square of a row of gates is 1 while w is.
/// Gradient: through the gates.
/// </remarks>
public sealed class BlockFfnRouter : Router
{
    private readonly BlockFfnRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Parameter _norm;

    /// <summary>Makes the router of one projection.</summary>
    public BlockFfnRouter(BlockFfnRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
        _norm = Take("norm", [context.Experts], norm => norm.fill_(1));
        register_parameter("norm", _norm);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        var (gates, shares) = Gates(logits, _norm, _options.Eps);
        return new ThresholdDecision(gates, logits.detach().gt(0), shares, logits, TokenNeighbors.Of(x, pass));
    }

    /// <summary>Gates and each expert's share of the open scores.</summary>
    /// <remarks>Shapes: logits [N, E], norm [E] → [N, E] each. Gradient: through both.</remarks>
    public static (Tensor Gates, Tensor Shares) Gates(Tensor logits, Tensor norm, double eps)
    {
        var open = logits.relu();
        return (Fused.rms_norm(open, norm, eps), open / open.sum(-1, keepdim: true).clamp(min: 1e-20));
    }
}

/// <summary>How unlike the experts of neighbouring tokens are.</summary>
/// <remarks>
/// Source: BlockFFN, arXiv:2507.08771: binary cross entropy of <c>100 z_t</c> against <c>σ(100 z_{t+1})</c>, z the
/// scores before ReLU, mean over pairs of neighbours and experts. Gradient: through both, or through z_t alone.
/// </remarks>
public static class ActivationLocality
{
    private const double Sharpness = 100;

    /// <summary>The loss of some columns.</summary>
    /// <remarks>Shapes: logits [B·T, C] → scalar.</remarks>
    /// <param name="logits">The scores before ReLU.</param>
    /// <param name="neighbors">Which tokens follow each other.</param>
    /// <param name="detachesTarget">Whether the token that follows hands no gradient on.</param>
    /// <param name="share">Which part of the batch they are; null: all of it.</param>
    public static Tensor Of(
        Tensor logits, TokenNeighbors neighbors, bool detachesTarget, BatchShare? share = null)
    {
        var follows = neighbors.Follows.to(torch.float32);                                     // [B, T − 1]
        var sharp = (logits * Sharpness).reshape(follows.shape[0], neighbors.Length, -1);      // [B, T, C]
        var (first, second) = (sharp.narrow(1, 0, neighbors.Length - 1), sharp.narrow(1, 1, neighbors.Length - 1));
        var target = (detachesTarget ? second.detach() : second).sigmoid();
        var entropy = torch.nn.functional.softplus(first).addcmul(first, target, -1).sum(-1);  // [B, T − 1]
        return OfAll((entropy * follows).sum()) / (OfAll(follows.sum()).clamp(min: 1) * logits.shape[1]);

        Tensor OfAll(Tensor sum) => share?.Sum(sum) ?? sum;
    }
}

/// <summary>How many experts the tokens of a chunk use together.</summary>
/// <remarks>
/// Source: BlockFFN, arXiv:2507.08771: with <c>a = g / (Σ g + 1e-5)</c> the share of each expert of a token, <c>1 −
/// exp(Σ ln(1 − a + 1e-5))</c> over the tokens of a chunk, mean over chunks and experts. Chunks begin at the row's
/// start; the last may be shorter, and padding is in none. A gate below zero, which a norm weight that training took
/// there makes, counts by its size: shares beyond 0 and 1 have no logarithm. Gradient: through the gates.
/// </remarks>
public static class ChunkSparsity
{
    private const double Tiny = 1e-5;

    /// <summary>Each expert's share of a token's gates.</summary>
    /// <remarks>Shapes: [N, M·E] of M modules side by side → the same.</remarks>
    public static Tensor Shares(Tensor gates, int modules = 1)
    {
        var sizes = gates.abs().reshape(gates.shape[0], modules, -1);                          // [N, M, E]
        return (sizes / (sizes.sum(-1, keepdim: true) + Tiny)).reshape(gates.shape);
    }

    /// <summary>The loss of some columns.</summary>
    /// <remarks>Shapes: shares [B·T, C], tokens.Mask [B·T] bool or null → scalar.</remarks>
    public static Tensor Of(Tensor shares, RoutedTokens? tokens, long length, int chunk)
    {
        var mask = tokens?.Mask;
        var rows = shares.shape[0] / length;
        var fill = (chunk - (length % chunk)) % chunk;
        var idle = (1 - shares).add_(Tiny).log().reshape(rows, length, -1);                        // [B, T, C]
        var real = (mask?.to(torch.float32) ?? torch.ones([rows * length], torch.float32, shares.device))
            .reshape(rows, length, 1);
        var sums = Chunks(mask is null ? idle : idle * real).sum(2L);                          // [B, chunks, C]
        var counted = Chunks(real).amax([2L]);                                                 // [B, chunks, 1]
        return OfAll(((1 - sums.exp()) * counted).sum())
            / (OfAll(counted.sum()).clamp(min: 1) * shares.shape[1]);

        Tensor OfAll(Tensor sum) => tokens?.Share?.Sum(sum) ?? sum;

        Tensor Chunks(Tensor tokens) => (fill == 0 ? tokens : torch.nn.functional.pad(tokens, [0, 0, 0, fill]))
            .reshape(rows, -1, chunk, tokens.shape[^1]);
    }
}
