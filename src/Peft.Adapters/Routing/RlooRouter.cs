using System.Text.Json.Nodes;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RlooRouter"/>.</summary>
public sealed record RlooRouterOptions : RouterOptions
{
    /// <summary>Weight 2 / (k r) of each drawn expert.</summary>
    public const string LoraWeight = "lora";

    /// <summary>Weight 2 / sqrt(k r).</summary>
    public const string RsloraWeight = "rslora";

    /// <summary>A draw for every token.</summary>
    public const string Token = "token";

    /// <summary>One draw for a whole sequence, from the mean of its prompt.</summary>
    public const string Sequence = "sequence";

    /// <inheritdoc/>
    public override string Kind => "rloo";

    /// <summary>Experts drawn.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    public int TopK { get; init; } = 2;

    /// <summary>Selections M an example, each a forward and backward pass.</summary>
    /// <value>Default 4; from 2, since each is judged against the others. A step costs M times a plain one.</value>
    public int Selections { get; init; } = 4;

    /// <summary>Which constant weight ω the drawn experts get; it replaces alpha / r.</summary>
    /// <value>Default rslora, 2 / sqrt(k r); lora, 2 / (k r).</value>
    public string Weight { get; init; } = RsloraWeight;

    /// <summary>What one draw is for.</summary>
    /// <value>Default token; token or sequence. The paper's text allows both.</value>
    public string Granularity { get; init; } = Token;

    /// <summary>Deviation of the router's first values.</summary>
    /// <value>Default 0.02, so that the policy begins almost uniform; above 0.</value>
    public double InitStd { get; init; } = 0.02;

    /// <summary>Reads the section.</summary>
    public static RlooRouterOptions Read(OptionReader reader, RouterSize size)
    {
        ArgumentNullException.ThrowIfNull(reader);
        ArgumentNullException.ThrowIfNull(size);
        return new RlooRouterOptions
        {
            TopK = reader.Integer("top_k", Math.Min(2, size.Experts), 1, size.Experts),
            Selections = reader.Integer("selections", 4, 2, 1024),
            Weight = reader.Choice("weight", RsloraWeight, [LoraWeight, RsloraWeight]),
            Granularity = reader.Choice("granularity", Token, [Token, Sequence]),
            InitStd = reader.Number("init_std", 0.02, 1e-9),
            Balance = BalanceOptions.Read(reader),
        };
    }

    /// <inheritdoc/>
    public override void WriteTo(JsonObject json)
    {
        ArgumentNullException.ThrowIfNull(json);
        json["top_k"] = TopK;
        json["selections"] = Selections;
        json["weight"] = Weight;
        json["granularity"] = Granularity;
        json["init_std"] = InitStd;
    }

    /// <inheritdoc/>
    /// <remarks>Source: ReMix, arXiv:2603.10160, eq. 4-6.</remarks>
    public override double? ScaleOf(int rank) => Weight == LoraWeight ? 2.0 / (TopK * rank) : 2.0 / Math.Sqrt(TopK * rank);

    /// <inheritdoc/>
    public override int Passes => Selections;
}

/// <summary>A decision whose experts were drawn.</summary>
/// <remarks>
/// Shapes: U draws, one a token (U = N) or one a sequence (U = B). Order [U, K] int64, the experts as they were drawn;
/// LogProbability [U]; Score [B, E, D], the gradient of each sequence's summed log-probability by the router's matrix.
/// Gradient: none; Score is the gradient.
/// </remarks>
public sealed record DrawnDecision(
    Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits, Tensor Order, Tensor LogProbability, Tensor Score)
    : RoutingDecision(Gates, Selected, Probabilities, Logits)
{
    /// <inheritdoc/>
    public override IEnumerable<Tensor> Tensors => [.. base.Tensors, Order, LogProbability, Score];
}

/// <summary>Draws k experts without replacement in training and gives them one constant weight; inference takes the k most probable.</summary>
/// <remarks>
/// Source: ReMix, arXiv:2603.10160, eq. 4-6; the draw is Gumbel top-k, which has the law of successive draws.
/// Shapes: x [B, T, D] → gates [N, E] of 0 and 1; the constant weight ω is the projection's scale.
/// Gradient: none through the gates. <see cref="RlooEstimator"/> gives the router its gradient; x gets none from the router.
/// </remarks>
public sealed class RlooRouter : Router
{
    private readonly RlooRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public RlooRouter(RlooRouterOptions options, RouterContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _weight = NewGate();
        using var off = torch.no_grad();
        using var random = Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.weight");
        Seeded.normal_(_weight, 0, options.InitStd, random);
    }

    /// <summary>The matrix that scores the experts.</summary>
    /// <remarks>Shapes: [E, D].</remarks>
    public Parameter Weight => _weight;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(pass);
        using var off = torch.no_grad();
        var isSequence = _options.Granularity == RlooRouterOptions.Sequence;
        var (batch, length) = x.ndim == 3 ? (x.shape[0], x.shape[1]) : (1, x.shape[0]);
        var inputs = isSequence ? PromptMean.Of(x, pass, Context.Path) : x.reshape(-1, Context.Width).to(torch.float32);   // [U, D]
        var logits = Score(inputs, _weight);
        var probabilities = logits.softmax(-1);
        var order = pass.IsTraining ? Draw(logits, pass) : Selection.TopIndices(probabilities, _options.TopK);
        var chosen = torch.zeros_like(probabilities).scatter(-1, order, torch.ones(order.shape, torch.float32, x.device));
        Tensor Each(Tensor perDraw) => isSequence ? perDraw.repeat_interleave(length, 0) : perDraw;
        var gates = Each(chosen);
        if (pass.IsInference)
            return new RoutingDecision(gates, gates.gt(0.5), Each(probabilities), Each(logits));
        var (log, byLogits) = OrderedDraw.LogProbability(logits, order);                       // [U], [U, E]
        if (!isSequence && pass.TokenMask is { } mask)
            (log, byLogits) = (log * mask.reshape(-1).to(torch.float32), byLogits * mask.reshape(-1, 1).to(torch.float32));
        var draws = isSequence ? 1 : length;
        var score = byLogits.reshape(batch, draws, -1).transpose(1, 2).bmm(inputs.reshape(batch, draws, -1));                // [B, E, D]
        return new DrawnDecision(gates, gates.gt(0.5), Each(probabilities), Each(logits), order, log, score);
    }

    private Tensor Draw(Tensor logits, ForwardPass pass)
    {
        var random = pass.Random ?? throw new InvalidOperationException(
            $"{Context.Path}: router rloo draws experts, and the training pass has no random numbers; give it a generator");
        var uniform = torch.rand(logits.shape, torch.float32, logits.device, generator: random).clamp(min: 1e-20);
        var gumbel = uniform.log().neg().clamp(min: 1e-20).log().neg();
        return Selection.TopIndices(logits + gumbel, _options.TopK);
    }
}
