using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

/// <summary>An array of numbers on a device, with TorchSharp's names and meaning.</summary>
/// <remarks>Life: a new tensor joins the thread's innermost <see cref="DisposeScope"/> and dies with it; without one,
/// call
/// <see cref="Dispose()"/>. Autograd keeps what backward needs by itself, whatever is disposed here.</remarks>
public partial class Tensor : IDisposable
{
    /// <summary>Takes over a native handle and joins the open scope.</summary>
    internal Tensor(TensorHandle handle)
        : this(handle, joinScope: true)
    {
    }

    private protected Tensor(TensorHandle handle, bool joinScope)
    {
        Handle = handle;
        if (joinScope) DisposeScope.Current?.Add(this);
    }

    /// <summary>The native tensor.</summary>
    internal TensorHandle Handle { get; }

    /// <summary>The scope this tensor dies with; null when it is on its own.</summary>
    internal DisposeScope? Scope { get; set; }

    /// <summary>Its place in the scope's list.</summary>
    internal int ScopeSlot { get; set; }

    /// <summary>True once disposed.</summary>
    public bool IsInvalid => Handle.IsInvalid || Handle.IsClosed;

    /// <summary>Sizes of the dimensions.</summary>
    public long[] shape
    {
        get
        {
            var sizes = new long[ndim];
            pt_tensor_shape(Handle, sizes, sizes.Length);
            return sizes;
        }
    }

    /// <summary>Elements to step over per dimension.</summary>
    public long[] strides
    {
        get
        {
            var steps = new long[ndim];
            pt_tensor_strides(Handle, steps, steps.Length);
            return steps;
        }
    }

    /// <summary>Number of dimensions.</summary>
    public long ndim
    {
        get
        {
            pt_tensor_dim(Handle, out var dim);
            return dim;
        }
    }

    /// <summary>Element type.</summary>
    public ScalarType dtype
    {
        get
        {
            pt_tensor_dtype(Handle, out var number);
            return (ScalarType)number;
        }
    }

    /// <summary>Where the elements lie.</summary>
    public Device device
    {
        get
        {
            pt_tensor_device(Handle, out var kind, out var index);
            return new Device((DeviceType)kind, index);
        }
    }

    /// <summary>Size of the elements in bytes.</summary>
    public long nbytes => numel() * dtype.ElementSize();

    /// <summary>Number of elements.</summary>
    public long numel()
    {
        pt_tensor_numel(Handle, out var count);
        return count;
    }

    /// <summary>Size of one dimension; negative counts from the last.</summary>
    public long size(long dim)
    {
        var sizes = shape;
        var index = dim < 0 ? dim + sizes.Length : dim;
        if (index < 0 || index >= sizes.Length)
        {
            throw new ArgumentOutOfRangeException(nameof(dim), dim,
                $"dimension {dim} of a tensor of shape [{string.Join(", ", sizes)}]");
        }

        return sizes[index];
    }

    /// <summary>Whether the elements lie in row-major order without gaps.</summary>
    public bool is_contiguous()
    {
        pt_tensor_is_contiguous(Handle, out var value);
        return value;
    }

    /// <summary>Whether the element type is a floating one.</summary>
    public bool is_floating_point() => dtype.IsFloatingPoint();

    /// <summary>Keeps the tensor past its scope's end: the next scope outward owns it.</summary>
    public Tensor MoveToOuterDisposeScope()
    {
        Scope?.MoveToOuter(this);
        return this;
    }

    /// <summary>Keeps the tensor past all scopes: the caller disposes it.</summary>
    public Tensor DetachFromDisposeScope()
    {
        Scope?.Detach(this);
        return this;
    }

    /// <summary>Frees the tensor's handle now.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Type, shape and place, such as <c>float32 [2, 3] cpu</c>.</summary>
    public override string ToString() =>
        IsInvalid ? "disposed tensor" : $"{dtype.Name()} [{string.Join(", ", shape)}] {device}";

    /// <summary>Frees the handle and leaves the scope.</summary>
    protected virtual void Dispose(bool disposing)
    {
        if (!disposing) return;
        Scope?.Forget(this);
        Handle.Dispose();
    }

    private static TensorHandle Optional(Tensor? tensor) => tensor?.Handle ?? TensorHandle.None;

    private static GeneratorHandle Optional(torch.Generator? generator) => generator?.Handle ?? GeneratorHandle.None;

    private static int Number(ScalarType? dtype) => dtype is { } given ? (int)given : -1;

    private static Tensor[] Items(TensorListHandle list)
    {
        using (list) return list.ToTensors()!;
    }
}
