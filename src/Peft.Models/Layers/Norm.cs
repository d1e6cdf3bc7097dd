using Peft.Models.Loading;

namespace Peft.Models.Layers;

/// <summary>How activations are normalised.</summary>
public enum NormKind
{
    /// <summary><c>w x / sqrt(mean(x²) + eps)</c>: Llama and most others.</summary>
    Rms,

    /// <summary>The same with <c>1 + w</c> as the scale: Gemma.</summary>
    RmsPlusOne,

    /// <summary><c>w (x − mean) / sqrt(variance + eps) + b</c>.</summary>
    Layer,

    /// <summary>The same without <c>b</c>: Cohere.</summary>
    LayerWithoutBias,
}

/// <summary>Normalises the last dimension.</summary>
/// <remarks>Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4; Ba et al. 2016, arXiv:1607.06450. Statistics are
/// float32; Llama casts before the scale, Gemma after it.</remarks>
public sealed class Norm : Layer
{
    private readonly NormKind _kind;
    private readonly double _epsilon;
    private readonly Parameter[] _weights;
    private readonly Parameter? _bias;

    /// <summary>Takes <c>PATH.weight</c>, and <c>PATH.bias</c> where the kind has one, from a source of
    /// weights.</summary>
    /// <param name="weights">The source.</param>
    /// <param name="path">Module path.</param>
    /// <param name="kind">How it normalises.</param>
    /// <param name="epsilon">Added to the mean square or the variance.</param>
    /// <param name="shape">[width], or [heads, width] for heads with a scale each.</param>
    public Norm(WeightSource weights, string path, NormKind kind, double epsilon, params long[] shape)
        : this(path, kind, epsilon, [weights.Take($"{path}.weight", DrawnAs(kind), shape)])
    {
        register_parameter("weight", _weights[0]);
        if (kind != NormKind.Layer)
            return;
        _bias = weights.Take($"{path}.bias", WeightKind.Bias, shape);
        register_parameter("bias", _bias);
    }

    private Norm(string path, NormKind kind, double epsilon, Parameter[] weights)
        : base(path) => (_kind, _epsilon, _weights) = (kind, epsilon, weights);

    /// <summary>A norm of heads whose scales are tensors of their own, <c>PATH.norms.HEAD.weight</c>.</summary>
    /// <remarks>Shapes: each [width].</remarks>
    public static Norm OfHeads(WeightSource weights, string path, NormKind kind, double epsilon, int heads, long width)
    {
        var norm = new Norm(path, kind, epsilon, [.. Enumerable.Range(0, heads).Select(head =>
            weights.Take($"{path}.norms.{head}.weight", DrawnAs(kind), width))]);
        foreach (var (weight, head) in norm._weights.Select((weight, head) => (weight, head)))
            norm.register_parameter($"norms_{head}_weight", weight);
        return norm;
    }

    /// <summary>The scale.</summary>
    /// <remarks>Shapes: [width] or [heads, width].</remarks>
    public Tensor Weight => _weights.Length == 1 ? _weights[0] : torch.stack(_weights);

    /// <summary>Normalises the last dimension.</summary>
    /// <remarks>Shapes: x [..., width] → the same. Gradient: to x and the weights.</remarks>
    public Tensor Forward(Tensor x)
    {
        if (_kind == NormKind.Rms)
            return Fused.rms_norm(x, Weight, _epsilon);
        var wide = x.dtype == ScalarType.Float64 ? x.dtype : ScalarType.Float32;
        if (_kind == NormKind.RmsPlusOne)
            return Fused.rms_norm(x.to(wide), Weight.to(wide) + 1, _epsilon).to(x.dtype);
        var weight = Weight;
        if (weight.dim() == 1)
            return torch.nn.functional.layer_norm(x, [weight.shape[0]], weight, _bias, _epsilon);
        var normal = torch.nn.functional.layer_norm(x.to(wide), [weight.shape[^1]], eps: _epsilon);
        return (normal * weight.to(wide)).to(x.dtype);
    }

    /// <summary>The same, and x itself for what it is added to later: where it can, the gradients of both ways are made
    /// together.</summary>
    public (Tensor Normal, Tensor X) Beside(Tensor x) =>
        _kind == NormKind.Rms ? Fused.rms_norm_beside(x, Weight, _epsilon) : (Forward(x), x);

    // A scale of 1 + w begins as one where w is zero.
    private static WeightKind DrawnAs(NormKind kind) =>
        kind == NormKind.RmsPlusOne ? WeightKind.Bias : WeightKind.Scale;
}
