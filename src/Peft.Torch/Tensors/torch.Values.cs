using System.Runtime.InteropServices;
using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// New tensors of given values, and tensors like others.
public static partial class torch
{
    /// <summary>One value everywhere.</summary>
    public static Tensor full(
        ReadOnlySpan<long> shape, double value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device);
        pt_full(shape, shape.Length, value, (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>0, 1, ... below stop; int64 where no dtype is given.</summary>
    public static Tensor arange(long stop, ScalarType? dtype = null, Device? device = null) =>
        arange(0, stop, 1, dtype ?? int64, device);

    /// <summary>start, start + step, ... below stop; int64 where no dtype is given.</summary>
    public static Tensor arange(long start, long stop, long step = 1, ScalarType? dtype = null, Device? device = null) =>
        arange((double)start, stop, step, dtype ?? int64, device);

    /// <summary>start, start + step, ... below stop; float32 where no dtype is given.</summary>
    public static Tensor arange(double start, double stop, double step, ScalarType? dtype = null, Device? device = null)
    {
        var (kind, index) = Place(device);
        pt_arange(start, stop, step, (int)(dtype ?? float32), kind, index, out var result);
        return new Tensor(result);
    }

    /// <summary>Evenly spaced values from start to end inclusive.</summary>
    public static Tensor linspace(double start, double end, long steps, ScalarType? dtype = null, Device? device = null)
    {
        var (kind, index) = Place(device);
        pt_linspace(start, end, steps, (int)(dtype ?? float32), kind, index, out var result);
        return new Tensor(result);
    }

    /// <summary>The identity matrix. Shapes: [rows, columns], square where columns is not given.</summary>
    public static Tensor eye(long rows, long? columns = null, ScalarType? dtype = null, Device? device = null)
    {
        var (kind, index) = Place(device);
        pt_eye(rows, columns ?? rows, (int)(dtype ?? float32), kind, index, out var result);
        return new Tensor(result);
    }

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(float[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<float>(values, float32, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(double[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<double>(values, float64, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(long[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<long>(values, int64, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(int[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<int>(values, int32, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(bool[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<bool>(values, @bool, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A copy of plain values in row-major order; one dimension where no shape is given.</summary>
    public static Tensor tensor(byte[] values, ReadOnlySpan<long> shape = default, ScalarType? dtype = null,
        Device? device = null, bool requires_grad = false) =>
        FromValues<byte>(values, uint8, shape.IsEmpty ? [values.Length] : shape, dtype, device, requires_grad);

    /// <summary>A scalar. Shapes: [].</summary>
    public static Tensor tensor(float value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        FromValues<float>([value], float32, [], dtype, device, requires_grad);

    /// <summary>A scalar. Shapes: [].</summary>
    public static Tensor tensor(double value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        FromValues<double>([value], float64, [], dtype, device, requires_grad);

    /// <summary>A scalar. Shapes: [].</summary>
    public static Tensor tensor(long value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        FromValues<long>([value], int64, [], dtype, device, requires_grad);

    /// <summary>A scalar. Shapes: [].</summary>
    public static Tensor tensor(int value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        FromValues<int>([value], int32, [], dtype, device, requires_grad);

    /// <summary>A scalar. Shapes: [].</summary>
    public static Tensor tensor(bool value, ScalarType? dtype = null, Device? device = null, bool requires_grad = false) =>
        FromValues<bool>([value], @bool, [], dtype, device, requires_grad);

    /// <summary>A copy of bytes as elements in row-major order. Errors: another size than the shape needs.</summary>
    public static Tensor from_bytes(
        ReadOnlySpan<byte> bytes, ReadOnlySpan<long> shape, ScalarType dtype, Device? device = null)
    {
        var (kind, index) = Place(device);
        pt_from_bytes(bytes, bytes.Length, shape, shape.Length, (int)dtype, kind, index, out var result);
        return new Tensor(result);
    }

    /// <summary>Elements of a file without reading it: mapped copy-on-write, one mapping per file while any tensor of
    /// it lives.
    /// A file that is replaced meanwhile gets a mapping of its own. Copied where the offset does not suit the
    /// type.</summary>
    /// <param name="path">The file.</param>
    /// <param name="offset">Of the first element, in bytes from the file's start.</param>
    /// <param name="shape">Of the tensor.</param>
    /// <param name="dtype">Of the elements, little-endian.</param>
    /// <exception cref="TorchException">The file is missing or too short.</exception>
    public static Tensor from_file(string path, long offset, ReadOnlySpan<long> shape, ScalarType dtype)
    {
        pt_from_file(path, offset, shape, shape.Length, (int)dtype, out var result);
        return new Tensor(result);
    }

    /// <summary>Zeros with another tensor's shape and device.</summary>
    public static Tensor zeros_like(Tensor input, ScalarType? dtype = null, bool requires_grad = false)
    {
        pt_zeros_like(input.Handle, Number(dtype), out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Ones with another tensor's shape and device.</summary>
    public static Tensor ones_like(Tensor input, ScalarType? dtype = null, bool requires_grad = false)
    {
        pt_ones_like(input.Handle, Number(dtype), out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Elements of any value, with another tensor's shape and device.</summary>
    public static Tensor empty_like(Tensor input, ScalarType? dtype = null, bool requires_grad = false)
    {
        pt_empty_like(input.Handle, Number(dtype), out var result);
        return Made(result, requires_grad);
    }

    /// <summary>One value with another tensor's shape and device.</summary>
    public static Tensor full_like(Tensor input, double value, ScalarType? dtype = null, bool requires_grad = false)
    {
        pt_full_like(input.Handle, value, Number(dtype), out var result);
        return Made(result, requires_grad);
    }

    private static Tensor FromValues<T>(ReadOnlySpan<T> values, ScalarType own, ReadOnlySpan<long> sizes, ScalarType? dtype,
        Device? device, bool requires_grad)
        where T : unmanaged
    {
        var bytes = MemoryMarshal.AsBytes(values);
        var (kind, index) = Place(device);
        pt_from_bytes(bytes, bytes.Length, sizes, sizes.Length, (int)own, kind, index, out var result);
        if (dtype is { } wanted && wanted != own)
        {
            using (result)
            {
                pt_to(result, (int)wanted, -1, -1, false, out var converted);
                return Made(converted, requires_grad);
            }
        }

        return Made(result, requires_grad);
    }

    private static (int Kind, int Index) Place(Device? device) => device is null ? (0, -1) : ((int)device.type, device.index);

    private static int Number(ScalarType? dtype) => dtype is { } given ? (int)given : -1;

    private static Tensor Made(TensorHandle handle, bool requires_grad)
    {
        var tensor = new Tensor(handle);
        if (requires_grad) tensor.requires_grad = true;
        return tensor;
    }
}
