using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="UnionRouter"/>.</summary>
public sealed record UnionRouterOptions : SliceRouterOptions
{
    /// <summary>Each slice takes positions of every sequence.</summary>
    public const string Data = "data";

    /// <summary>Each sequence takes slices, by all of its tokens.</summary>
    public const string Expert = "expert";

    /// <inheritdoc/>
    /// <value>Default 4; from 2; a divisor of the inner width.</value>
    [Key(Min = 2, Max = 4096)]
    public override int Count { get; init; } = 4;

    /// <summary>What is selected.</summary>
    /// <value>Default data: each slice takes the positions of a sequence that want it most; expert: each sequence goes
    /// through top_k slices.</value>
    [Key(Choices = [Data, Expert])]
    public string Selection { get; init; } = Data;

    /// <summary>Slices that a token asks for, or that a sequence goes through.</summary>
    /// <value>Default 2 (the code's); from 1 to count.</value>
    [Key(Min = 1)]
    public int TopK { get; init; } = 2;

    /// <summary>Part of a sequence's positions that each slice takes, rounded down, at least one.</summary>
    /// <value>Default 0.5 (the code's); above 0, to 1.</value>
    [Key(Above = 0, Max = 1)]
    public double PositionShare { get; init; } = 0.5;

    /// <summary>Tokens of the longest sequence, where the router goes by all of them at once.</summary>
    /// <value>Default 128; from 1.</value>
    [Key(Min = 1)]
    public int Length { get; init; } = 128;

    /// <summary>Whether slices are weighed by the router's probabilities, so that the task teaches it.</summary>
    /// <value>Default false, as published: weights are 1, and the router stays as it was drawn.</value>
    [Key]
    public bool Weigh { get; init; }

    /// <inheritdoc/>
    public override string WhyNoDecoding => Selection == Data
        ? "each slice takes its best positions of the whole sequence, later ones too"
        : "slices are chosen by the whole sequence, later tokens too";

    /// <summary>Whether anything gives the router a gradient.</summary>
    internal bool Learns => Weigh || Balance.Terms().Any();

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective()
    {
        var (first, beside) = (new UnionRouterOptions(), $"selection: {Selection}");
        return
        [
            .. base.Ineffective(),
            .. IneffectiveKey.If(Selection == Data, "length", Length, first.Length, beside),
            .. IneffectiveKey.If(Selection == Expert, "position_share", PositionShare, first.PositionShare, beside),
        ];
    }

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TopK > Count)
            reader.Fault("top_k", $"{TopK}", $"at most the {Count} slices that count says");
    }
}

/// <summary>Slices of the frozen feed-forward that add up: each takes the positions of a sequence that want it most, or
/// each sequence takes slices.</summary>
/// <remarks>
/// Source: Union-of-Experts, arXiv:2503.02495; YujiaoYang-work/UoE, UoME_DS.py and UoME_ES.py. Data selection: <c>p =
/// softmax(R x + b)</c>, of which the K largest of each token stay, divided by their sum over the batch at the same
/// position and slice plus 1e-6; each slice takes the half of the positions of each sequence that have most. Expert
/// selection: <c>p = softmax(R [x₁ … x_S] + b)</c> over all tokens of a sequence, all of which go through the K largest
/// slices. What is taken has weight 1, so no task's gradient reaches R and b.
/// Differences to the code: padding is neither counted nor taken; where too few positions want a slice, it takes others
/// by p, which the code leaves open; sequences shorter than R knows count as filled up with zeros; the output's bias
/// joins once. The factor capacity · batch on all scores changes no choice and is left out. With <c>weigh</c>, our
/// switch, slices weigh n p / Σ p over the n that a token goes through. A packed row counts as one sequence.
/// What a token goes through depends on later tokens (and other rows): for training and for measuring given texts.
/// Shapes: x [B, T, D], or [T, D] of one sequence → gates [N, E], E the number of slices.
/// Gradient: through the probabilities where they weigh; else none.
/// </remarks>
public sealed class UnionRouter : Router
{
    private const double Tiny = 1e-6;
    private const double Smallest = 1e-12; // what p adds to scores: the order of those that are 0

    private readonly UnionRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Parameter _bias;

    /// <summary>Makes the router of one feed-forward; first values are those of a linear layer of PyTorch.</summary>
    public UnionRouter(UnionRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        var inputs = context.Width * (options.Selection == UnionRouterOptions.Expert ? options.Length : 1);
        (_weight, _bias) = (NewGate(inputs: inputs), NewBias(inputs));
        _weight.requires_grad = _bias.requires_grad = options.Learns;
    }

    /// <inheritdoc/>
    /// <exception cref="UserException">The pass goes on from a cache, or a sequence is longer than the router
    /// knows.</exception>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        if (pass.Cache is not null)
            throw OnlyGivenTexts(_options);
        var (batch, length) = x.ndim == 3 ? (x.shape[0], x.shape[1]) : (1, x.shape[0]);
        var real = pass.TokenMask?.reshape(-1);
        var (logits, selected) = _options.Selection == UnionRouterOptions.Data
            ? ByPositions(x, real, length, pass) : BySequence(x.reshape(batch, length, -1), real);
        var probabilities = logits.softmax(-1);
        var gates = _options.Weigh ? Weighed(probabilities, selected) : selected.to(torch.float32);
        return new(gates, selected, probabilities, logits) { WeighsSlices = true };
    }

    // A token that no slice takes has no weights to divide by.
    private static Tensor Weighed(Tensor probabilities, Tensor selected)
    {
        var kept = Selection.Gates(probabilities, selected, normalize: false);
        return kept * (selected.sum(-1, keepdim: true) / kept.sum(-1, keepdim: true).clamp_min(Tiny));
    }

    private (Tensor Logits, Tensor Selected) ByPositions(Tensor x, Tensor? real, long length, ForwardPass pass)
    {
        var logits = Score(x, _weight) + _bias;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var p = logits.detach().softmax(-1);
        Tensor Taken(Tensor lines, Tensor? mask) => Positions(
            Scores(lines.reshape(-1, length, lines.shape[1]), mask?.reshape(-1, length), _options.TopK),
            mask?.reshape(-1, length), _options.PositionShare).reshape(lines.shape);
        if (pass.ShareOf(x, Context.Path) is not { } share)
            return (logits, Taken(p, real).MoveToOuterDisposeScope());
        var (whole, mask) = share.WholeOf(p, real);
        return (logits, share.OwnOf(Taken(whole, mask)).MoveToOuterDisposeScope());
    }

    private (Tensor Logits, Tensor Selected) BySequence(Tensor x, Tensor? real)
    {
        var (batch, length, width) = (x.shape[0], x.shape[1], x.shape[2]);
        if (length > _options.Length)
            throw UserException.At(
                "adapter.router.length", $"{_options.Length}, and a sequence has {length} tokens",
                $"at least {length}, or a smaller data.max_length");
        var known = real is null ? x
            : x.masked_fill(real.reshape(batch, length, 1).logical_not(), 0);
        var logits = Score(known.reshape(batch, length * width), _weight.narrow(1, 0, length * width).contiguous())
            + _bias;
        var selected = Selection.TopMask(logits.detach(), _options.TopK);
        return (logits.repeat_interleave(length, 0), selected.repeat_interleave(length, 0));
    }

    /// <summary>How much each position wants each slice.</summary>
    /// <remarks>Shapes: p [B, T, E], real [B, T] bool or null → [B, T, E] float64: alone in a batch all are nearly
    /// 1.</remarks>
    public static Tensor Scores(Tensor p, Tensor? real, int k)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var wanted = p.to(torch.float64)
            * Selection.TopMask(p.reshape(-1, p.shape[2]), k).reshape(p.shape).to(torch.float64);
        if (real is not null)
            wanted = wanted.masked_fill(real.unsqueeze(-1).logical_not(), 0);
        return (wanted / (wanted.sum([0L], keepdim: true) + Tiny) + p * Smallest).MoveToOuterDisposeScope();
    }

    /// <summary>The positions that each slice takes.</summary>
    /// <remarks>Shapes: scores [B, T, E], real [B, T] bool or null → [B, T, E] bool.</remarks>
    public static Tensor Positions(Tensor scores, Tensor? real, double share)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (real is not null)
            scores = scores.masked_fill(real.unsqueeze(-1).logical_not(), -1);
        var lengths = real?.sum(1, keepdim: true) ?? torch.full([1, 1], scores.shape[1], torch.int64, scores.device);
        var most = (lengths.to(torch.float64) * share).floor().clamp_min(1).minimum(lengths.to(torch.float64));
        // The place of each position in the order of those that want the slice.
        var place = scores.sort(1, descending: true, stable: true).Indices.argsort(1);
        return place.lt(most.unsqueeze(-1)).MoveToOuterDisposeScope();
    }
}
