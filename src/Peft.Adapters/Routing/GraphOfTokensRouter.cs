using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="GraphOfTokensRouter"/>.</summary>
public sealed record GraphOfTokensRouterOptions : ChoosingRouterOptions
{
    /// <summary>Similarity by a learned matrix that begins as the identity.</summary>
    public const string Learned = "learned";

    /// <summary>Similarity by the product of the tokens.</summary>
    public const string Fixed = "fixed";

    /// <summary>Similarity by the attention of the block, averaged over its heads.</summary>
    public const string Attention = "attention";

    /// <summary>Distributions are averaged.</summary>
    public const string OfProbabilities = "probabilities";

    /// <summary>Scores are averaged, before the softmax.</summary>
    public const string OfLogits = "logits";

    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2 (the paper's); from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public override int TopK { get; init; } = 2;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default true.</value>
    [Key]
    public override bool Normalize { get; init; } = true;

    /// <summary>What makes tokens similar.</summary>
    /// <value>Default learned, a [D, D] matrix a router that begins as the identity; fixed: the identity itself;
    /// attention: what the block's attention gave, for the projections behind it.</value>
    [Key(Choices = [Learned, Fixed, Attention])]
    public string Similarity { get; init; } = Learned;

    /// <summary>What is averaged over similar tokens.</summary>
    /// <value>Default probabilities; probabilities or logits.</value>
    [Key(Choices = [OfProbabilities, OfLogits])]
    public string Average { get; init; } = OfProbabilities;

    /// <summary>Whether the projections of an attention block share one router.</summary>
    /// <value>Default projection, a router each; attention-block: the first adapted projection of a block decides for
    /// all.</value>
    [Key(Choices = [HardSoftRouterOptions.PerProjection, HardSoftRouterOptions.PerAttentionBlock])]
    public string Granularity { get; init; } = HardSoftRouterOptions.PerProjection;

    /// <inheritdoc/>
    public override bool NeedsAttention => Similarity == Attention;

    /// <inheritdoc/>
    public override bool SharesInBlock => Granularity == HardSoftRouterOptions.PerAttentionBlock;
}

/// <summary>Sends each token to the K best experts of itself and the tokens before it that resemble it.</summary>
/// <remarks>
/// Source: Graph of Tokens, arXiv:2505.00792, whose equations were not to be had; this form is our reading: <c>p =
/// softmax(R x)</c>, <c>S = softmax(X W Xᵀ / √D)</c> over a token and those before it in its sequence, and the K best
/// of <c>S p</c>. With <c>average: logits</c> they are those of <c>softmax(S z)</c>. With <c>similarity: attention</c>
/// S is the attention of the block that the projection is in, averaged over its heads.
/// Decoding keeps x and p of earlier tokens in the cache, so what is written is routed as the whole text is.
/// Shapes: x [B, T, D], or [T, D] of one sequence → gates [N, E] with K of them above zero in every row.
/// Units: gates are probabilities.
/// Gradient: through the kept probabilities into R, W and x, or the attention's queries and keys; the choice carries
/// none.
/// </remarks>
public sealed class GraphOfTokensRouter : ChoosingRouter
{
    private const double Tiny = 1e-20;

    private readonly GraphOfTokensRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Parameter? _similarity;

    /// <summary>Makes the router of one projection.</summary>
    public GraphOfTokensRouter(GraphOfTokensRouterOptions options, RouterContext context)
        : base(options, context)
    {
        _options = options;
        _weight = NewGate();
        if (options.Similarity != GraphOfTokensRouterOptions.Learned)
            return;
        // Wᵀ: [out, in], as linear layers are held.
        _similarity = Take("similarity", [context.Width, context.Width], matrix => matrix.diagonal().fill_(1));
        register_parameter("similarity", _similarity);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var rows = (x.ndim == 3 ? x : x.unsqueeze(0)).to(torch.float32);                       // [B, T, D]
        var logits = Noisy(x, Score(x, _weight, LogitOffset), pass);
        if (_options.Average == GraphOfTokensRouterOptions.OfLogits)
        {
            var mixed = Averaged(rows, logits, pass);
            var distribution = mixed.softmax(-1);
            return Choose(x, mixed, distribution, distribution, pass);
        }

        var averaged = Averaged(rows, logits.softmax(-1), pass);
        return Choose(x, averaged.clamp(min: Tiny).log(), averaged, averaged, pass);
    }

    /// <inheritdoc/>
    /// <remarks>Its input in float32 and, where there is a matrix, the queries.</remarks>
    public override long KeptBytes(int width) => sizeof(float) * Context.Width
        * ((_options.NeedsAttention || width == sizeof(float) ? 0 : 1) + (_similarity is null ? 0 : 1));

    private Tensor Averaged(Tensor x, Tensor own, ForwardPass pass)
    {
        var values = own.reshape(x.shape[0], x.shape[1], -1);                                  // [B, T, E]
        if (pass.Cache is { } cache)
            values = cache.Extended($"{Context.Path}.{_options.Average}", values);
        var averaged = (_options.NeedsAttention ? Map(pass).Average(values) : BySimilarity(x, values, pass))
            .reshape(own.shape);
        if (pass.KeyMask is null && pass.Segments is null)
            return averaged;
        // A token of padding may see none, not even itself.
        var isAlone = averaged.detach().abs().sum(-1, keepdim: true).eq(0);
        return torch.where(isAlone, own, averaged);
    }

    private AttentionMap Map(ForwardPass pass)
    {
        var layer = ModulePattern.LayerOf(Context.Path);
        return pass.Records<AttentionMap>().LastOrDefault(map => map.Layer == layer)
            ?? throw new InvalidOperationException($"{Context.Path}: no attention of layer {layer} in this pass");
    }

    // An attention of one head, whose queries are x W, whose keys are x and whose values are what is averaged.
    private Tensor BySimilarity(Tensor x, Tensor values, ForwardPass pass)
    {
        var keys = pass.Cache is { } cache ? cache.Extended($"{Context.Path}.tokens", x) : x;
        var queries = _similarity is null ? x : Fused.linear(x, _similarity);
        var mask = pass.KeyMask is { } seen
            ? torch.zeros(seen.shape, x.dtype, x.device).masked_fill(seen.logical_not(), double.NegativeInfinity)
                .reshape(seen.shape[0], 1, 1, seen.shape[1])
            : null;
        return Fused.causal_attention(
            queries.unsqueeze(1), keys.unsqueeze(1), values.unsqueeze(1), mask, 1 / Math.Sqrt(Context.Width),
            segments: pass.Segments is { } segments ? segments.Borders : default);
    }
}
