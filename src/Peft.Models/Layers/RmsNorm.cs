using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>Root mean square norm.</summary>
/// <remarks>Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; statistics in float32, cast before the scale, as Llama does.</remarks>
public sealed class RmsNorm : Layer
{
    private readonly double _epsilon;

    /// <summary>Takes <c>PATH.weight</c> from a source of weights.</summary>
    public RmsNorm(WeightSource weights, string path, long width, double epsilon)
        : base(path)
    {
        _epsilon = epsilon;
        Weight = weights.Take($"{path}.weight", WeightKind.Scale, width);
        register_parameter("weight", Weight);
    }

    /// <summary>The scale.</summary>
    /// <remarks>Shapes: [width].</remarks>
    public Parameter Weight { get; }

    /// <summary>Normalises the last dimension.</summary>
    /// <remarks>Shapes: x [..., width] → the same.</remarks>
    public Tensor Forward(Tensor x) => Fused.rms_norm(x, Weight, _epsilon);
}
