using System.Runtime.InteropServices;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Between types and devices, and out of the tensor into plain memory.
public partial class Tensor
{
    /// <summary>The elements as another type; a second handle of the same tensor where nothing changes. Gradient:
    /// cast back.</summary>
    public Tensor to(ScalarType dtype, bool copy = false)
    {
        pt_to(Handle, (int)dtype, -1, -1, copy, out var result);
        return new Tensor(result);
    }

    /// <summary>The elements on another device; a second handle of the same tensor where nothing changes.</summary>
    public Tensor to(Device device, bool copy = false)
    {
        pt_to(Handle, -1, (int)device.type, device.index, copy, out var result);
        return new Tensor(result);
    }

    /// <summary>The elements on another device as another type.</summary>
    public Tensor to(Device device, ScalarType dtype, bool copy = false)
    {
        pt_to(Handle, (int)dtype, (int)device.type, device.index, copy, out var result);
        return new Tensor(result);
    }

    /// <summary>The elements with another tensor's type and device.</summary>
    public Tensor to(Tensor other) => to(other.device, other.dtype);

    /// <summary>The type another tensor has.</summary>
    public Tensor type_as(Tensor other) => to(other.dtype);

    /// <summary>The elements on the CPU.</summary>
    public Tensor cpu() => to(torch.CPU);

    /// <summary>The elements on the first CUDA device.</summary>
    public Tensor cuda() => to(torch.CUDA);

    /// <summary>The elements as float32.</summary>
    public Tensor @float() => to(ScalarType.Float32);

    /// <summary>The elements as int64.</summary>
    public Tensor @long() => to(ScalarType.Int64);

    /// <summary>The elements as bool.</summary>
    public Tensor @bool() => to(ScalarType.Bool);

    /// <summary>The only element, as the type the tensor has. Errors: another type, or more than one element.</summary>
    public T item<T>()
        where T : unmanaged
    {
        T value = default;
        CopyTo(MemoryMarshal.CreateSpan(ref value, 1));
        return value;
    }

    /// <summary>The only element as a double, whatever its type; waits for the device.</summary>
    public double ToDouble()
    {
        pt_tensor_item_double(Handle, out var value);
        return value;
    }

    /// <summary>The only element as a float, whatever its type; waits for the device.</summary>
    public float ToSingle() => (float)ToDouble();

    /// <summary>The only element as an integer; waits for the device. Errors: not a whole number.</summary>
    public long ToInt64()
    {
        pt_tensor_item_int64(Handle, out var value);
        return value;
    }

    /// <summary>The only element as an integer; waits for the device.</summary>
    public int ToInt32() => checked((int)ToInt64());

    /// <summary>The only element as a truth value; waits for the device.</summary>
    public bool ToBoolean() => ToDouble() != 0;

    /// <summary>A copy of the elements in row-major order. Errors: T is not the tensor's type.</summary>
    public T[] data<T>()
        where T : unmanaged
    {
        var elements = new T[numel()];
        CopyTo(elements.AsSpan());
        return elements;
    }

    /// <summary>Copies the elements in row-major order. Errors: T is not the tensor's type; another number of
    /// elements.</summary>
    public void CopyTo<T>(Span<T> target)
        where T : unmanaged
    {
        CheckElement<T>();
        CheckCount(target.Length);
        var bytes = MemoryMarshal.AsBytes(target);
        pt_tensor_read(Handle, bytes, bytes.Length);
    }

    /// <summary>Overwrites the elements in row-major order. Errors: T is not the tensor's type; another number of
    /// elements.</summary>
    public Tensor CopyFrom<T>(ReadOnlySpan<T> source)
        where T : unmanaged
    {
        CheckElement<T>();
        CheckCount(source.Length);
        var bytes = MemoryMarshal.AsBytes(source);
        pt_tensor_write(Handle, bytes, bytes.Length);
        return this;
    }

    /// <summary>Writes the elements in row-major order, little-endian, without a second copy where they already lie
    /// so.</summary>
    public void WriteBytes(Stream stream)
    {
        using var outside = torch.no_grad();
        using var plain = detach();
        using var host = plain.to(torch.CPU);
        using var rows = host.contiguous();
        pt_tensor_address(rows.Handle, out var address);
        var remaining = rows.nbytes;
        const int Piece = 1 << 24;
        while (remaining > 0)
        {
            var count = (int)Math.Min(remaining, Piece);
            unsafe
            {
                stream.Write(new ReadOnlySpan<byte>((void*)address, count));
            }

            address += count;
            remaining -= count;
        }
    }

    /// <summary>The elements in row-major order, little-endian.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[nbytes];
        pt_tensor_read(Handle, bytes, bytes.Length);
        return bytes;
    }

    private void CheckElement<T>()
    {
        var own = dtype;
        if (!own.IsHeldBy(typeof(T)))
        {
            throw new InvalidOperationException(
                $"tensor of type {own.Name()} - read as {typeof(T).Name} - allowed: {own.ManagedName()} - "
                + "convert it first with to(dtype), or read one number with ToDouble()");
        }
    }

    private void CheckCount(int count)
    {
        if (count != numel())
        {
            throw new ArgumentException($"tensor of {numel()} elements (shape [{string.Join(", ", shape)}]) - "
                + $"memory for {count} given - allowed: exactly as many");
        }
    }
}
