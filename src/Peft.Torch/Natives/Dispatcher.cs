using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>Calls operations of ATen that TorchSharp does not bind, by name, through libtorch's own dispatcher:
/// autograd, devices and types work as for any other operation.</summary>
/// <remarks>
/// <para>It relies on the C functions for extensions that libtorch_cpu 2.10 exports
/// (<c>torch/csrc/stable/c/shim.h</c>): each argument is 64 bits; a tensor is a handle that the call takes over, None
/// is 0, an optional value a pointer to its 64 bits, a list a handle. They are promised to stay for later versions of
/// libtorch; the version is checked at the first call.</para>
/// <para>Arguments must be of the schema's types, one for each: nothing checks them, and a wrong one ends the process.
/// So each use has a test. They cannot pass Scalar and Generator: operations with such parameters are out of reach.
/// What goes wrong inside is printed by libtorch on stderr; the exception can name the operation alone.</para>
/// </remarks>
public static unsafe partial class Dispatcher
{
    private const string Library = "torch_cpu";

    /// <summary>The version of the conventions used here: major, minor and patch in the three upper bytes.</summary>
    private const ulong Abi = (2UL << 56) | (10UL << 48);

    private static readonly Lazy<bool> Checked = new(CheckAbi);

    /// <summary>Calls an operation and returns its results, which must be tensors.</summary>
    /// <param name="operation">Such as <c>"aten::rms_norm"u8</c>: a literal, so that it ends with a zero.</param>
    /// <param name="overload">The part after the dot, or <c>""u8</c>.</param>
    /// <param name="results">How many tensors it returns.</param>
    /// <param name="arguments">All of the schema's arguments, in its order, those with defaults too.</param>
    /// <exception cref="InvalidOperationException">The operation failed; libtorch has printed why.</exception>
    public static Tensor[] Call(
        ReadOnlySpan<byte> operation, ReadOnlySpan<byte> overload, int results, params ReadOnlySpan<Argument> arguments)
    {
        _ = Checked.Value;
        var stack = stackalloc ulong[Math.Max(arguments.Length, results)];
        for (var i = 0; i < arguments.Length; i++) stack[i] = arguments[i].ToStack();
        fixed (byte* name = operation, variant = overload.IsEmpty ? "\0"u8 : overload)
        {
            if (torch_call_dispatcher(name, variant, stack, Abi) != 0) throw Failed(operation, overload);
        }

        var found = new Tensor[results];
        for (var i = 0; i < results; i++) found[i] = Tensor.UnsafeCreateTensor((nint)stack[i]);
        return found;
    }

    private static InvalidOperationException Failed(ReadOnlySpan<byte> operation, ReadOnlySpan<byte> overload)
    {
        var name = System.Text.Encoding.UTF8.GetString(operation) + (overload.IsEmpty ? "" : ".")
            + System.Text.Encoding.UTF8.GetString(overload);
        return new InvalidOperationException($"libtorch: {name} failed. The line 'Error: ...' above says why.");
    }

    private static bool CheckAbi()
    {
        var found = aoti_torch_abi_version();
        if (found >> 48 >= Abi >> 48) return true;
        throw new NotSupportedException(
            $"libtorch: version {found >> 56}.{(found >> 48) & 0xff}; expected 2.10 or later.");
    }

    private static void Check(int status, string function)
    {
        if (status != 0)
            throw new InvalidOperationException($"libtorch: {function} failed. The line 'Error: ...' above says why.");
    }

    [LibraryImport(Library)]
    private static partial ulong aoti_torch_abi_version();

    [LibraryImport(Library)]
    private static partial int torch_call_dispatcher(byte* operation, byte* overload, ulong* stack, ulong abi);

    [LibraryImport(Library)]
    private static partial int aoti_torch_new_tensor_handle(nint tensor, out nint copy);

    [LibraryImport(Library)]
    private static partial int torch_new_list_reserve_size(nuint size, out nint list);

    [LibraryImport(Library)]
    private static partial int torch_list_push_back(nint list, ulong element);

    /// <summary>One argument of an operation. Tensors and numbers convert by themselves.</summary>
    public readonly struct Argument
    {
        private readonly Kind _kind;
        private readonly ulong _bits;
        private readonly object? _value;

        private Argument(Kind kind, ulong bits, object? value) => (_kind, _bits, _value) = (kind, bits, value);

        private enum Kind
        {
            Bits, Tensor, OptionalBits, OptionalTensor, Tensors, Integers, OptionalIntegers, Flags,
        }

        /// <summary>An absent optional argument.</summary>
        public static Argument None => default;

        /// <summary>A <c>float? name</c>.</summary>
        public static Argument Optional(double? value) =>
            value is { } number ? new(Kind.OptionalBits, BitConverter.DoubleToUInt64Bits(number), null) : None;

        /// <summary>A <c>Tensor? name</c>.</summary>
        public static Argument Optional(Tensor? value) => value is null ? None : new(Kind.OptionalTensor, 0, value);

        /// <summary>An <c>int[]? name</c>.</summary>
        public static Argument Optional(params long[]? values) =>
            values is null ? None : new(Kind.OptionalIntegers, 0, values);

        /// <summary>A <c>Tensor[] name</c>.</summary>
        public static Argument List(IReadOnlyList<Tensor> values) => new(Kind.Tensors, 0, values);

        /// <summary>An <c>int[] name</c>.</summary>
        public static Argument List(params long[] values) => new(Kind.Integers, 0, values);

        /// <summary>A <c>bool[N] name</c>.</summary>
        public static Argument List(params bool[] values) => new(Kind.Flags, 0, values);

        /// <summary>A <c>Tensor name</c>.</summary>
        public static implicit operator Argument(Tensor value) => new(Kind.Tensor, 0, value);

        /// <summary>A <c>float name</c>.</summary>
        public static implicit operator Argument(double value) =>
            new(Kind.Bits, BitConverter.DoubleToUInt64Bits(value), null);

        /// <summary>An <c>int name</c>.</summary>
        public static implicit operator Argument(long value) => new(Kind.Bits, (ulong)value, null);

        /// <summary>A <c>bool name</c>.</summary>
        public static implicit operator Argument(bool value) => new(Kind.Bits, value ? 1UL : 0UL, null);

        internal ulong ToStack() => _kind switch
        {
            Kind.Bits => _bits,
            Kind.Tensor => Copy((Tensor)_value!),
            Kind.OptionalBits => Boxed(_bits),
            Kind.OptionalTensor => Boxed(Copy((Tensor)_value!)),
            Kind.Tensors => ListOf((IReadOnlyList<Tensor>)_value!, Copy),
            Kind.Integers => ListOf((long[])_value!, value => (ulong)value),
            Kind.OptionalIntegers => Boxed(ListOf((long[])_value!, value => (ulong)value)),
            _ => ListOf((bool[])_value!, value => value ? 1UL : 0UL),
        };

        private static ulong Copy(Tensor tensor)
        {
            Check(aoti_torch_new_tensor_handle(tensor.Handle, out var copy), nameof(aoti_torch_new_tensor_handle));
            return (ulong)copy;
        }

        /// <summary>libtorch frees it by C++'s delete, which is free().</summary>
        private static ulong Boxed(ulong bits)
        {
            var box = (ulong*)NativeMemory.Alloc(sizeof(ulong));
            *box = bits;
            return (ulong)box;
        }

        private static ulong ListOf<T>(IReadOnlyList<T> values, Func<T, ulong> convert)
        {
            Check(torch_new_list_reserve_size((nuint)values.Count, out var list), nameof(torch_new_list_reserve_size));
            foreach (var value in values)
                Check(torch_list_push_back(list, convert(value)), nameof(torch_list_push_back));
            return (ulong)list;
        }
    }
}
