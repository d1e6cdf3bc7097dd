using System.Runtime.InteropServices;

namespace Peft.Torch;

/// <summary>Raw bytes of tensors, and what else the library leaves out.</summary>
public static class TensorExtensions
{
    private const int Piece = 1 << 24;

    /// <summary>Bytes of all elements.</summary>
    public static long ByteCount(this Tensor tensor) => tensor.numel() * tensor.element_size();

    /// <summary>Bytes of one element.</summary>
    public static int ByteWidth(this ScalarType dtype) => dtype switch
    {
        ScalarType.Float64 or ScalarType.Int64 => 8,
        ScalarType.Float32 or ScalarType.Int32 => 4,
        ScalarType.BFloat16 or ScalarType.Float16 => 2,
        _ => 1,
    };

    /// <summary>Whether elements are floating-point numbers.</summary>
    public static bool IsFloatingPoint(this ScalarType dtype) => torch.is_floating_point(dtype);

    /// <summary>Writes the elements in row-major order, little-endian, from where they lie if they lie so.</summary>
    public static unsafe void WriteBytes(this Tensor tensor, Stream stream)
    {
        using var scope = torch.NewDisposeScope();
        var rows = tensor.detach().cpu().contiguous();
        var address = rows.Address();
        for (var left = rows.ByteCount(); left > 0;)
        {
            var count = (int)Math.Min(left, Piece);
            stream.Write(new ReadOnlySpan<byte>((void*)address, count));
            address += count;
            left -= count;
        }

        GC.KeepAlive(rows);
    }

    /// <summary>The elements in row-major order, little-endian.</summary>
    public static byte[] ToBytes(this Tensor tensor)
    {
        using var bytes = new MemoryStream(checked((int)(tensor.ByteCount())));
        tensor.WriteBytes(bytes);
        return bytes.ToArray();
    }

    /// <summary>The elements in row-major order, from whatever device.</summary>
    /// <exception cref="ArgumentException">T is not the tensor's type.</exception>
    public static T[] Values<T>(this Tensor tensor)
        where T : unmanaged
    {
        using var scope = torch.NewDisposeScope();
        var dense = tensor.detach().cpu().contiguous();
        _ = dense.data<T>(); // checks the type; its own copy goes from element to element
        return MemoryMarshal.Cast<byte, T>(dense.bytes).ToArray();
    }

    /// <summary>Whether shapes, types and all elements are the same.</summary>
    public static bool SameAs(this Tensor tensor, Tensor other)
    {
        if (tensor.dtype != other.dtype || !tensor.shape.AsSpan().SequenceEqual(other.shape))
            return false;
        using var scope = torch.NewDisposeScope();
        return tensor.eq(other).all().ToBoolean();
    }

    /// <summary>How often the elements were changed in place.</summary>
    public static long Version(this Tensor tensor) => Autograd.NativeAutograd.VersionOf(tensor.Handle);

    /// <summary>Adds to a leaf's gradient, as a backward pass would.</summary>
    public static void AddToGrad(this Tensor leaf, Tensor slope)
    {
        using var outside = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        if (leaf.grad is { } held)
            held.add_(slope);
        else
            leaf.grad = slope.to(leaf.dtype).clone(); // the leaf holds the elements itself
    }

    /// <summary>A generator's whole state, to be put back by <see cref="SetState"/>.</summary>
    public static byte[] GetState(this Generator generator)
    {
        using var state = generator.get_state();
        return state.ToBytes();
    }

    /// <summary>Puts a generator back to where <see cref="GetState"/> found it.</summary>
    public static void SetState(this Generator generator, byte[] state)
    {
        // The library ends the process at a state of another size.
        using var own = generator.get_state();
        if (own.numel() != state.Length)
            throw new ArgumentException(
                $"a generator's state has {own.numel()} bytes here, {state.Length} were given", nameof(state));
        using var given = torch.tensor(state, dtype: ScalarType.Byte);
        generator.set_state(given);
    }
}
