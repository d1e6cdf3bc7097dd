using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RexmoeRouter"/>.</summary>
public sealed record RexmoeRouterOptions : ExpertRouterOptions
{
    /// <summary>Masked candidates have score 0 behind the softmax, as the paper writes.</summary>
    public const string Zero = "zero";

    /// <summary>Masked candidates have score −∞ before the softmax.</summary>
    public const string MinusInfinity = "minus-inf";

    /// <summary>Neighbouring layers whose experts are one pool.</summary>
    /// <value>Default 2; from 2. The paper finds 2 to 4 best.</value>
    [Key(Min = 2, Max = 4096)]
    public int PoolLayers { get; init; } = 2;

    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts of a layer.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 2;

    /// <summary>Whether the kept scores are divided by their sum.</summary>
    /// <value>Default true; the paper does not say.</value>
    [Key]
    public bool Normalize { get; init; } = true;

    /// <summary>Steps in which only as many candidates are open as a layer has experts.</summary>
    /// <value>Default 0 (the paper's runs: 10,000); from 0.</value>
    [Key(Min = 0)]
    public int StartStep { get; init; }

    /// <summary>The step from which on the whole pool is open; in between candidates open evenly.</summary>
    /// <value>Default 0, from the beginning (the paper's runs: 30,000); from start_step.</value>
    [Key(Min = 0)]
    public int EndStep { get; init; }

    /// <summary>Whether a layer's own experts open first, then those of the others by distance.</summary>
    /// <value>Default false: candidates are drawn anew in every step, own ones among them. The paper leaves it
    /// open.</value>
    [Key]
    public bool OwnFirst { get; init; }

    /// <summary>How candidates that are not open are kept out.</summary>
    /// <value>Default zero. With normalize: true both give the same weights.</value>
    [Key(Choices = [Zero, MinusInfinity])]
    public string Masking { get; init; } = Zero;

    /// <inheritdoc/>
    public override ExpertSharing Sharing => new() { PoolLayers = PoolLayers };

    /// <summary>Candidates that are open in a step.</summary>
    /// <remarks>Source: ReXMoE, arXiv:2510.17483, eq. 6, in whole numbers.</remarks>
    /// <param name="own">N, the experts of a layer.</param>
    /// <param name="all">The experts of the pool.</param>
    /// <param name="step">t, from 0.</param>
    public int OpenAt(int own, int all, long step) =>
        step > EndStep || EndStep == 0 ? all : step <= StartStep ? own
            : own + (int)((all - own) * (step - StartStep) / (EndStep - StartStep));

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective() =>
    [
        .. base.Ineffective(),
        .. IneffectiveKey.If(EndStep == 0, "own_first", OwnFirst, false, "end_step: 0"),
        .. IneffectiveKey.If(EndStep == 0, "masking", Masking, Zero, "end_step: 0"),
    ];

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (EndStep < StartStep)
            reader.Fault("end_step", $"{EndStep}", $"at least start_step = {StartStep}");
    }
}

/// <summary>The K best experts of a pool that neighbouring layers share; the pool opens during training.</summary>
/// <remarks>
/// Source: ReXMoE, arXiv:2510.17483, section 3.3 (no code): <c>N_t = N</c> until t_s, then evenly up to rN at t_e; a
/// random set of rN − N_t candidates gets score 0 before the top K. For LoRA experts of neighbouring layers the pool is
/// our reading.
/// Shapes: x [N, D] → gates [N, rE], the pool's layers side by side.
/// Gradient: through the kept scores; the choice carries none. At inference nothing is drawn: with own_first the
/// candidates open so far, else all.
/// </remarks>
public sealed class RexmoeRouter : Router, IStepped
{
    private readonly RexmoeRouterOptions _options;
    private readonly Parameter _weight;
    private readonly Tensor _steps;

    /// <summary>Makes the router of one projection.</summary>
    public RexmoeRouter(RexmoeRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
        _steps = NewBuffer("steps", torch.zeros([1], torch.int64));
    }

    /// <inheritdoc/>
    public void AfterStep()
    {
        using var off = torch.no_grad();
        _steps.add_(1);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        if (Closed(pass) is { } closed)
            return Choose(Score(x, _weight), closed, _options);
        var (gates, selected, p, logits) = Fused.topk_softmax(x, _weight, new(_options.TopK, _options.Normalize));
        return new RoutingDecision(gates, selected, p, logits);
    }

    /// <summary>The K best candidates that are not closed.</summary>
    /// <remarks>Shapes: logits [N, rE], closed [rE] bool → [N, rE]. Gradient: through the kept
    /// scores.</remarks>
    public static RoutingDecision Choose(Tensor logits, Tensor closed, RexmoeRouterOptions options)
    {
        var p = (options.Masking == RexmoeRouterOptions.MinusInfinity
            ? logits.masked_fill(closed, double.NegativeInfinity) : logits).softmax(-1);
        var selected = Selection.TopMask(p.detach().masked_fill(closed, -1), options.TopK);
        return new RoutingDecision(Selection.Gates(p, selected, options.Normalize), selected, p, logits);
    }

    // [rE] bool, or null where all are open.
    private Tensor? Closed(ForwardPass pass)
    {
        using var off = torch.no_grad();
        var own = Context.Pool.Own;
        var open = _options.OpenAt(own, Context.Experts, _steps.ToInt64());
        if (open >= Context.Experts || (!pass.Drops && !_options.OwnFirst))
            return null;
        var closed = new bool[Context.Experts];
        foreach (var candidate in Order(pass).Skip(open))
            closed[candidate] = true;
        return torch.tensor(closed, [Context.Experts], device: _weight.device);
    }

    // Candidates in the order in which they open.
    private IEnumerable<int> Order(ForwardPass pass)
    {
        var all = Enumerable.Range(0, Context.Experts);
        if (_options.OwnFirst)
            return all.OrderBy(candidate => Math.Abs((candidate / Context.Pool.Own) - Context.Pool.Place));
        var random = pass.Random ?? throw new InvalidOperationException(
            $"{Context.Path}: router rexmoe draws candidates, and the training pass has no random numbers; give it a "
                + "generator");
        using var drawn = torch.rand([Context.Experts], torch.float32, _weight.device, generator: random);
        using var order = drawn.argsort().to(torch.CPU);
        return [.. order.Values<long>().Select(candidate => (int)candidate)];
    }
}

/// <summary>A router that follows the steps of training.</summary>
public interface IStepped
{
    /// <summary>A step was applied.</summary>
    void AfterStep();
}
