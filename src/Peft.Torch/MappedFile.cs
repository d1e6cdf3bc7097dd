namespace Peft.Torch;

/// <summary>A file whose tensors are read where they lie: mapped, not copied, and changed in memory alone.</summary>
/// <remarks>Each element type has one mapping, which lives while any tensor of it does; closing this object ends only
/// its own hold. A tensor whose offset does not suit its type is copied.</remarks>
public sealed class MappedFile : IDisposable
{
    private readonly Dictionary<ScalarType, Tensor> _maps = [];
    private readonly string _path;
    private readonly long _length;

    private MappedFile(string path, long length) => (_path, _length) = (path, length);

    /// <summary>Opens a file. Errors: <see cref="IOException"/> when there is no such file.</summary>
    public static MappedFile Open(string path)
    {
        TorchRuntime.Start();
        var file = new FileInfo(path);
        if (!file.Exists)
            throw new FileNotFoundException($"{path}: no such file.", path);
        // The target's length where it is a link, as checkpoints in the Hub's cache are.
        using var handle = File.OpenHandle(path);
        return new MappedFile(file.FullName, RandomAccess.GetLength(handle));
    }

    /// <summary>One tensor of a file; see <see cref="Tensor"/>.</summary>
    public static Tensor Read(string path, long offset, ReadOnlySpan<long> shape, ScalarType dtype)
    {
        using var file = Open(path);
        return file.Tensor(offset, shape, dtype);
    }

    /// <summary>The elements from an offset on. Errors: <see cref="IOException"/> when the file ends before
    /// them.</summary>
    /// <param name="offset">Bytes before the first element.</param>
    /// <param name="shape">Shape of the tensor, row-major in the file.</param>
    /// <param name="dtype">Type of its elements, little-endian in the file.</param>
    public Tensor Tensor(long offset, ReadOnlySpan<long> shape, ScalarType dtype)
    {
        var size = dtype.ElementSize();
        var count = Count(shape);
        if (offset < 0 || count > (_length - offset) / size)
            throw new IOException(
                $"{_path}: {_length} bytes; expected {count} elements of {size} bytes from byte {offset} on.");
        if (count == 0)
            return torch.zeros(shape.ToArray(), dtype: dtype);
        if (offset % size != 0)
            return Copied(offset, shape, dtype);
        return Map(dtype).as_strided(shape.ToArray(), Strides(shape), offset / size);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var map in _maps.Values)
            map.Dispose();
        _maps.Clear();
    }

    // Private to the process: what changes a tensor in place never reaches the file.
    private Tensor Map(ScalarType dtype)
    {
        if (!_maps.TryGetValue(dtype, out var map))
        {
            map = torch.from_file(_path, shared: false, _length / dtype.ElementSize(), dtype).DetachFromDisposeScope();
            _maps.Add(dtype, map);
        }

        return map;
    }

    private unsafe Tensor Copied(long offset, ReadOnlySpan<long> shape, ScalarType dtype)
    {
        var tensor = torch.empty(shape.ToArray(), dtype: dtype);
        using var file = new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        file.Position = offset;
        var address = tensor.Address();
        for (var left = tensor.numel() * dtype.ElementSize(); left > 0;)
        {
            var part = new Span<byte>((void*)address, (int)Math.Min(left, 1 << 24));
            file.ReadExactly(part);
            address += part.Length;
            left -= part.Length;
        }

        return tensor;
    }

    private static long[] Strides(ReadOnlySpan<long> shape)
    {
        var strides = new long[shape.Length];
        var step = 1L;
        for (var i = shape.Length - 1; i >= 0; i--)
        {
            strides[i] = step;
            step *= shape[i];
        }

        return strides;
    }

    private static long Count(ReadOnlySpan<long> shape)
    {
        var count = 1L;
        foreach (var size in shape)
        {
            if (size < 0)
                throw new ArgumentException($"a shape has a size of {size}; expected 0 or more.", nameof(shape));
            count = size == 0 ? 0 : count > long.MaxValue / size ? long.MaxValue : count * size;
        }

        return count;
    }
}
