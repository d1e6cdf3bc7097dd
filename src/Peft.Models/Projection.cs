namespace Peft.Models;

/// <summary>A linear map inside a model that can be wrapped in place: the seam between a frozen base and whatever is trained on it.</summary>
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

    /// <summary>Applies the projection.</summary>
    /// <remarks>Shapes: x [..., InFeatures] → [..., OutFeatures].</remarks>
    public abstract Tensor Forward(Tensor x, ForwardPass pass);
}
