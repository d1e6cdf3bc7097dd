using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Peft.Torch;

/// <summary>Random generators by name: each purpose has its own stream, whatever else is drawn.</summary>
public static class Seeds
{
    /// <summary>A generator on the CPU or a GPU for one purpose of a run.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="name">The purpose, such as <c>step.12.0</c>.</param>
    /// <param name="device">Where it draws; null means the CPU.</param>
    public static Generator GeneratorFor(long seed, string name, Device? device = null)
    {
        TorchRuntime.Start();
        return new((ulong)SeedFor(seed, name), device ?? torch.CPU);
    }

    /// <summary>The first eight bytes (little endian) of SHA-256 over the seed and the UTF-8 name.</summary>
    public static long SeedFor(long seed, string name)
    {
        var bytes = new byte[8 + Encoding.UTF8.GetByteCount(name)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, seed);
        Encoding.UTF8.GetBytes(name, bytes.AsSpan(8));
        return BinaryPrimitives.ReadInt64LittleEndian(SHA256.HashData(bytes));
    }
}

/// <summary>What the library draws from its one global generator only, drawn from a given one.</summary>
public static class Seeded
{
    /// <summary>Kaiming uniform (He et al. 2015, arXiv:1502.01852, eq. 10) over the fan in, for a leaky ReLU of slope
    /// a.</summary>
    /// <remarks>Shapes: [out, in]; values in U(-b, b) with b = sqrt(6 / ((1 + a^2) in)).</remarks>
    public static Tensor kaiming_uniform_(Tensor matrix, double a, Generator generator)
    {
        if (matrix.ndim != 2)
            throw new ArgumentException(
                $"a matrix is expected, the shape is [{string.Join(", ", matrix.shape)}]", nameof(matrix));
        var bound = Math.Sqrt(6.0 / ((1 + (a * a)) * matrix.shape[1]));
        using var outside = torch.no_grad();
        return matrix.uniform_(-bound, bound, generator);
    }

    /// <summary>Normally distributed values.</summary>
    public static Tensor normal_(Tensor tensor, double mean, double std, Generator generator)
    {
        using var outside = torch.no_grad();
        return tensor.normal_(mean, std, generator);
    }
}
