using System.Runtime.InteropServices;

namespace Peft.Torch.Interop;

/// <summary>Owns one <c>pt_generator*</c>.</summary>
internal sealed class GeneratorHandle : SafeHandle
{
    /// <summary>Stands for libtorch's default generator.</summary>
    internal static readonly GeneratorHandle None = new();

    /// <summary>An empty handle, filled by the marshaller of <c>out</c> parameters.</summary>
    public GeneratorHandle()
        : base(0, ownsHandle: true)
    {
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMethods.pt_generator_free(handle);
        return true;
    }
}
