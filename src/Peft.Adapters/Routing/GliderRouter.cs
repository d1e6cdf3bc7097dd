using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="GliderRouter"/>.</summary>
public sealed record GliderRouterOptions : PrototypeRouterOptions
{
    /// <summary>Each prompt is embedded by the base.</summary>
    public const string Prompt = "prompt";

    /// <summary>One vector stands for all prompts.</summary>
    public const string Given = "given";

    /// <summary>Weight of the global score, how near the prompt is to what an expert's task was described as.</summary>
    /// <value>Default 3, the authors' for tasks that no expert was trained on; from 0. They take 100 for tasks that one
    /// was.</value>
    [Key(Min = 0)]
    public double Alpha { get; init; } = 3;

    /// <summary>What experts' descriptions are compared with.</summary>
    /// <value>Default prompt: the mean of what the base makes of the prompt's tokens (the paper's text compares each
    /// query). given: a vector of the bundle's (the code compares each evaluation task).</value>
    [Key(Choices = [Prompt, Given])]
    public string Query { get; init; } = Prompt;

    /// <summary>Length of the vectors of descriptions.</summary>
    /// <value>Default 0: the base's, which embeds them. With query: given any.</value>
    [Key(Min = 0, Max = 1_000_000)]
    public int EmbeddingSize { get; init; }

    /// <inheritdoc/>
    public override PreliminaryPass Preliminary => Query == Prompt ? PreliminaryPass.Prompt : PreliminaryPass.None;

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (EmbeddingSize > 0 && Query == Prompt)
            reader.Fault(
                "embedding_size", $"{EmbeddingSize} with query: prompt", "0 beside it",
                "the base embeds prompts and descriptions alike");
    }
}

/// <summary>Sends each token to the experts whose trained gate it resembles and whose task is described as the prompt
/// reads. Merging fills gates and descriptions.</summary>
/// <remarks>
/// Source: GLIDER, arXiv:2410.07172; UNITES-Lab/glider, molora/layers.py: <c>s_e = LN(u) · LN(v_e) / √D + α
/// cos(E_e, q)</c>, the same second part in every projection and for every token; softmax over all experts, the best k
/// divided by their sum + 1e-6. There a large model writes the descriptions from examples, a sentence model embeds
/// them and the evaluation task's, and a slice loses the last number; here the base embeds what a user writes and
/// each prompt, and all numbers count.
/// Shapes: x [B, T, D] → gates [N, E] with at most K above zero in every row; <c>embeddings</c> [E, M] and, with
/// query: given, <c>query</c> [M] are buffers.
/// Gradient: as <see cref="PrototypeRouter"/>; none reaches descriptions and prompts.
/// </remarks>
public sealed class GliderRouter : PrototypeRouter
{
    /// <summary>Name of the buffer of the experts' descriptions.</summary>
    public const string EmbeddingsName = "embeddings";

    /// <summary>Name of the buffer of the one query, where it is given.</summary>
    public const string QueryName = "query";

    private readonly GliderRouterOptions _options;
    private readonly Tensor _embeddings;
    private readonly Tensor? _query;

    /// <summary>Makes the router of one projection; before merging, descriptions are zeros, which are near
    /// nothing.</summary>
    public GliderRouter(GliderRouterOptions options, RouterContext context)
        : base(options, context)
    {
        _options = options;
        var size = options.EmbeddingSize > 0 ? options.EmbeddingSize
            : context.HiddenSize > 0 ? context.HiddenSize : context.Width;
        _embeddings = NewBuffer(EmbeddingsName, torch.zeros([context.Experts, size], torch.float32));
        if (options.Query == GliderRouterOptions.Given)
            _query = NewBuffer(QueryName, torch.zeros([size], torch.float32));
    }

    /// <inheritdoc/>
    protected override RouterScore Comparison => RouterScore.Standardized;

    /// <inheritdoc/>
    protected override Tensor Compared => StandardizedRouter.Standardized(Vectors) / Math.Sqrt(Context.Width);

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var near = Near(x, pass);                                                              // [B, E]
        var rows = x.numel() / Context.Width;
        var (gates, selected, probabilities, logits) = Fused.topk_softmax(
            x, Compared,
            new(_options.TopK, Normalize: true, Comparison, _options.Temperature, StandardizedRouter.SumEpsilon),
            Present, near.repeat_interleave(rows / near.shape[0], 0) * _options.Alpha);
        return new RoutingDecision(gates, selected, probabilities, logits);
    }

    // Cosines of the query and the descriptions, once a pass.
    private Tensor Near(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var query = torch.nn.functional.normalize(QueryOf(x, pass), dim: -1);                  // [B, M]
        return query.mm(torch.nn.functional.normalize(_embeddings, dim: -1).t()).MoveToOuterDisposeScope();
    }

    private Tensor QueryOf(Tensor x, ForwardPass pass)
    {
        const string Setting = "adapter.router.query: prompt";
        if (_query is not null)
            return _query.unsqueeze(0);
        if (Context.HiddenSize == 0)
            return PromptMean.Over(x.ndim == 2 ? x.unsqueeze(0) : x, pass, Context.Path, Setting, "query: given");
        // With a cache the mean is kept there; else all projections share it through the pass.
        if (pass.Cache is { } cache)
            return cache.Once("glider.query", Mean);
        if (pass.Records<PromptQuery>() is [.., var made])
            return made.Query;
        var query = Mean();
        pass.Emit(new PromptQuery(query));
        return query;

        Tensor Mean() => PromptMean.Over(Preliminary(x, pass), pass, Context.Path, Setting, "query: given");
    }

    private sealed record PromptQuery(Tensor Query) : IPassRecord
    {
        public IEnumerable<Tensor> Tensors => [Query];
    }
}
