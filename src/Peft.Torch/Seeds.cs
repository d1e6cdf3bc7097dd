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
