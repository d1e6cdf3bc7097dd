using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>A linear map inside a model that can be wrapped in place: the seam between a frozen base and whatever is
/// trained on it.</summary>
/// <remarks>
/// A wrapper is another projection that holds the one it wraps, carries the same path, and calls it. See
/// <see cref="CausalLanguageModel.Wrap"/>.
/// </remarks>
public abstract class Projection : Layer
{
    /// <summary>Makes a projection.</summary>
    /// <param name="path">Hugging Face module path, for example <c>model.layers.0.self_attn.q_proj</c>.</param>
    /// <param name="inFeatures">Width of the input.</param>
    /// <param name="outFeatures">Width of the output.</param>
    protected Projection(string path, long inFeatures, long outFeatures)
        : base(path)
    {
        Path = path;
        InFeatures = inFeatures;
        OutFeatures = outFeatures;
    }

    /// <summary>Hugging Face module path, for example <c>model.layers.0.self_attn.q_proj</c>.</summary>
    public string Path { get; }

    /// <summary>Last segment of <see cref="Path"/>, for example <c>q_proj</c>.</summary>
    public string ShortName => Path[(Path.LastIndexOf('.') + 1)..];

    /// <summary>Width of the input.</summary>
    public long InFeatures { get; }

    /// <summary>Width of the output.</summary>
    public long OutFeatures { get; }

    /// <summary>Whether it is known that each row of the input becomes one of the output: in a feed-forward that is an
    /// expert as a whole there is one for each token and each of its experts.</summary>
    public virtual bool IsRowwise => false;

    /// <summary>Applies the projection.</summary>
    /// <remarks>Shapes: x [..., InFeatures] → [..., OutFeatures].</remarks>
    public abstract Tensor Forward(Tensor x, ForwardPass pass);
}

/// <summary>A linear layer of the base model, frozen unless <see cref="CausalLanguageModel.RequireGrad"/> says
/// otherwise.</summary>
public sealed class BaseLinear : Projection
{
    /// <summary>Makes a layer over weights that exist already.</summary>
    /// <remarks>Shapes: weight [OutFeatures, InFeatures], bias [OutFeatures].</remarks>
    public BaseLinear(string path, Parameter weight, Parameter? bias = null, bool isStoredInputsFirst = false)
        : base(path, weight.shape[1], weight.shape[0])
    {
        IsStoredInputsFirst = isStoredInputsFirst;
        Weight = weight;
        Bias = bias;
        register_parameter("weight", weight);
        if (bias is not null)
            register_parameter("bias", bias);
    }

    /// <summary>The weight.</summary>
    /// <remarks>Shapes: [OutFeatures, InFeatures].</remarks>
    public Parameter Weight { get; }

    /// <summary>The bias, or null.</summary>
    /// <remarks>Shapes: [OutFeatures].</remarks>
    public Parameter? Bias { get; }

    /// <inheritdoc/>
    public override bool IsRowwise => true;

    /// <summary>Whether files hold the weight as [InFeatures, OutFeatures] (GPT-2's Conv1D); here it never
    /// is.</summary>
    public bool IsStoredInputsFirst { get; }

    /// <summary>Whether some tokens alone go through it, as in an expert of the base: what decides for all of them
    /// cannot
    /// wrap it.</summary>
    public bool SeesSomeTokens { get; internal set; }

    /// <summary>Takes <c>PATH.weight</c>, and <c>PATH.bias</c> where there is one, from a source of weights.</summary>
    /// <param name="weights">The source.</param>
    /// <param name="path">Module path.</param>
    /// <param name="inFeatures">Width of the input.</param>
    /// <param name="outFeatures">Width of the output.</param>
    /// <param name="hasBias">Whether there is a bias.</param>
    /// <param name="isStoredInputsFirst">Whether files hold the weight as [inFeatures, outFeatures].</param>
    public static BaseLinear From(
        WeightSource weights, string path, long inFeatures, long outFeatures, bool hasBias,
        bool isStoredInputsFirst = false) =>
        new(path,
            isStoredInputsFirst
                ? weights.TakeTransposed($"{path}.weight", WeightKind.Matrix, outFeatures, inFeatures)
                : weights.Take($"{path}.weight", WeightKind.Matrix, outFeatures, inFeatures),
            hasBias ? weights.Take($"{path}.bias", WeightKind.Bias, outFeatures) : null,
            isStoredInputsFirst);

    /// <inheritdoc/>
    /// <remarks>
    /// Shapes: x [..., InFeatures] → [..., OutFeatures].
    /// Errors: ArgumentException when the input has another width.
    /// </remarks>
    public override Tensor Forward(Tensor x, ForwardPass pass)
    {
        var width = x.shape[^1];
        if (width != InFeatures)
            throw new ArgumentException($"{Path}: input width {width}, weight expects {InFeatures}", nameof(x));
        return Fused.linear(x, Weight, Bias);
    }
}

/// <summary>The place in a layer where a projection stands: remembers the base layer and whatever wraps it
/// now.</summary>
public sealed class ProjectionSlot
{
    private readonly Action<Projection> _register;

    /// <summary>Makes a slot that holds the base layer itself.</summary>
    /// <param name="baseLinear">The layer that came with the model.</param>
    /// <param name="register">Puts a wrapper in the base's place among the owner's modules, so that its parameters are
    /// found.</param>
    public ProjectionSlot(BaseLinear baseLinear, Action<Projection> register)
    {
        Base = baseLinear;
        Projection = baseLinear;
        _register = register;
    }

    /// <summary>The layer that came with the model.</summary>
    public BaseLinear Base { get; }

    /// <summary>What runs: the base layer, or the wrapper around it.</summary>
    public Projection Projection { get; private set; }

    /// <summary>True while nothing wraps the base layer.</summary>
    public bool IsPlain => ReferenceEquals(Projection, Base);

    /// <summary>Replaces what runs by what <paramref name="wrap"/> makes of it. The wrapper owns what it
    /// wraps.</summary>
    /// <exception cref="InvalidOperationException">The wrapper has another path or other widths.</exception>
    public void Wrap(Func<Projection, Projection> wrap)
    {
        var wrapped = wrap(Projection);
        if (wrapped.Path != Base.Path || wrapped.InFeatures != Base.InFeatures
            || wrapped.OutFeatures != Base.OutFeatures)
        {
            throw new InvalidOperationException(
                $"{Base.Path} [{Base.OutFeatures}, {Base.InFeatures}] was wrapped by {wrapped.Path} " +
                $"[{wrapped.OutFeatures}, {wrapped.InFeatures}]; a wrapper keeps the path and both widths");
        }

        _register(wrapped);
        Projection = wrapped;
    }

    /// <summary>Runs the projection.</summary>
    /// <remarks>Shapes: x [..., InFeatures] → [..., OutFeatures].</remarks>
    public Tensor Forward(Tensor x, ForwardPass pass) => Projection.Forward(x, pass);
}
