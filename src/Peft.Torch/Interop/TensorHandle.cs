using System.Runtime.InteropServices;

namespace Peft.Torch.Interop;

/// <summary>Owns one <c>pt_tensor*</c>. Freed by <see cref="SafeHandle.Dispose()"/>, at the latest when
/// collected.</summary>
internal sealed class TensorHandle : SafeHandle
{
    /// <summary>Stands for "no tensor" where an argument is optional.</summary>
    internal static readonly TensorHandle None = new();

    /// <summary>An empty handle, filled by the marshaller of <c>out</c> parameters.</summary>
    public TensorHandle()
        : base(0, ownsHandle: true)
    {
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMethods.pt_tensor_free(handle);
        return true;
    }
}
