using System.Runtime.InteropServices;
using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// New tensors. Without a dtype: float32; without a device: the CPU.
public static partial class torch
{
    /// <summary>Zeros.</summary>
    public static Tensor zeros(
        ReadOnlySpan<long> shape, ScalarType? dtype = null, Device? device = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device);
        pt_zeros(shape, shape.Length, (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Zeros. Shapes: [d0].</summary>
    public static Tensor zeros(
        long d0, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        zeros([d0], dtype, device, requires_grad);

    /// <summary>Zeros. Shapes: [d0, d1].</summary>
    public static Tensor zeros(
        long d0, long d1, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        zeros([d0, d1], dtype, device, requires_grad);

    /// <summary>Zeros. Shapes: [d0, d1, d2].</summary>
    public static Tensor zeros(
        long d0, long d1, long d2, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        zeros([d0, d1, d2], dtype, device, requires_grad);

    /// <summary>Zeros. Shapes: [d0, d1, d2, d3].</summary>
    public static Tensor zeros(
        long d0, long d1, long d2, long d3, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        zeros([d0, d1, d2, d3], dtype, device, requires_grad);

    /// <summary>Ones.</summary>
    public static Tensor ones(
        ReadOnlySpan<long> shape, ScalarType? dtype = null, Device? device = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device);
        pt_ones(shape, shape.Length, (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Ones. Shapes: [d0].</summary>
    public static Tensor ones(
        long d0, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        ones([d0], dtype, device, requires_grad);

    /// <summary>Ones. Shapes: [d0, d1].</summary>
    public static Tensor ones(
        long d0, long d1, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        ones([d0, d1], dtype, device, requires_grad);

    /// <summary>Ones. Shapes: [d0, d1, d2].</summary>
    public static Tensor ones(
        long d0, long d1, long d2, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        ones([d0, d1, d2], dtype, device, requires_grad);

    /// <summary>Ones. Shapes: [d0, d1, d2, d3].</summary>
    public static Tensor ones(
        long d0, long d1, long d2, long d3, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        ones([d0, d1, d2, d3], dtype, device, requires_grad);

    /// <summary>Elements of any value, to be overwritten.</summary>
    public static Tensor empty(
        ReadOnlySpan<long> shape, ScalarType? dtype = null, Device? device = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device);
        pt_empty(shape, shape.Length, (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Elements of any value, to be overwritten. Shapes: [d0].</summary>
    public static Tensor empty(
        long d0, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        empty([d0], dtype, device, requires_grad);

    /// <summary>Elements of any value, to be overwritten. Shapes: [d0, d1].</summary>
    public static Tensor empty(
        long d0, long d1, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        empty([d0, d1], dtype, device, requires_grad);

    /// <summary>Elements of any value, to be overwritten. Shapes: [d0, d1, d2].</summary>
    public static Tensor empty(
        long d0, long d1, long d2, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        empty([d0, d1, d2], dtype, device, requires_grad);

    /// <summary>Elements of any value, to be overwritten. Shapes: [d0, d1, d2, d3].</summary>
    public static Tensor empty(
        long d0, long d1, long d2, long d3, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        empty([d0, d1, d2, d3], dtype, device, requires_grad);
}
