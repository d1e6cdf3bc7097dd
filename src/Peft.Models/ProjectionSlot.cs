namespace Peft.Models;

/// <summary>The place in a layer where a projection stands: remembers the base layer and whatever wraps it now.</summary>
public sealed class ProjectionSlot
{
    private readonly Action<Projection> _register;

    /// <summary>Makes a slot that holds the base layer itself.</summary>
    /// <param name="baseLinear">The layer that came with the model.</param>
    /// <param name="register">Puts a wrapper in the base's place among the owner's modules, so that its parameters are found.</param>
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

    /// <summary>Replaces what runs by what <paramref name="wrap"/> makes of it. The wrapper owns what it wraps.</summary>
    /// <exception cref="InvalidOperationException">The wrapper has another path or other widths.</exception>
    public void Wrap(Func<Projection, Projection> wrap)
    {
        var wrapped = wrap(Projection);
        if (wrapped.Path != Base.Path || wrapped.InFeatures != Base.InFeatures || wrapped.OutFeatures != Base.OutFeatures)
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
