using Peft.Models.Loading;

namespace Peft.Models;

/// <summary>A linear layer of the base model, frozen unless <see cref="CausalLanguageModel.RequireGrad"/> says otherwise.</summary>
public sealed class BaseLinear : Projection
{
    /// <summary>Makes a layer over weights that exist already.</summary>
    /// <remarks>Shapes: weight [OutFeatures, InFeatures], bias [OutFeatures].</remarks>
    public BaseLinear(string path, Parameter weight, Parameter? bias = null)
        : base(path, weight.shape[1], weight.shape[0])
    {
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

    /// <summary>Takes <c>PATH.weight</c>, and <c>PATH.bias</c> where there is one, from a source of weights.</summary>
    public static BaseLinear From(WeightSource weights, string path, long inFeatures, long outFeatures, bool hasBias) =>
        new(path,
            weights.Take($"{path}.weight", WeightKind.Matrix, outFeatures, inFeatures),
            hasBias ? weights.Take($"{path}.bias", WeightKind.Bias, outFeatures) : null);

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
