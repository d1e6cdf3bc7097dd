using System.Runtime.InteropServices;
using System.Runtime.InteropServices.Marshalling;

namespace Peft.Torch.Interop;

/// <summary>Imports of tensor library functions: generators and random numbers.</summary>
internal static partial class NativeMethods
{
    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_new(long seed, int deviceType, int deviceIndex,
        out GeneratorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_free(nint handle);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_seed(GeneratorHandle self, long seed);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_state_size(GeneratorHandle self, out long size);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_get_state(GeneratorHandle self, Span<byte> state, long stateCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_generator_set_state(GeneratorHandle self, ReadOnlySpan<byte> state,
        long stateCount);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_manual_seed(long seed);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_rand(ReadOnlySpan<long> shape, int shapeCount, GeneratorHandle random,
        int dtype, int deviceType, int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_randn(ReadOnlySpan<long> shape, int shapeCount, GeneratorHandle random,
        int dtype, int deviceType, int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_randint(long low, long high, ReadOnlySpan<long> shape, int shapeCount,
        GeneratorHandle random, int dtype, int deviceType, int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_randperm(long count, GeneratorHandle random, int dtype, int deviceType,
        int deviceIndex, out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_uniform_(TensorHandle self, double low, double high, GeneratorHandle random);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_normal_(TensorHandle self, double mean, double std, GeneratorHandle random);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_bernoulli_(TensorHandle self, double p, GeneratorHandle random);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_exponential_(TensorHandle self, double rate, GeneratorHandle random);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_bernoulli(TensorHandle probabilities, GeneratorHandle random,
        out TensorHandle result);

    [LibraryImport(Library)]
    [return: MarshalUsing(typeof(StatusMarshaller))]
    internal static partial Status pt_multinomial(TensorHandle weights, long count,
        [MarshalAs(UnmanagedType.Bool)] bool replacement, GeneratorHandle random, out TensorHandle result);
}
