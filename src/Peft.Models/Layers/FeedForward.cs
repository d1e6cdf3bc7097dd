using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>What transforms each token by itself in a block.</summary>
public abstract class FeedForward(string path) : Layer(path)
{
    /// <summary>The projections, in module order.</summary>
    public abstract IReadOnlyList<ProjectionSlot> Slots { get; }

    /// <summary>Transforms each token by itself.</summary>
    /// <remarks>Shapes: x [B, T, D] → [B, T, D].</remarks>
    public abstract Tensor Forward(Tensor x, ForwardPass pass);

    /// <summary>The feed-forward of a layer: of experts where the config says so.</summary>
    public static FeedForward Of(DecoderConfig config, WeightSource weights, string path, int layer) =>
        config.Experts is { } experts && experts.Layers[layer]
            ? new ExpertFeedForward(config, experts, weights, path)
            : new DenseFeedForward(config, config.Names.FeedForward, config.IntermediateSize, weights, path);

    /// <summary>Takes a linear layer and registers it under the last part of its path.</summary>
    private protected ProjectionSlot Slot(
        DecoderConfig config, WeightSource weights, string path, string name, long inFeatures, long outFeatures,
        bool hasBias, bool seesSomeTokens = false)
    {
        var linear = BaseLinear.From(
            weights, DecoderNames.Join(path, name), inFeatures, outFeatures, hasBias, config.StoresInputsFirst);
        linear.SeesSomeTokens = seesSomeTokens;
        RegisterModule(name, linear);
        return new ProjectionSlot(linear, wrapped => ReplaceModule(name, wrapped));
    }
}

/// <summary>The gated feed-forward, <c>down(act(gate(x)) * up(x))</c>, with gate and up apart or as one projection; or
/// the plain one, <c>down(act(up(x)))</c>.</summary>
/// <remarks>Source: Shazeer 2020, arXiv:2002.05202 (SwiGLU, GEGLU).</remarks>
public sealed class DenseFeedForward : FeedForward
{
    private readonly Activation _activation;
    private readonly ProjectionSlot? _gate;
    private readonly ProjectionSlot _up; // gate and up where they are one projection
    private readonly ProjectionSlot _down;
    private readonly bool _isFused;

    /// <summary>Takes the projections from a source of weights.</summary>
    /// <param name="config">The decoder's config.</param>
    /// <param name="names">What the projections are called.</param>
    /// <param name="inner">The inner width.</param>
    /// <param name="weights">The source.</param>
    /// <param name="path">Module path.</param>
    /// <param name="isExpert">Whether some tokens alone go through it.</param>
    public DenseFeedForward(
        DecoderConfig config, FeedForwardNames names, long inner, WeightSource weights, string path,
        bool isExpert = false)
        : base(path)
    {
        _activation = Activation.Of(config.Activation)!;
        _isFused = names.GateUp is not null;
        if (_isFused)
            weights.Explain($"{path}.{names.GateUp}.weight", $"it holds gate and up, each {inner} wide");
        if (names.Gate is { } gate)
            _gate = Slot(config, weights, path, gate, config.HiddenSize, inner, config.FeedForwardBias, isExpert);
        _up = Slot(
            config, weights, path, names.GateUp ?? names.Up, config.HiddenSize, _isFused ? 2 * inner : inner,
            config.FeedForwardBias, isExpert);
        _down = Slot(
            config, weights, path, names.Down, inner, config.HiddenSize, config.FeedForwardBias, isExpert);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<ProjectionSlot> Slots => _gate is null ? [_up, _down] : [_gate, _up, _down];

    /// <inheritdoc/>
    public override Tensor Forward(Tensor x, ForwardPass pass) =>
        _down.Forward(Inner(slot => slot.Forward(x, pass)), pass);

    /// <summary>What the last projection takes, made by the layers that came with the model alone.</summary>
    /// <remarks>Shapes: x [.., D] → [.., F]. Gradient: none.</remarks>
    public Tensor FrozenInner(Tensor x)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var pass = ForwardPass.ForInference();
        return Inner(slot => slot.Base.Forward(x, pass)).MoveToOuterDisposeScope();
    }

    private Tensor Inner(Func<ProjectionSlot, Tensor> run)
    {
        if (_gate is not null)
            return _activation.Gate(run(_gate), run(_up));
        var up = run(_up);
        if (!_isFused)
            return _activation.Forward(up);
        var inner = up.shape[^1] / 2;
        return _activation.Gate(up.narrow(-1, 0, inner).contiguous(), up.narrow(-1, inner, inner).contiguous());
    }
}

/// <summary>A non-linearity by Hugging Face's name.</summary>
public sealed class Activation
{
    private static readonly Activation Silu = new(x => torch.nn.functional.silu(x), Fused.swiglu);
    private static readonly Activation TanhGelu = new(Fused.gelu_tanh, Fused.geglu_tanh);
    private static readonly Activation Gelu = new(x => torch.nn.functional.gelu(x));

    private static readonly Dictionary<string, Activation> All = new(StringComparer.Ordinal)
    {
        ["silu"] = Silu,
        ["swish"] = Silu,
        ["gelu"] = Gelu,
        ["gelu_python"] = Gelu,
        ["gelu_new"] = TanhGelu,
        ["gelu_pytorch_tanh"] = TanhGelu,
        ["gelu_fast"] = TanhGelu,
        ["quick_gelu"] = new(x => x * (1.702 * x).sigmoid()),
        ["relu"] = new(x => torch.nn.functional.relu(x)),
        ["relu2"] = new(x => torch.nn.functional.relu(x).square()),
        ["sigmoid"] = new(x => x.sigmoid()),
        ["tanh"] = new(x => x.tanh()),
    };

    private readonly Func<Tensor, Tensor> _function;
    private readonly Func<Tensor, Tensor, Tensor>? _gated;

    private Activation(Func<Tensor, Tensor> function, Func<Tensor, Tensor, Tensor>? gated = null) =>
        (_function, _gated) = (function, gated);

    /// <summary>The names that are known.</summary>
    public static IReadOnlyList<string> Names => [.. All.Keys];

    /// <summary>Whether a name is that of SiLU.</summary>
    public static bool IsSilu(string name) => name is "silu" or "swish";

    /// <summary>Numbers of the model's type that training keeps of each inner one beyond Llama's gate and up: what our
    /// own operations give is computed again.</summary>
    public static long KeptBeyondSwiGlu(string name, bool isGated) => (name, All.GetValueOrDefault(name)) switch
    {
        (_, { _gated: not null }) when isGated => 0,
        (_, { } known) when known == TanhGelu => -1,
        ("quick_gelu" or "relu2", _) => isGated ? 3 : 1,
        _ => isGated ? 2 : 0,
    };

    /// <summary>The function of a name, or null.</summary>
    public static Activation? Of(string name) => All.GetValueOrDefault(name);

    /// <summary>Applies it.</summary>
    public Tensor Forward(Tensor x) => _function(x);

    /// <summary><c>act(gate) * up</c>.</summary>
    /// <remarks>Shapes: both alike.</remarks>
    public Tensor Gate(Tensor gate, Tensor up) => _gated?.Invoke(gate, up) ?? (_function(gate) * up);
}
