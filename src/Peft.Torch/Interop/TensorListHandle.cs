using System.Runtime.InteropServices;

namespace Peft.Torch.Interop;

/// <summary>Owns one <c>pt_list*</c>: several tensors in order, kept alive by the list itself.</summary>
internal sealed class TensorListHandle : SafeHandle
{
    /// <summary>Stands for "no list" where an argument is optional.</summary>
    internal static readonly TensorListHandle None = new();

    /// <summary>An empty handle, filled by the marshaller of <c>out</c> parameters.</summary>
    public TensorListHandle()
        : base(0, ownsHandle: true)
    {
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>A list of the given tensors.</summary>
    internal static TensorListHandle Of(IEnumerable<Tensor> tensors)
    {
        NativeMethods.pt_list_new(out var list);
        foreach (var tensor in tensors) NativeMethods.pt_list_add(list, tensor.Handle);
        return list;
    }

    /// <summary>The tensors of the list as members of the open dispose scope; null where one is undefined.</summary>
    internal Tensor?[] ToTensors()
    {
        NativeMethods.pt_list_count(this, out var count);
        var tensors = new Tensor?[count];
        for (var i = 0L; i < count; i++)
        {
            NativeMethods.pt_list_get(this, i, out var item);
            tensors[i] = item.IsInvalid ? null : new Tensor(item);
        }

        return tensors;
    }

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMethods.pt_list_free(handle);
        return true;
    }
}
