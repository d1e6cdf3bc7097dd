using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// Random generators.
public static partial class torch
{
    /// <summary>A generator of its own for a purpose: what is drawn elsewhere never shifts it.</summary>
    /// <param name="seed">The run's seed.</param>
    /// <param name="name">The purpose, such as a parameter's name.</param>
    /// <param name="device">Where it is drawn; the CPU when null.</param>
    public static Generator GeneratorFor(long seed, string name, Device? device = null) =>
        new(SeedFor(seed, name), device);

    /// <summary>The first 8 bytes of SHA-256 over the seed (8 bytes, little-endian) and the name (UTF-8),
    /// little-endian.</summary>
    public static long SeedFor(long seed, string name)
    {
        var bytes = new byte[8 + Encoding.UTF8.GetByteCount(name)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, seed);
        Encoding.UTF8.GetBytes(name, bytes.AsSpan(8));
        return BinaryPrimitives.ReadInt64LittleEndian(SHA256.HashData(bytes));
    }

    /// <summary>A source of random numbers with a state that can be saved and put back exactly.</summary>
    public sealed class Generator : IDisposable
    {
        /// <summary>A generator started with a seed.</summary>
        public Generator(long seed = 0, Device? device = null)
        {
            this.device = device ?? CPU;
            pt_generator_new(seed, (int)this.device.type, this.device.index, out var handle);
            Handle = handle;
        }

        /// <summary>Where its numbers are drawn.</summary>
        public Device device { get; }

        /// <summary>The native generator.</summary>
        internal GeneratorHandle Handle { get; }

        /// <summary>Starts the sequence of a seed.</summary>
        public Generator manual_seed(long seed)
        {
            pt_generator_seed(Handle, seed);
            return this;
        }

        /// <summary>The whole state.</summary>
        public byte[] GetState()
        {
            pt_generator_state_size(Handle, out var size);
            var state = new byte[size];
            pt_generator_get_state(Handle, state, size);
            return state;
        }

        /// <summary>Goes on where <see cref="GetState"/> was called. Errors: not a state of this kind of
        /// device.</summary>
        public void SetState(ReadOnlySpan<byte> state) => pt_generator_set_state(Handle, state, state.Length);

        /// <summary>Frees the generator.</summary>
        public void Dispose() => Handle.Dispose();
    }
}
