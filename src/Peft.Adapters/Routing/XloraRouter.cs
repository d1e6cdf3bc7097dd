using System.Globalization;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="XloraRouter"/>; keys as in PEFT's XLoraConfig.</summary>
public sealed record XloraRouterOptions : ExpertRouterOptions
{
    /// <summary>Linear layers of the classifier.</summary>
    /// <value>Default 1; from 1.</value>
    [Key(Min = 1, Max = 64)]
    public int XloraDepth { get; init; } = 1;

    /// <summary>Width of the layers before the last.</summary>
    /// <value>Default 2048; from 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int XloraSize { get; init; } = 2048;

    /// <summary>Share of their outputs that is dropped in training.</summary>
    /// <value>Default 0.2; from 0 to below 1.</value>
    [Key(Min = 0, Max = 0.999)]
    public double XloraDropoutP { get; init; } = 0.2;

    /// <summary>Whether each projection has a last layer, and so gates, of its own.</summary>
    /// <value>Default false: all projections have the same gates.</value>
    [Key]
    public bool LayerwiseScalings { get; init; }

    /// <summary>Whether the classifier's outputs go through a softmax.</summary>
    /// <value>Default true.</value>
    [Key]
    public bool EnableSoftmax { get; init; } = true;

    /// <summary>Divisor of the outputs before it.</summary>
    /// <value>Default 1; above 0.</value>
    [Key(Above = 0)]
    public double SoftmaxTemperature { get; init; } = 1;

    /// <summary>Experts each token keeps; the others' gates become 0 and the kept ones stay as they are.</summary>
    /// <value>Default 0, all of them; up to the number of experts.</value>
    [Key(Min = 0), UpTo(Limit.Experts)]
    public int TopKLora { get; init; }

    /// <summary>Whether the kept gates go through a softmax, those that are soft already too.</summary>
    /// <value>Default false. With top_k_lora.</value>
    [Key]
    public bool EnableSoftmaxTopk { get; init; }

    /// <summary>The gate of every expert in the pass that the classifier goes by.</summary>
    /// <value>Default 0, the base alone; from 0. PEFT's None is 1 / experts.</value>
    [Key(Min = 0)]
    public double ScalingPassValue { get; init; }

    /// <summary>Factor on all gates.</summary>
    /// <value>Default 1; above 0.</value>
    [Key(Above = 0)]
    public double GlobalScalingWeight { get; init; } = 1;

    /// <inheritdoc/>
    public override PreliminaryPass Preliminary => PreliminaryPass.Tokens;

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => TopKLora == 0 ? experts : TopKLora;

    /// <inheritdoc/>
    public override IEnumerable<IneffectiveKey> Ineffective() =>
    [
        .. base.Ineffective(),
        .. IneffectiveKey.If(XloraDepth == 1, "xlora_size", XloraSize, 2048, "xlora_depth: 1"),
        .. IneffectiveKey.If(XloraDepth == 1, "xlora_dropout_p", XloraDropoutP, 0.2, "xlora_depth: 1"),
        .. IneffectiveKey.If(
            !EnableSoftmax, "softmax_temperature", SoftmaxTemperature, 1, "enable_softmax: false"),
    ];

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (!EnableSoftmax && Balance.Kind != BalanceOptions.None)
            reader.Section("balance").Fault(
                "kind", Balance.Kind, "none with enable_softmax: false",
                "it balances probabilities, and there are none");
        if (EnableSoftmaxTopk && TopKLora == 0)
            reader.Fault(
                "enable_softmax_topk", "true with top_k_lora: 0", "a top_k_lora of at least 1 beside it",
                "where all experts are kept, enable_softmax is enough");
    }
}

/// <summary>Gates from a classifier of what the model without the experts makes of each token: every pass is preceded
/// by one of the base.</summary>
/// <remarks>
/// Source: X-LoRA, arXiv:2402.07148; huggingface/peft tuners/xlora: pass 1 with every gate <c>scaling_pass_value</c>,
/// h its activations behind the last norm; <c>p = softmax(C(h) / T)</c>, C a linear layer with bias, or several with
/// ReLU and dropout between; top-k sets the others to 0; pass 2 <c>y = W x + g Σ_e p_e s_e B_e A_e x</c>. There no
/// cache is used while writing; here each of the two passes has one, which changes no number.
/// Shapes: x [N, D] → gates [N, E].
/// Gradient: reaches the classifier through the gates; none goes into pass 1.
/// </remarks>
public sealed class XloraRouter : Router
{
    private readonly XloraRouterOptions _options;
    private readonly Classifier _shared;
    private readonly LinearLayer _last;

    /// <summary>Makes the router of one projection.</summary>
    public XloraRouter(XloraRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _shared = context.Common("xlora", FirstClassifier, out var isOwner);
        _last = _shared.Last ?? NewLayer("", context.Path, context.Experts, LastWidth);
        if (isOwner)
        {
            foreach (var (number, layer) in _shared.Inner.Index())
                Register(InnerName(number), layer);
        }

        if (isOwner || _shared.Last is null)
            Register("", _last);
    }

    /// <inheritdoc/>
    public override double PreliminaryGate => _options.ScalingPassValue * _options.GlobalScalingWeight;

    private long Hidden => Context.HiddenSize == 0 ? Context.Width : Context.HiddenSize;

    private long LastWidth => _options.XloraDepth == 1 ? Hidden : _options.XloraSize;

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        if (_options.LayerwiseScalings || Context.HiddenSize == 0)
            return Decide(_last.Of(InnerOf(x, pass)));
        if (pass.Records<SharedDecision>() is not [.., var made])
            pass.Emit(made = new SharedDecision(Decide(_last.Of(InnerOf(x, pass)))));
        return made.Again();
    }

    private RoutingDecision Decide(Tensor logits)
    {
        var p = _options.EnableSoftmax ? (logits / _options.SoftmaxTemperature).softmax(-1) : logits;
        var kept = _options.TopKLora == 0 ? torch.ones_like(p).to(torch.@bool)
            : Selection.TopMask(p, _options.TopKLora);
        var gates = _options.TopKLora == 0 ? p : p * kept;
        if (_options.EnableSoftmaxTopk)
            gates = gates.masked_fill(gates.detach().eq(0), double.NegativeInfinity).softmax(-1);
        return new RoutingDecision(
            gates * _options.GlobalScalingWeight, kept, _options.EnableSoftmax ? p : null, logits);
    }

    // The classifier without its last layer, once a pass: dropout is drawn once.
    private Tensor InnerOf(Tensor x, ForwardPass pass)
    {
        if (_shared.Inner.Count > 0 && pass.Records<InnerState>() is [.., var made])
            return made.State;
        var h = Preliminary(x, pass).detach().reshape(-1, Hidden).to(torch.float32);           // [N, H]
        if (h.shape[0] != x.numel() / x.shape[^1])
            throw new InvalidOperationException(
                $"{Context.Path}: {x.numel() / x.shape[^1]} tokens, and the preliminary pass had {h.shape[0]}");
        foreach (var layer in _shared.Inner)
            h = Dropped(x, layer.Of(h).relu(), pass);
        if (_shared.Inner.Count > 0 && Context.HiddenSize > 0)
            pass.Emit(new InnerState(h));
        return h;
    }

    private Tensor Dropped(Tensor x, Tensor h, ForwardPass pass)
    {
        if (!pass.Drops || _options.XloraDropoutP == 0)
            return h;
        if (pass.Random is null)
            throw new InvalidOperationException(
                $"{Context.Path}: xlora_dropout_p is {_options.XloraDropoutP}, and the training pass has no random "
                    + "numbers; give it a generator");
        return pass.Dropout(h.reshape([.. x.shape[..^1], h.shape[1]]), _options.XloraDropoutP).reshape(h.shape);
    }

    private static string InnerName(int number) => string.Create(CultureInfo.InvariantCulture, $"inner_{number}_");

    private Classifier FirstClassifier() => new(
        [.. Enumerable.Range(0, _options.XloraDepth - 1).Select(number => NewLayer(
            InnerName(number), "", _options.XloraSize, number == 0 ? Hidden : _options.XloraSize))],
        _options.LayerwiseScalings ? null : NewLayer("", "", Context.Experts, LastWidth));

    // U(−1/√D, 1/√D) for weight and bias, as PyTorch begins a linear layer; whichever projection comes first, the
    // classifier that all share draws the same.
    private LinearLayer NewLayer(string name, string path, long outputs, long inputs)
    {
        return new(First("weight", [outputs, inputs]), First("bias", [outputs]));

        Parameter First(string part, long[] shape) => Take(name + part, shape, values =>
        {
            using var random = Seeds.GeneratorFor(Context.Seed, $"{path}.router.{name}{part}");
            values.uniform_(-1 / Math.Sqrt(inputs), 1 / Math.Sqrt(inputs), random);
        });
    }

    private void Register(string name, LinearLayer layer)
    {
        register_parameter($"{name}weight", layer.Weight);
        register_parameter($"{name}bias", layer.Bias);
    }

    private sealed record LinearLayer(Parameter Weight, Parameter Bias)
    {
        public Tensor Of(Tensor x) => Fused.linear(x, Weight, Bias);
    }

    private sealed record Classifier(IReadOnlyList<LinearLayer> Inner, LinearLayer? Last);

    private sealed record InnerState(Tensor State) : IPassRecord
    {
        public IEnumerable<Tensor> Tensors => [State];
    }

    private sealed record SharedDecision(RoutingDecision Decision) : IPassRecord
    {
        public IEnumerable<Tensor> Tensors => Decision.Tensors;

        // Handles of its own: with gradient checkpointing a record lives as long as its block's second run.
        public RoutingDecision Again() => new(
            Decision.Gates.alias(), Decision.Selected.alias(), Decision.Probabilities?.alias(),
            Decision.Logits?.alias());
    }
}
