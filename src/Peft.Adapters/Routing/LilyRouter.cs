using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="LilyRouter"/>.</summary>
public sealed record LilyRouterOptions : ExpertRouterOptions
{
    /// <summary>Each token has its own weights.</summary>
    public const string Token = "token";

    /// <summary>The prompt's mean weights serve the whole sequence.</summary>
    public const string Sequence = "sequence";

    /// <summary>The mean weights of all tokens of a forward serve each of them, padding included: as
    /// published.</summary>
    public const string Batch = "batch";

    /// <summary>All experts weigh the same; nothing is routed.</summary>
    public const string Mean = "mean";

    /// <summary>Over which tokens the router's weights are averaged.</summary>
    /// <value>Default token. batch is the published form: an answer then depends on the rows and the padding around it,
    /// and decoding token by token differs from one forward. mean is the paper's monoscale.</value>
    [Key(Choices = [Token, Sequence, Batch, Mean])]
    public string Average { get; init; } = Token;

    /// <summary>Neighbouring layers whose alike projections have one A together.</summary>
    /// <value>Default 1 (PEFT's stride_A); from 1. The authors advise 2 to 4.</value>
    [Key(Min = 1, Max = 4096)]
    public int StrideA { get; init; } = 1;

    /// <summary>Factor on the experts' output, whatever alpha and r are.</summary>
    /// <value>Default 1; above 0.</value>
    [Key(Above = 0)]
    public double Scaling { get; init; } = 1;

    /// <inheritdoc/>
    public override ExpertSharing Sharing => new() { DownLayers = StrideA, UpAcrossLayers = true };

    /// <inheritdoc/>
    public override double? ScaleOf(int rank) => Scaling;

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => experts;

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (Average == Mean && Balance.Kind != BalanceOptions.None)
            reader.Section("balance").Fault(
                "kind", Balance.Kind, "none with average: mean", "all experts weigh the same there");
    }
}

/// <summary>Low-rank experts that the layers of a model have in common: one A for neighbouring layers, one set of B for
/// all, and a router of each layer's own on what A makes of the input.</summary>
/// <remarks>
/// Source: Lily, arXiv:2407.09946; huggingface/peft tuners/lily: <c>h = A x</c>, <c>p = softmax(R h)</c>,
/// <c>y = W x + scaling · (Σ_e p_e B_e) h</c>, p averaged over the batch there.
/// Shapes: x [B, T, D] or [N, D] → gates [N, E].
/// Units: gates sum to 1.
/// Gradient: reaches R, A and x through the gates.
/// </remarks>
public sealed class LilyRouter : Router
{
    private readonly LilyRouterOptions _options;
    private readonly Parameter? _weight;

    /// <summary>Makes the router of one projection.</summary>
    public LilyRouter(LilyRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        if (options.Average != LilyRouterOptions.Mean)
        {
            _weight = Take("weight", [context.Experts, context.Rank], weight =>
                Seeded.kaiming_uniform_(
                    weight, Math.Sqrt(5), Seeds.GeneratorFor(context.Seed, $"{context.Path}.router.weight")));
            register_parameter("weight", _weight);
        }
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var tokens = x.numel() / x.shape[^1];
        if (_weight is null)
            return Everywhere(torch.full([1, Context.Experts], 1.0 / Context.Experts, torch.float32, x.device), null);
        var hidden = Score(x, Context.Down!.narrow(0, 0, Context.Rank));                       // [N, R]
        var (logits, p) = Softmax(hidden, _weight);
        return _options.Average switch
        {
            LilyRouterOptions.Batch => Everywhere(OfBatch(p, x, pass), logits),
            LilyRouterOptions.Sequence => Everywhere(OfSequences(p, x, pass), logits),
            _ => Everywhere(p, logits),
        };

        RoutingDecision Everywhere(Tensor weights, Tensor? scores)
        {
            var gates = weights.shape[0] == tokens ? weights
                : weights.repeat_interleave(tokens / weights.shape[0], 0);
            return RoutingDecision.OfAll(gates, gates, scores);
        }
    }

    /// <inheritdoc/>
    public override Tensor? ConstantGates() =>
        _weight is null ? torch.full([Context.Experts], 1.0 / Context.Experts, torch.float32) : null;

    private Tensor OfBatch(Tensor p, Tensor x, ForwardPass pass) => pass.ShareOf(x, Context.Path) is { } share
        ? share.SumInside(p.sum(0L, keepdim: true)) / share.WholeShape(p.shape)[0] : p.mean([0], keepdim: true);

    private Tensor OfSequences(Tensor p, Tensor x, ForwardPass pass)
    {
        PromptMean.RequireSequences(x, pass, Context.Path, "adapter.router.average: sequence", "average: token");
        return pass.Cache is { } cache ? cache.Once($"{Context.Path}.gates", () => Mean(p, x, pass)) : Mean(p, x, pass);
    }

    private static Tensor Mean(Tensor p, Tensor x, ForwardPass pass)
    {
        var each = p.reshape(x.shape[0], x.shape[1], -1);                                      // [B, T, E]
        if ((pass.PromptMask ?? pass.TokenMask) is not { } mask)
            return each.mean([1]);
        var weight = mask.to(torch.float32).unsqueeze(-1);
        return (each * weight).sum(1L) / weight.sum(1L).clamp(min: 1);
    }
}
