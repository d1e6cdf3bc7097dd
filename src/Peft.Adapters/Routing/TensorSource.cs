namespace Peft.Adapters.Routing;

/// <summary>Where an adapter that is put on a base takes its tensors from, by name: drawn, or read from
/// files.</summary>
/// <remarks>As the base itself is loaded: what needs a tensor names it, and there is no second list of names.</remarks>
public abstract class TensorSource
{
    /// <summary>Draws everything.</summary>
    public static TensorSource Fresh { get; } = new FreshTensors();

    /// <summary>One tensor on the CPU, in memory of its own.</summary>
    /// <remarks>Shapes: as given.</remarks>
    /// <param name="name">Module path and <c>lora_A</c>, <c>lora_B</c> or <c>router.NAME</c>.</param>
    /// <param name="dtype">Its type.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="first">Makes its first values; called only where they are needed.</param>
    public abstract Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first);

    /// <summary>The same where the source has it; null where it has not.</summary>
    /// <remarks>Shapes: as given.</remarks>
    public virtual Tensor? TakeIfHeld(string name, ScalarType dtype, long[] shape) => null;

    /// <summary>Throws every fault that was met; nothing when all fits.</summary>
    public virtual void Finish()
    {
    }

    private sealed class FreshTensors : TensorSource
    {
        public override Tensor Take(string name, ScalarType dtype, long[] shape, Func<Tensor> first) => first();
    }
}
