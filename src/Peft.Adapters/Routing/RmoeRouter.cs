using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RmoeRouter"/>.</summary>
public sealed record RmoeRouterOptions : ChoosingRouterOptions
{
    /// <summary>The balance loss is the code's.</summary>
    public RmoeRouterOptions() => Balance = new BalanceOptions { Kind = BalanceOptions.Switch };

    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public override int TopK { get; init; } = 2;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default true, as in the code.</value>
    [Key]
    public override bool Normalize { get; init; } = true;

    /// <summary>Width of the state that goes from layer to layer.</summary>
    /// <value>Default 256; from 1. A router costs 6 of its square and D times it a token.</value>
    [Key(Min = 1, Max = 65536)]
    public int HiddenSize { get; init; } = 256;

    /// <summary>Whether the projections of an attention block share one router.</summary>
    /// <value>Default projection, a router each; attention-block: the first adapted projection of a block decides for
    /// all.</value>
    [Key(Choices = [HardSoftRouterOptions.PerProjection, HardSoftRouterOptions.PerAttentionBlock])]
    public string Granularity { get; init; } = HardSoftRouterOptions.PerProjection;

    /// <inheritdoc/>
    public override bool SharesInBlock => Granularity == HardSoftRouterOptions.PerAttentionBlock;
}

/// <summary>The state that a router hands to that of the same projection in the next layer.</summary>
/// <remarks>Shapes: State [N, H] float32. Gradient: through.</remarks>
/// <param name="Chain">Path of the projection without its layer's number.</param>
/// <param name="State">s of the paper.</param>
public sealed record RoutingState(string Chain, Tensor State) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [State];
}

/// <summary>Sends each token to the K best experts by a recurrent state that each layer's router takes over from the
/// layer before.</summary>
/// <remarks>
/// Source: RMoE, arXiv:2408.06793; qiuzh20/RMoE llama_moe_rnn/rnn.py: <c>s_l = GRU(W1 x, s_{l−1})</c>, <c>logits = W2
/// s_l</c>, s_0 = 0, one GRU for all layers, W1 and W2 each layer's own. There a layer has one router; here each
/// adapted projection follows that of the same name in the layer before, and one GRU serves them all.
/// Shapes: x [N, D] → gates [N, E] with K of them above zero in every row.
/// Units: gates are probabilities.
/// Gradient: through the kept probabilities into W2, the GRU, W1 and the earlier layers' routers; the choice carries
/// none.
/// </remarks>
public sealed class RmoeRouter : ChoosingRouter
{
    private readonly RmoeRouterOptions _options;
    private readonly string _chain;
    private readonly Parameter _in;
    private readonly Parameter _weight;
    private readonly GatedUnit _unit;

    /// <summary>Makes the router of one projection.</summary>
    public RmoeRouter(RmoeRouterOptions options, RouterContext context)
        : base(options, context)
    {
        (_options, _chain) = (options, ModulePattern.WithoutLayer(context.Path));
        _in = TakeMatrix("in", options.HiddenSize, context.Width);
        _weight = TakeMatrix("weight", context.Experts, options.HiddenSize);
        register_parameter("in", _in);
        register_parameter("weight", _weight);
        _unit = context.Common("rmoe_gru", FirstUnit, out var isOwner);
        if (!isOwner)
            return;
        register_parameter("gru_in", _unit.In);
        register_parameter("gru_state", _unit.State);
        register_parameter("gru_in_bias", _unit.InBias);
        register_parameter("gru_state_bias", _unit.StateBias);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var before = pass.Records<RoutingState>().LastOrDefault(state => state.Chain == _chain)?.State;
        var state = _unit.Next(Score(x, _in), before);
        pass.Emit(new RoutingState(_chain, state));
        if (ChoosesPlainly(pass))
        {
            var (gates, chosen, p, given) = Fused.topk_softmax(
                state, _weight, new(_options.TopK, _options.Normalize));
            return new RoutingDecision(gates, chosen, p, given);
        }

        var logits = Noisy(x, Score(state, _weight, LogitOffset), pass);
        var probabilities = logits.softmax(-1);
        return Choose(x, logits, probabilities, probabilities, pass);
    }

    /// <inheritdoc/>
    /// <remarks>W1 x, what the unit makes of it and of the state before for r, z and n, and the state.</remarks>
    public override long KeptBytes(int width) => sizeof(float) * 8L * _options.HiddenSize;

    private Parameter TakeMatrix(string name, long rows, long columns) => Take(name, [rows, columns], matrix =>
    {
        using var random = Seeds.GeneratorFor(Context.Seed, $"{Context.Path}.router.{name}");
        Seeded.kaiming_uniform_(matrix, Math.Sqrt(5), random);
    });

    // U(−1/√H, 1/√H) everywhere, as PyTorch begins a GRU; one stream each, whichever projection comes first.
    private GatedUnit FirstUnit()
    {
        long size = _options.HiddenSize;
        return new(
            First("gru_in", [3 * size, size]), First("gru_state", [3 * size, size]), First("gru_in_bias", [3 * size]),
            First("gru_state_bias", [3 * size]));

        Parameter First(string name, long[] shape) => Take(name, shape, values =>
        {
            using var random = Seeds.GeneratorFor(Context.Seed, $"router.{name}");
            values.uniform_(-1 / Math.Sqrt(size), 1 / Math.Sqrt(size), random);
        });
    }
}

/// <summary>A gated recurrent unit.</summary>
/// <remarks>
/// Source: Cho et al. 2014, arXiv:1406.1078, in PyTorch's form and order: <c>r = σ(W_r x + b_r + U_r s + c_r)</c>, z
/// alike, <c>n = tanh(W_n x + b_n + r ∘ (U_n s + c_n))</c>, <c>s' = (1 − z) ∘ n + z ∘ s</c>.
/// </remarks>
/// <param name="In">W of r, z and n, [3 H, H].</param>
/// <param name="State">U of r, z and n, [3 H, H].</param>
/// <param name="InBias">b, [3 H].</param>
/// <param name="StateBias">c, [3 H].</param>
public sealed record GatedUnit(Parameter In, Parameter State, Parameter InBias, Parameter StateBias)
{
    /// <summary>The next state; null stands for zeros.</summary>
    /// <remarks>Shapes: x and state [N, H] → [N, H]. Gradient: through both.</remarks>
    public Tensor Next(Tensor x, Tensor? state)
    {
        var given = Fused.linear(x, In, InBias);                                               // [N, 3 H]
        return state is null
            ? Fused.gated_state(given, StateBias.expand(given.shape), torch.zeros_like(x))
            : Fused.gated_state(given, Fused.linear(state, State, StateBias), state);
    }
}
