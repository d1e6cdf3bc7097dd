using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>A frozen linear layer with LoRA experts beside it; one expert without a router is plain LoRA.</summary>
/// <remarks>
/// Source: LoRA, arXiv:2106.09685, eq. 3; all routers meet in <c>y = base(x) + scale · ((x Aᵀ) ∘ G) Bᵀ</c>, A and B
/// stacked over experts, one GEMM each.
/// Gradient: reaches A, B, the router and x; never the base layer.
/// </remarks>
public sealed class MixtureProjection : Projection
{
    private readonly (bool Down, bool Up) _owns;
    private IReadOnlyList<MixtureProjection>? _pool;

    /// <summary>Wraps a projection; A gets its first values, B zeros.</summary>
    /// <param name="wrapped">The frozen layer.</param>
    /// <param name="shape">Experts, rank, scale and dropout.</param>
    /// <param name="router">How tokens choose experts; null for plain LoRA.</param>
    /// <param name="down">A with its first values, [E·R, D] float32.</param>
    /// <param name="up">B, [O, C] float32; null: zeros that learn.</param>
    /// <param name="owns">Whether A and B are this projection's, or another one's that it shares.</param>
    /// <param name="takenOut">What the frozen weight loses to A and B; null: nothing.</param>
    /// <param name="magnitude">DoRA's magnitude of each output, [O] float32; null: none.</param>
    /// <param name="cores">The matrix of each expert between the one A and the one B, [E, R, R] float32; null:
    /// none.</param>
    public MixtureProjection(
        BaseLinear wrapped, MixtureShape shape, Router? router, Parameter down, Parameter? up = null,
        (bool Down, bool Up)? owns = null, TakenOut? takenOut = null, Parameter? magnitude = null,
        Parameter? cores = null)
        : base(wrapped.Path, wrapped.InFeatures, wrapped.OutFeatures)
    {
        _owns = owns ?? (true, true);
        Wrapped = wrapped;
        Shape = shape;
        Router = router;
        Down = down;
        Up = up
            ?? torch.zeros([wrapped.OutFeatures, shape.UpColumns], torch.float32, wrapped.Weight.device).ToParameter();
        RegisterModule("base_layer", wrapped);
        if (_owns.Down)
            register_parameter("lora_A", Down);
        if (_owns.Up)
            register_parameter("lora_B", Up);
        if (router is not null)
            RegisterModule("router", router);
        if (takenOut is not null)
        {
            TakenOut = takenOut;
            RegisterBuffer(TakenOut.DownName, takenOut.Down);
            RegisterBuffer(TakenOut.UpName, takenOut.Up);
            TakeOut();
        }
        (Cores, Magnitude) = (cores, magnitude);
        if (cores is not null)
            register_parameter("lora_core", cores);
        if (magnitude is not null)
            register_parameter("lora_magnitude_vector", magnitude);
    }

    /// <summary>The frozen layer.</summary>
    public BaseLinear Wrapped { get; }

    /// <summary>Experts, rank and scale.</summary>
    public MixtureShape Shape { get; }

    /// <inheritdoc/>
    public override bool IsRowwise => Shape.Part == ExpertPart.Projection;

    /// <summary>How tokens choose experts; null for plain LoRA.</summary>
    public Router? Router { get; }

    /// <summary>A of every expert, stacked, or the one A that they have together.</summary>
    /// <remarks>Shapes: [C, D] float32; expert e has rows e·R to e·R + R − 1, the shared ones after the others. [R, D]
    /// where they have one.</remarks>
    public Parameter Down { get; }

    /// <summary>B of every expert, side by side, or the one B that they have together.</summary>
    /// <remarks>Shapes: [O, C] float32; expert e has columns e·R to e·R + R − 1, the shared ones after the
    /// others. [O, R] where they have one.</remarks>
    public Parameter Up { get; }

    /// <summary>The matrix K of each expert between the one A and the one B: expert e adds <c>B Kᵀ A x</c>; null: the
    /// experts have an A or a B of their own.</summary>
    /// <remarks>Shapes: [E, R, R] float32.</remarks>
    public Parameter? Cores { get; }

    /// <summary>What the frozen weight lost to A and B as they began; null: nothing.</summary>
    public TakenOut? TakenOut { get; }

    /// <summary>DoRA's magnitude of each output; null: none.</summary>
    /// <remarks>Shapes: [O] float32.</remarks>
    public Parameter? Magnitude { get; }

    // What is computed with: the frozen layer's own weight, or what is left of it. [O, D]
    private Tensor Weight => _rest ?? Wrapped.Weight;

    private Tensor? _rest;
    private readonly DirectionNorms _norms = new();

    /// <summary>A of one expert, a view.</summary>
    /// <remarks>Shapes: [R, D].</remarks>
    public Tensor DownOf(int expert) =>
        Shape.HasOneDown ? Down : Down.narrow(0, (long)expert * Shape.Rank, Shape.Rank);

    /// <summary>B of one expert, a view; with its core in it where it has one.</summary>
    /// <remarks>Shapes: [O, R].</remarks>
    public Tensor UpOf(int expert) => Cores is null ? Up.narrow(1, (long)expert * Shape.Rank, Shape.Rank)
        : Up.mm(Cores[expert].t());

    /// <summary>The wrapped weight with the adapter in it, for gates that do not depend on the input.</summary>
    /// <remarks>
    /// Source: LoRA, arXiv:2106.09685, section 4.1: <c>W + B A</c>, scale and gates in B; DoRA, arXiv:2402.09353,
    /// eq. 5: its rows divided by their norms and times the magnitudes.
    /// Shapes: weight as files hold it, [O, D] or [D, O]; gates [E] or [R] → the same in the weight's type. Gradient:
    /// none.
    /// </remarks>
    public Tensor Merge(Tensor weight, Tensor gates)
    {
        using var off = torch.no_grad();
        var (down, up) = Collapsed(gates);
        var added = up.mm(down);
        var oriented = Wrapped.IsStoredInputsFirst ? added.t() : added;
        var merged = weight + oriented.to(weight.dtype);
        if (Magnitude is null)
            return merged;
        var factors = (Magnitude / merged.norm(Wrapped.IsStoredInputsFirst ? 0 : 1).to(torch.float32))
            .nan_to_num(1, 1, 1); // a row of zeros stays one
        return merged * (Wrapped.IsStoredInputsFirst ? factors : factors.unsqueeze(1)).to(weight.dtype);
    }

    /// <summary>Takes what A and B began with out of the frozen weight again, as it is now.</summary>
    /// <remarks>To be called when <see cref="TakenOut"/> was read from a file.</remarks>
    public void TakeOut()
    {
        if (TakenOut is null)
            return;
        _rest?.Dispose();
        _rest = TakenOut.Rest(Wrapped.Weight, Shape.Scale).DetachFromDisposeScope();
    }

    /// <summary>B with scale and gates in it.</summary>
    /// <remarks>Shapes: gates [E] or [R] → [O, C] float32. Gradient: none.</remarks>
    public Tensor WeightedUp(Tensor gates) => AllUp().detach() * Columns(gates) * Shape.Scale;

    /// <summary>A and B of the one LoRA on the base as it is that this is with constant gates; scale and gates are in
    /// B.</summary>
    /// <remarks>Shapes: gates [E] or [R] → [C, D] and [O, C], further columns for what was taken out of the base.
    /// Gradient: none.</remarks>
    public (Tensor Down, Tensor Up) Collapsed(Tensor gates)
    {
        var (down, up) = (AllDown().detach(), WeightedUp(gates));
        return TakenOut is not { } first ? (down, up)
            : (torch.cat([down, first.Down], 0), torch.cat([up, first.Up * -Shape.Scale], 1));
    }

    /// <summary>The gate of every column of <see cref="AllUp"/>, those of shared experts 1.</summary>
    /// <remarks>Shapes: gates [.., E] or [.., R], or [.., C] already → [.., C].</remarks>
    public Tensor Columns(Tensor gates)
    {
        var columns = AllColumns;
        if (gates.shape[^1] == columns)
            return gates;
        var all = WithShared(gates);
        return all.repeat_interleave(columns / all.shape[^1], -1);
    }

    /// <summary>How many experts its router chooses among: those of its pool, or its own.</summary>
    public int Candidates => Shape.Experts * (_pool?.Count ?? 1);

    /// <summary>Rows of <see cref="AllDown"/>, columns of <see cref="AllUp"/>.</summary>
    public long AllColumns => (long)(Candidates + Shape.Shared) * Shape.Rank;

    /// <summary>The A of every expert that gates weigh: those of a whole pool, one that is shared as often as there are
    /// experts, then the shared experts'.</summary>
    /// <remarks>Shapes: [C, D].</remarks>
    public Tensor AllDown() => Shape.HasOneDown ? Down.repeat(Shape.Experts + Shape.Shared, 1) : Stacked(0, null);

    /// <summary>The B of every expert that gates weigh, in the order of <see cref="AllDown"/>.</summary>
    /// <remarks>Shapes: [O, C].</remarks>
    public Tensor AllUp() => Cores is null ? Stacked(1, null) : Up.mm(Cores.reshape(-1, Shape.Rank).t());

    /// <summary>Makes the experts of several projections one pool, in this order.</summary>
    internal void Join(IReadOnlyList<MixtureProjection> pool) => _pool = pool;

    /// <summary>What the optimizer, the bundle and the parameter table call the adapter's parameters; stable.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> AdapterParameters()
    {
        foreach (var factor in Factors())
            yield return factor;
        if (Magnitude is not null)
            yield return ($"{Path}.lora_magnitude_vector", Magnitude);
        if (Router is null)
            yield break;
        foreach (var (name, parameter) in Router.named_parameters())
            yield return ($"{Path}.router.{name}", parameter);
    }

    /// <summary>A, B and the cores, where they are this projection's own.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> Factors()
    {
        if (_owns.Down)
            yield return ($"{Path}.lora_A", Down);
        if (_owns.Up)
            yield return ($"{Path}.lora_B", Up);
        if (Cores is not null)
            yield return ($"{Path}.lora_core", Cores);
    }

    /// <summary>Saved buffers, the router's among them, named like parameters.</summary>
    public IEnumerable<(string Name, Tensor Buffer)> AdapterBuffers() =>
    [
        .. TakenOut is null ? []
            : new[] { ($"{Path}.{TakenOut.DownName}", TakenOut.Down), ($"{Path}.{TakenOut.UpName}", TakenOut.Up) },
        .. Router?.named_buffers().Select(pair => ($"{Path}.router.{pair.name}", pair.buffer)) ?? [],
    ];

    /// <summary>Frees what the adapter added; the frozen layer stays.</summary>
    internal void DisposeAdapter()
    {
        Router?.Dispose();
        if (_owns.Down)
            Down.Dispose();
        if (_owns.Up)
            Up.Dispose();
        Magnitude?.Dispose();
        Cores?.Dispose();
        TakenOut?.Down.Dispose();
        TakenOut?.Up.Dispose();
        _rest?.Dispose();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _rest?.Dispose();
            _norms.Dispose();
        }
        base.Dispose(disposing);
    }

    /// <inheritdoc/>
    /// <remarks>Shapes: x [.., D] → [.., O]; with a router, N = the product of the leading dimensions.</remarks>
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        if (pass.IsPreliminary)
            return BeforeRouting(x, pass);
        var decision = Decide(x, pass);
        if (decision?.InputFactor is { } factor && Shape.Part == ExpertPart.Entry)
            x *= factor;
        if (decision is { WeighsSlices: true })
        {
            x = Shape.Part == ExpertPart.Exit ? FfnSplitRouter.Weighed(x, decision.Gates) : x;
            decision = null; // what follows is plain LoRA
        }

        var dropped = pass.Drops && Shape.Dropout > 0 ? Dropped(x, pass, decision?.Rows) : null;
        if (decision is { DetachesInput: true } && pass.IsTraining)
            dropped = (dropped ?? x).detach();
        if (Magnitude is not null)
            return Directed(x, dropped);
        if (Router is IChained chain)
            return Chained(x, dropped, decision!, chain, pass);
        if (Cores is not null)
            return BetweenFactors(x, dropped, decision!);
        if (decision?.Rows is { } rows)
            return Whole(x, decision, rows, dropped);
        var (down, up, gates, selected) = decision is null ? (Down, Up, null, null) : Operands(decision, pass);
        return Fused.lora_mixture_linear(
            x, Weight, Wrapped.Bias, down, up, gates, Shape.Scale, dropped, selected);
    }

    // The experts work on what they made of x before; the last time together with the frozen layer, which sees x.
    private Tensor Chained(Tensor x, Tensor? dropped, RoutingDecision decision, IChained chain, ForwardPass pass)
    {
        var (state, input) = (x, dropped);
        Tensor? added = null; // without x itself, so that little is lost to rounding
        for (var iteration = 1; iteration < chain.Iterations; iteration++)
        {
            var (a, b, g, chosen) = Operands(decision, pass);
            var step = Fused.lora_mixture(input ?? state, a, b, g, Shape.Scale, chosen);
            (added, state) = (added?.add_(step) ?? step, state + step);
            input = dropped is null ? null : Dropped(state, pass);
            var next = chain.RouteAgain(state, iteration, decision);
            if (!ReferenceEquals(next, decision))
                pass.Emit(new RoutingRecord($"{Path}@{iteration + 1}", next));
            decision = next;
        }
        var (down, up, gates, selected) = Operands(decision, pass);
        var last = Fused.lora_mixture_linear(
            x, Weight, Wrapped.Bias, down, up, gates, Shape.Scale, input ?? (added is null ? null : state), selected);
        return added is null ? last : last.add_(added);
    }

    // What a router goes by is made without the adapter, or with one gate for all experts where the router says so.
    private Tensor BeforeRouting(Tensor x, ForwardPass pass)
    {
        if (Router is not { PreliminaryGate: not 0 and var gate })
            return Wrapped.Forward(x, pass);
        var gates = torch.full([x.numel() / InFeatures, Candidates], gate, torch.float32, x.device);
        return Fused.lora_mixture_linear(
            x, Weight, Wrapped.Bias, Shape.HasOneDown ? Down : Stacked(0, pass), Stacked(1, pass), WithShared(gates),
            Shape.Scale);
    }

    // Source: CoMoL, arXiv:2603.00573: the experts' cores are merged for each token, by what A makes of it.
    private Tensor BetweenFactors(Tensor x, Tensor? dropped, RoutingDecision decision)
    {
        var hidden = dropped is null && decision.Hidden is { } made ? made
            : Fused.router_scores(dropped ?? x, Down);                                         // [N, R]
        var each = hidden.mm(Cores!.permute(1, 0, 2).reshape(Shape.Rank, -1))
            .view(-1, Shape.Experts, Shape.Rank);                                              // [N, E, R]
        var merged = (each * decision.Gates.unsqueeze(-1)).sum(1L);
        return Fused.low_rank_linear(x, Weight, Wrapped.Bias, merged, Up, Shape.Scale);
    }

    private RoutingDecision? Decide(Tensor x, ForwardPass pass)
    {
        if (Router is null)
            return null;
        var decision = Router.Route(x, pass);
        // A router that repeats another's decision leaves the record to that one.
        if (Router is SharedRouter)
            return decision;
        if (Shape.Part == ExpertPart.Entry && !decision.WeighsSlices)
            decision = decision with { Rows = ExpertRows.Of(decision.Selected, x.shape.AsSpan(..^1)) };
        pass.Emit(new RoutingRecord(Path, decision));
        return decision;
    }

    // Part of a feed-forward that is an expert as a whole: each expert's rows stay apart from its beginning to its end.
    private Tensor Whole(Tensor x, RoutingDecision decision, ExpertRows rows, Tensor? dropped)
    {
        if (Shape.Part == ExpertPart.Entry)
            return Fused.expert_rows_linear(x, Weight, Wrapped.Bias, Down, Up, rows, Shape.Scale, dropped);
        var y = Fused.expert_sum_linear(x, Weight, Down, Up, decision.Gates, rows, Shape.Scale, dropped);
        return Wrapped.Bias is not { } bias ? y
            : y + (decision.Gates.sum(-1).to(y.dtype).reshape([.. rows.Leading, 1]) * bias);
    }

    // What the mixture operation takes for a decision; the parts that the projection shares are put together here.
    private (Tensor Down, Tensor Up, Tensor Gates, Tensor? Selected) Operands(
        RoutingDecision decision, ForwardPass pass)
    {
        if (decision.Mix is not { } mix)
            return (Shape.HasOneDown ? Down : Stacked(0, pass), Stacked(1, pass), WithShared(decision.Gates),
                decision.SelectsAll ? null : WithShared(decision.Selected));
        // Each set of weights makes one expert of all, and a token has that of its set.
        var (sets, own) = (mix.Weights.shape[0], mix.Of.unsqueeze(1));
        var chosen = own.eq(torch.arange(sets, torch.int64, own.device));                      // [N, P]
        return (
            BesideShared(mix.Down(Routed(0), Shape.Rank), 0), BesideShared(mix.Up(Routed(1), Shape.Rank), 1),
            WithShared(chosen.to(torch.float32)), WithShared(chosen));
    }

    // A (dimension 0) or B (1) of the experts that a router chooses among, and of the whole pool with the shared ones.
    internal Tensor Routed(int dimension) => Shape.Shared == 0 ? Factor(dimension)
        : Factor(dimension).narrow(dimension, 0, (long)Shape.Experts * Shape.Rank);

    // Shared experts are each layer's own, so there the pool is joined with them in each; outside of a pass anew.
    private Tensor Stacked(int dimension, ForwardPass? pass) => _pool is null ? Factor(dimension)
        : Shape.Shared > 0 ? PoolFactors.Joined(_pool, dimension, Shared(dimension))
        : pass is null ? PoolFactors.Joined(_pool, dimension)
        : PoolFactors.Of(_pool, pass).On(dimension);

    private Tensor Shared(int dimension) => Factor(dimension)
        .narrow(dimension, (long)Shape.Experts * Shape.Rank, (long)Shape.Shared * Shape.Rank);

    private Tensor BesideShared(Tensor experts, int dimension) =>
        Shape.Shared == 0 ? experts : torch.cat([experts, Shared(dimension)], dimension);

    private Parameter Factor(int dimension) => dimension == 0 ? Down : Up;

    // Source: huggingface/peft 5d602fd, DoraLinearLayer: what is dropped is dropped from the frozen product's share in
    // the correction too, W x itself keeps all of x.
    private Tensor Directed(Tensor x, Tensor? dropped)
    {
        var norms = _norms.Of(Weight, Down, Up, Shape.Scale);
        if (dropped is null)
            return Fused.dora_linear(x, Weight, Wrapped.Bias, Down, Up, Magnitude!, norms, Shape.Scale);
        return Fused.linear(x - dropped, Weight, Wrapped.Bias)
            + Fused.dora_linear(dropped, Weight, null, Down, Up, Magnitude!, norms, Shape.Scale);
    }

    // Source: DeepSeekMoE, arXiv:2401.06066, eq. 9: shared experts have weight 1 for every token.
    private Tensor WithShared(Tensor gates) => Shape.Shared == 0 ? gates
        : torch.cat([gates, torch.ones([.. gates.shape[..^1], Shape.Shared], gates.dtype, gates.device)], -1);

    private Tensor Dropped(Tensor x, ForwardPass pass, ExpertRows? rows = null)
    {
        if (pass.Random is null)
            throw new InvalidOperationException(
                $"{Path}: lora_dropout is {Shape.Dropout}, and the training pass has no random numbers; give it a "
                    + $"generator");
        return pass.Dropout(x, Shape.Dropout, Shape.Part == ExpertPart.Exit ? rows : null);
    }
}
