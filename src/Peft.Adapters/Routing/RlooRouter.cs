using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RlooRouter"/>.</summary>
public sealed record RlooRouterOptions : ExpertRouterOptions
{
    /// <summary>Weight 2 / (k r) of each drawn expert.</summary>
    public const string LoraWeight = "lora";

    /// <summary>Weight 2 / sqrt(k r).</summary>
    public const string RsloraWeight = "rslora";

    /// <summary>A draw for every token.</summary>
    public const string Token = "token";

    /// <summary>One draw for a whole sequence, from the mean of its prompt.</summary>
    public const string Sequence = "sequence";

    /// <summary>Experts drawn.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 2;

    /// <summary>Selections M an example, each a forward and backward pass.</summary>
    /// <value>Default 4; from 2, since each is judged against the others. A step costs M times a plain one.</value>
    [Key(Min = 2, Max = 1024)]
    public int Selections { get; init; } = 4;

    /// <summary>Which constant weight ω the drawn experts get; it replaces alpha / r.</summary>
    /// <value>Default rslora, 2 / sqrt(k r); lora, 2 / (k r).</value>
    [Key(Choices = [LoraWeight, RsloraWeight])]
    public string Weight { get; init; } = RsloraWeight;

    /// <summary>What one draw is for.</summary>
    /// <value>Default token; token or sequence. The paper's text allows both.</value>
    [Key(Choices = [Token, Sequence])]
    public string Granularity { get; init; } = Token;

    /// <summary>Deviation of the router's first values.</summary>
    /// <value>Default 0.02, so that the policy begins almost uniform; above 0.</value>
    [Key(Min = 1e-9)]
    public double InitStd { get; init; } = 0.02;

    /// <inheritdoc/>
    /// <remarks>Source: ReMix, arXiv:2603.10160, eq. 4-6.</remarks>
    public override double? ScaleOf(int rank) =>
        Weight == LoraWeight ? 2.0 / (TopK * rank) : 2.0 / Math.Sqrt(TopK * rank);

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
    Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits, Tensor Order, Tensor LogProbability,
    Tensor Score)
    : RoutingDecision(Gates, Selected, Probabilities, Logits)
{
    /// <inheritdoc/>
    public override IEnumerable<Tensor> Tensors => [.. base.Tensors, Order, LogProbability, Score];
}

/// <summary>Draws k experts without replacement in training and gives them one constant weight; inference takes the k
/// most probable.</summary>
/// <remarks>
/// Source: ReMix, arXiv:2603.10160, eq. 4-6; the draw is Gumbel top-k, which has the law of successive draws.
/// Shapes: x [B, T, D] → gates [N, E] of 0 and 1; the constant weight ω is the projection's scale.
/// Gradient: none through the gates. <see cref="RlooEstimator"/> gives the router its gradient; x gets none from the
/// router.
/// </remarks>
public sealed class RlooRouter : Router
{
    private readonly RlooRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public RlooRouter(RlooRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewNormalGate(options.InitStd);
    }

    /// <summary>The matrix that scores the experts.</summary>
    /// <remarks>Shapes: [E, D].</remarks>
    public Parameter Weight => _weight;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        var isSequence = _options.Granularity == RlooRouterOptions.Sequence;
        var (batch, length) = x.ndim == 3 ? (x.shape[0], x.shape[1]) : (1, x.shape[0]);
        var inputs = isSequence ? PromptMean.Of(x, pass, Context.Path) : x.reshape(-1, Context.Width);   // [U, D]
        var logits = Score(inputs, _weight);
        var draws = Fused.ordered_draws(logits, pass.IsTraining ? Noise(x, logits, pass) : null, _options.TopK);
        var gates = Each(draws.Chosen);
        var (selected, probabilities) = (gates.gt(0.5), Each(draws.Probabilities));
        if (pass.IsInference)
            return new RoutingDecision(gates, selected, probabilities, Each(logits));
        var (log, byLogits) = (draws.Log, draws.ByLogits);                                     // [U], [U, E]
        if (!isSequence && pass.TokenMask is { } mask)
            (log, byLogits) = (
                log * mask.reshape(-1).to(torch.float32), byLogits * mask.reshape(-1, 1).to(torch.float32));
        var score = Fused.router_sums(byLogits, inputs.reshape(batch, -1, Context.Width));     // [B, E, D]
        return new DrawnDecision(gates, selected, probabilities, Each(logits), draws.Order, log, score);

        Tensor Each(Tensor perDraw) => isSequence ? perDraw.repeat_interleave(length, 0) : perDraw;
    }

    private Tensor Noise(Tensor x, Tensor logits, ForwardPass pass)
    {
        if (pass.Random is null)
            throw new InvalidOperationException(
                $"{Context.Path}: router rloo draws experts, and the training pass has no random numbers; give it a "
                    + $"generator");
        return pass.Draw(x, logits.shape, (shape, random) =>
            torch.rand(shape, torch.float32, logits.device, generator: random));
    }
}

/// <summary>The gradient of the routers from the losses of several drawn selections, each judged against the mean of
/// all.</summary>
/// <remarks>
/// Source: ReMix, arXiv:2603.10160: <c>Ĝ = 1/(M−1) Σ_m (L_m − L̄) ∇ log Q(J_m)</c>, per example, summed over the batch.
/// It is unbiased for the gradient of the expected loss.
/// Memory: two tensors [B, E, D] a router, whatever M is: Σ L_m ∇log Q_m and Σ ∇log Q_m, L_m counted from the first
/// pass's loss so that nearly equal losses lose no digits.
/// </remarks>
public sealed class RlooEstimator : IDisposable
{
    private readonly Dictionary<string, (Tensor Weighted, Tensor Plain)> _sums = [];
    private Tensor? _first;
    private Tensor? _total;
    private int _passes;

    /// <summary>Takes in one pass.</summary>
    /// <remarks>Shapes: losses [B], each example's part of the step's loss.</remarks>
    public void Add(ForwardPass pass, Tensor losses)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var value = losses.detach().to(torch.float32);
        _first ??= value.clone().DetachFromDisposeScope();
        _total ??= torch.zeros_like(value).DetachFromDisposeScope();
        var relative = value - _first;                                                         // [B]
        _total.add_(relative);
        _passes++;
        foreach (var record in pass.Records<RoutingRecord>())
        {
            if (record.Decision is not DrawnDecision drawn)
                continue;
            if (!_sums.TryGetValue(record.Module, out var sums))
            {
                sums = (torch.zeros_like(drawn.Score).DetachFromDisposeScope(), torch.zeros_like(drawn.Score)
                    .DetachFromDisposeScope());
                _sums[record.Module] = sums;
            }
            sums.Weighted.add_(drawn.Score * relative.reshape(-1, 1, 1));
            sums.Plain.add_(drawn.Score);
        }
    }

    /// <summary>Adds the estimate to the routers' gradients.</summary>
    /// <exception cref="InvalidOperationException">Fewer than two passes were taken in.</exception>
    public void AddTo(IEnumerable<Router> routers)
    {
        if (_passes < 2)
            throw new InvalidOperationException(
                $"{_passes} selections; at least two are needed, each is judged against the others");
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var mean = (_total! / _passes).reshape(-1, 1, 1);
        foreach (var router in routers)
        {
            if (router is RlooRouter { Weight: { requires_grad: true } weight }
                && _sums.TryGetValue(router.Context.Path, out var sums))
                weight.AddToGrad((sums.Weighted - sums.Plain * mean).sum(0L) / (_passes - 1));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _first?.Dispose();
        _total?.Dispose();
        foreach (var (weighted, plain) in _sums.Values)
        {
            weighted.Dispose();
            plain.Dispose();
        }
    }
}

/// <summary>The mean of a sequence's prompt, for what is decided once a sequence.</summary>
public static class PromptMean
{
    /// <summary>The mean input of each sequence's prompt tokens; while decoding, that of the prompt once
    /// more.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, D] float32. Gradient: none.</remarks>
    /// <exception cref="ArgumentException">x has no sequences.</exception>
    /// <exception cref="UserException">Several sequences share a row.</exception>
    public static Tensor Of(Tensor x, ForwardPass pass, string path)
    {
        const string Setting = "adapter.router.granularity: sequence";
        return pass.Cache is { } cache
            ? cache.Once($"{path}.prompt_mean", () => Over(x, pass, path, Setting, "granularity: token"))
            : Over(x, pass, path, Setting, "granularity: token");
    }

    /// <summary>The same of the tokens of this pass alone.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, D] float32. Gradient: none.</remarks>
    /// <param name="x">The input.</param>
    /// <param name="pass">The pass.</param>
    /// <param name="path">The projection, for messages.</param>
    /// <param name="setting">The setting that decides once a sequence.</param>
    /// <param name="instead">The setting that does not.</param>
    /// <exception cref="ArgumentException">x has no sequences.</exception>
    /// <exception cref="UserException">Several sequences share a row.</exception>
    internal static Tensor Over(Tensor x, ForwardPass pass, string path, string setting, string instead)
    {
        RequireSequences(x, pass, path, setting, instead);
        return Mean(x, pass);
    }

    /// <summary>Refuses an input without sequences, and rows that several share.</summary>
    /// <param name="x">The input.</param>
    /// <param name="pass">The pass.</param>
    /// <param name="path">The projection, for messages.</param>
    /// <param name="setting">The setting that decides once a sequence.</param>
    /// <param name="instead">The setting that does not.</param>
    /// <exception cref="ArgumentException">x has no sequences.</exception>
    /// <exception cref="UserException">Several sequences share a row.</exception>
    internal static void RequireSequences(Tensor x, ForwardPass pass, string path, string setting, string instead)
    {
        if (x.ndim != 3)
            throw new ArgumentException(
                $"{path}: input has {x.ndim} dimensions; a decision for each sequence needs [B, T, D]", nameof(x));
        if (pass.Segments is not null)
            throw UserException.At(
                path, $"{setting} decides once a row, and data.packing puts several sequences into one", null,
                $"turn packing off, or write {instead}");
    }

    private static Tensor Mean(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var wide = x.detach().to(torch.float32);
        if ((pass.PromptMask ?? pass.TokenMask) is not { } mask)
            return wide.mean([1]).MoveToOuterDisposeScope();
        var weight = mask.to(torch.float32).unsqueeze(-1);                                     // [B, T, 1]
        return ((wide * weight).sum(1L) / weight.sum(1L).clamp(min: 1)).MoveToOuterDisposeScope();
    }
}
