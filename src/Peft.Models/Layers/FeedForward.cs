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
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        if (_gate is not null)
            return _down.Forward(_activation.Gate(_gate.Forward(x, pass), _up.Forward(x, pass)), pass);
        var up = _up.Forward(x, pass);
        if (!_isFused)
            return _down.Forward(_activation.Forward(up), pass);
        var inner = up.shape[^1] / 2;
        return _down.Forward(
            _activation.Gate(up.narrow(-1, 0, inner).contiguous(), up.narrow(-1, inner, inner).contiguous()), pass);
    }
}

/// <summary>A non-linearity by Hugging Face's name.</summary>
public sealed class Activation
{
    private static readonly Dictionary<string, Func<Tensor, Tensor>> All = new(StringComparer.Ordinal)
    {
        ["silu"] = x => torch.nn.functional.silu(x),
        ["swish"] = x => torch.nn.functional.silu(x),
        ["gelu"] = x => torch.nn.functional.gelu(x),
        ["gelu_python"] = x => torch.nn.functional.gelu(x),
        ["gelu_new"] = TanhGelu,
        ["gelu_pytorch_tanh"] = TanhGelu,
        ["gelu_fast"] = TanhGelu,
        ["quick_gelu"] = x => x * (1.702 * x).sigmoid(),
        ["relu"] = x => torch.nn.functional.relu(x),
        ["relu2"] = x => torch.nn.functional.relu(x).square(),
        ["sigmoid"] = x => x.sigmoid(),
        ["tanh"] = x => x.tanh(),
    };

    private readonly Func<Tensor, Tensor> _function;
    private readonly bool _isSilu;

    private Activation(string name, Func<Tensor, Tensor> function) =>
        (_function, _isSilu) = (function, IsSilu(name));

    /// <summary>The names that are known.</summary>
    public static IReadOnlyList<string> Names => [.. All.Keys];

    /// <summary>Whether a name is that of SiLU.</summary>
    public static bool IsSilu(string name) => name is "silu" or "swish";

    /// <summary>Numbers that training keeps of each inner one beyond gate and up, of which SwiGLU's product is computed
    /// again: of the model's type, and float32.</summary>
    /// <param name="name">The non-linearity.</param>
    /// <param name="isPlain">Whether there is no gate.</param>
    public static (long Own, long Wide) KeptBeyondSwiGlu(string name, bool isPlain) => name switch
    {
        _ when IsSilu(name) && !isPlain => (0, 0),
        "gelu_new" or "gelu_pytorch_tanh" or "gelu_fast" => (1, 4), // a copy in place of the gate, three results
        "quick_gelu" or "relu2" => (3, 0),
        _ => (2, 0),
    };

    /// <summary>The function of a name, or null.</summary>
    public static Activation? Of(string name) =>
        All.TryGetValue(name, out var function) ? new Activation(name, function) : null;

    /// <summary>Applies it.</summary>
    public Tensor Forward(Tensor x) => _function(x);

    /// <summary><c>act(gate) * up</c>.</summary>
    /// <remarks>Shapes: both alike.</remarks>
    public Tensor Gate(Tensor gate, Tensor up) => _isSilu ? Fused.swiglu(gate, up) : _function(gate) * up;

    // Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2; float32 within, as the library's own.
    private static Tensor TanhGelu(Tensor x)
    {
        var wide = x.dtype == ScalarType.Float64 ? x : x.to(ScalarType.Float32);
        var inner = (wide + (0.044715 * wide.pow(3))) * Math.Sqrt(2 / Math.PI);
        return (0.5 * wide * (inner.tanh() + 1)).to(x.dtype);
    }
}
