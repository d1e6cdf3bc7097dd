using System.Globalization;
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
    /// <summary>Wraps a projection; A gets its first values, B zeros.</summary>
    /// <param name="wrapped">The frozen layer.</param>
    /// <param name="shape">Experts, rank, scale and dropout.</param>
    /// <param name="router">How tokens choose experts; null for plain LoRA.</param>
    /// <param name="down">A with its first values, [E·R, D] float32.</param>
    /// <param name="up">B, [O, E·R] float32; null: zeros that learn.</param>
    public MixtureProjection(
        BaseLinear wrapped, MixtureShape shape, Router? router, Parameter down, Parameter? up = null)
        : base(wrapped.Path, wrapped.InFeatures, wrapped.OutFeatures)
    {
        Wrapped = wrapped;
        Shape = shape;
        Router = router;
        Down = down;
        Up = up ?? torch.zeros(
            [wrapped.OutFeatures, shape.Columns], torch.float32, wrapped.Weight.device)
                .ToParameter();
        RegisterModule("base_layer", wrapped);
        register_parameter("lora_A", Down);
        register_parameter("lora_B", Up);
        if (router is not null)
            RegisterModule("router", router);
    }

    /// <summary>The frozen layer.</summary>
    public BaseLinear Wrapped { get; }

    /// <summary>Experts, rank and scale.</summary>
    public MixtureShape Shape { get; }

    /// <summary>How tokens choose experts; null for plain LoRA.</summary>
    public Router? Router { get; }

    /// <summary>A of every expert, stacked.</summary>
    /// <remarks>Shapes: [C, D] float32; expert e has rows e·R to e·R + R − 1, the shared ones after the
    /// others.</remarks>
    public Parameter Down { get; }

    /// <summary>B of every expert, side by side.</summary>
    /// <remarks>Shapes: [O, C] float32; expert e has columns e·R to e·R + R − 1, the shared ones after the
    /// others.</remarks>
    public Parameter Up { get; }

    /// <summary>A of one expert, a view.</summary>
    /// <remarks>Shapes: [R, D].</remarks>
    public Tensor DownOf(int expert) => Down.narrow(0, (long)expert * Shape.Rank, Shape.Rank);

    /// <summary>B of one expert, a view.</summary>
    /// <remarks>Shapes: [O, R].</remarks>
    public Tensor UpOf(int expert) => Up.narrow(1, (long)expert * Shape.Rank, Shape.Rank);

    /// <summary>The wrapped weight with the adapter in it, for gates that do not depend on the input.</summary>
    /// <remarks>
    /// Source: LoRA, arXiv:2106.09685, section 4.1: <c>W + B A</c>, scale and gates in B.
    /// Shapes: weight as files hold it, [O, D] or [D, O]; gates [E] or [R] → the same in the weight's type. Gradient:
    /// none.
    /// </remarks>
    public Tensor Merge(Tensor weight, Tensor gates)
    {
        var added = WeightedUp(gates).mm(Down.detach()).to(weight.dtype);
        return weight + (Wrapped.IsStoredInputsFirst ? added.t() : added);
    }

    /// <summary>B with scale and gates in it.</summary>
    /// <remarks>Shapes: gates [E] or [R] → [O, C] float32. Gradient: none.</remarks>
    public Tensor WeightedUp(Tensor gates) => Up.detach() * Columns(gates) * Shape.Scale;

    /// <summary>The gate of every column of B, those of shared experts 1.</summary>
    /// <remarks>Shapes: gates [.., E] or [.., R], or [.., C] already → [.., C].</remarks>
    public Tensor Columns(Tensor gates)
    {
        if (gates.shape[^1] == Shape.Columns)
            return gates;
        var all = WithShared(gates);
        return all.repeat_interleave(Shape.Columns / all.shape[^1], -1);
    }

    /// <summary>What the optimizer, the bundle and the parameter table call the adapter's parameters; stable.</summary>
    public IEnumerable<(string Name, Parameter Parameter)> AdapterParameters()
    {
        yield return ($"{Path}.lora_A", Down);
        yield return ($"{Path}.lora_B", Up);
        if (Router is null)
            yield break;
        foreach (var (name, parameter) in Router.named_parameters())
            yield return ($"{Path}.router.{name}", parameter);
    }

    /// <summary>The router's saved buffers, named like parameters.</summary>
    public IEnumerable<(string Name, Tensor Buffer)> AdapterBuffers() =>
        Router is null ? [] : Router.named_buffers().Select(pair => ($"{Path}.router.{pair.name}", pair.buffer));

    /// <summary>Frees what the adapter added; the frozen layer stays.</summary>
    internal void DisposeAdapter()
    {
        Router?.Dispose();
        Down.Dispose();
        Up.Dispose();
    }

    /// <inheritdoc/>
    /// <remarks>Shapes: x [.., D] → [.., O]; with a router, N = the product of the leading dimensions.</remarks>
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        RoutingDecision? decision = null;
        if (Router is not null)
        {
            decision = Router.Route(x, pass);
            // A router that repeats another's decision leaves the record to that one.
            if (Router is not SharedRouter)
                pass.Emit(new RoutingRecord(Path, decision));
        }
        var dropped = pass.Drops && Shape.Dropout > 0 ? Dropped(x, pass) : null;
        if (decision is { DetachesInput: true } && pass.IsTraining)
            dropped = (dropped ?? x).detach();
        return Fused.lora_mixture_linear(
            x, Wrapped.Weight, Wrapped.Bias, Down, Up, decision is null ? null : WithShared(decision.Gates),
            Shape.Scale, dropped, decision is null ? null : WithShared(decision.Selected));
    }

    // Source: DeepSeekMoE, arXiv:2401.06066, eq. 9: shared experts have weight 1 for every token.
    private Tensor WithShared(Tensor gates) => Shape.Shared == 0 ? gates
        : torch.cat([gates, torch.ones([.. gates.shape[..^1], Shape.Shared], gates.dtype, gates.device)], -1);

    private Tensor Dropped(Tensor x, ForwardPass pass)
    {
        var random = pass.Random ?? throw new InvalidOperationException(
            $"{Path}: lora_dropout is {Shape.Dropout}, and the training pass has no random numbers; give it a "
            + $"generator");
        // Where x is not the batch's rows (learned positions, an expert's tokens) there is no whole to draw for.
        return Seeded.dropout(x, Shape.Dropout, random, pass.Share is { } share && x.ndim == 3 ? share.Draw : null);
    }
}

/// <summary>The sizes and the scale of one wrapped projection.</summary>
/// <param name="Experts">Number of experts E that a router chooses among.</param>
/// <param name="Rank">Rank R of each.</param>
/// <param name="Scale">Factor on their output: alpha / r, or alpha / sqrt(r) with rsLoRA.</param>
/// <param name="Dropout">Share of the adapter's input dropped in training.</param>
public sealed record MixtureShape(int Experts, int Rank, double Scale, double Dropout = 0)
{
    /// <summary>Number of further experts S, which every token gets with weight 1.</summary>
    public int Shared { get; init; }

    /// <summary>Rows of A and columns of B: C = (E + S) R.</summary>
    public long Columns => (long)(Experts + Shared) * Rank;
}

/// <summary>First values of A; B begins at zero, so a fresh adapter changes nothing.</summary>
public static class LoraInitialization
{
    /// <summary>A of every expert, stacked; each expert draws from its own stream, named by module and
    /// expert.</summary>
    /// <remarks>
    /// Source: huggingface/peft 5d602fd, <c>reset_lora_parameters</c>: Kaiming uniform with a = sqrt 5, which is
    /// U(−1/√D, 1/√D); gaussian: N(0, (1/r)²). One stream an expert: adding a module or an expert never changes
    /// another's first values.
    /// Shapes: → [E·R, D] float32 on the CPU; expert e has rows e·R to e·R + R − 1.
    /// </remarks>
    public static Tensor Down(string path, int experts, int r, long width, string kind, long seed)
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
        return stacked;
    }
}
