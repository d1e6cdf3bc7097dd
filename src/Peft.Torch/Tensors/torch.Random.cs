using Peft.Torch.Interop;
using static Peft.Torch.Interop.NativeMethods;

namespace Peft.Torch;

// New tensors of random numbers; without a generator libtorch's default one is drawn from.
public static partial class torch
{
    /// <summary>Uniform in [0, 1).</summary>
    public static Tensor rand(ReadOnlySpan<long> shape, ScalarType? dtype = null, Device? device = null,
        Generator? generator = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device ?? generator?.device);
        pt_rand(shape, shape.Length, Optional(generator), (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Standard normal.</summary>
    public static Tensor randn(ReadOnlySpan<long> shape, ScalarType? dtype = null, Device? device = null,
        Generator? generator = null, bool requires_grad = false)
    {
        var (kind, index) = Place(device ?? generator?.device);
        pt_randn(shape, shape.Length, Optional(generator), (int)(dtype ?? float32), kind, index, out var result);
        return Made(result, requires_grad);
    }

    /// <summary>Uniform in [0, 1). Shapes: [d0, d1].</summary>
    public static Tensor rand(long d0, long d1, ScalarType? dtype = null, Device? device = null, Generator? generator = null) =>
        rand([d0, d1], dtype, device, generator);

    /// <summary>Standard normal. Shapes: [d0, d1].</summary>
    public static Tensor randn(long d0, long d1, ScalarType? dtype = null, Device? device = null, Generator? generator = null) =>
        randn([d0, d1], dtype, device, generator);

    /// <summary>Whole numbers in [low, high); int64 where no dtype is given.</summary>
    public static Tensor randint(long low, long high, ReadOnlySpan<long> shape, ScalarType? dtype = null,
        Device? device = null, Generator? generator = null)
    {
        var (kind, index) = Place(device ?? generator?.device);
        pt_randint(low, high, shape, shape.Length, Optional(generator), (int)(dtype ?? int64), kind, index, out var result);
        return new Tensor(result);
    }

    /// <summary>0 to n - 1 in random order; int64 where no dtype is given.</summary>
    public static Tensor randperm(long n, ScalarType? dtype = null, Device? device = null, Generator? generator = null)
    {
        var (kind, index) = Place(device ?? generator?.device);
        pt_randperm(n, Optional(generator), (int)(dtype ?? int64), kind, index, out var result);
        return new Tensor(result);
    }

    private static GeneratorHandle Optional(Generator? generator) => generator?.Handle ?? GeneratorHandle.None;
}
