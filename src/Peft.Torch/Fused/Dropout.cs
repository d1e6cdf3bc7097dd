using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>Zeroes each value with probability p and scales the others by <c>1 / (1 - p)</c>.</summary>
    /// <remarks>Which go is a hash of a value's place and of one number that the generator gives, so that no mask is
    /// stored: backward finds the same again. Where there is no kernel, and beyond 2³² values, each has a draw of its
    /// own; then others go. Shapes: any. Gradient: to x, scaled like it; first derivatives only.</remarks>
    /// <param name="x">The values.</param>
    /// <param name="p">From 0 to 1.</param>
    /// <param name="generator">Of the device of x.</param>
    public static Tensor dropout(Tensor x, double p, Generator generator) => DropsByPlace(x)
        ? dropout(x, p, generator, lines: null) : dropout(
            x, p, shape => torch.empty(shape, x.dtype, x.device).bernoulli_(1 - p, generator));

    /// <summary>The same for lines of a larger tensor: what goes is what would go of them there. Where
    /// <see cref="DropsByPlace"/>.</summary>
    /// <remarks>Shapes: x [.., D] of N lines, lines [N] int64.</remarks>
    /// <param name="x">The values.</param>
    /// <param name="p">From 0 to 1.</param>
    /// <param name="generator">On the CPU.</param>
    /// <param name="lines">The place of each line among those of the larger tensor; null: x is the whole.</param>
    public static Tensor dropout(Tensor x, double p, Generator generator, Tensor? lines) =>
        p is 0 or 1 ? AllOrNone(x, p) : new DropoutFunction(p, generator, lines).Apply(x);

    /// <summary>The same with what is kept drawn by somebody else, who may draw it for a larger tensor.</summary>
    /// <param name="x">The values.</param>
    /// <param name="p">From 0 to 1.</param>
    /// <param name="kept">Gives 1 where a value of a shape is kept and 0 elsewhere, in the type of x.</param>
    public static Tensor dropout(Tensor x, double p, Func<long[], Tensor> kept)
    {
        if (p is 0 or 1)
            return AllOrNone(x, p);
        using var scope = torch.NewDisposeScope();
        Tensor factors;
        using (torch.no_grad())
            factors = kept(x.shape).div_(1 - p);
        return (x * factors).MoveToOuterDisposeScope();
    }

    /// <summary>Whether which values go is a hash of their places.</summary>
    public static bool DropsByPlace(Tensor x) => Kernels.ServeRows(x) && x.numel() <= uint.MaxValue;

    private static Tensor AllOrNone(Tensor x, double p) => p == 0 ? x.alias() : torch.zeros_like(x);
}

/// <summary>Dropout over the memory of CPU tensors.</summary>
internal sealed unsafe class DropoutFunction : AutogradFunction
{
    private readonly ulong _key;
    private readonly uint _dropped;
    private readonly float _scale;
    private readonly long[]? _lines;

    public DropoutFunction(double p, Generator generator, Tensor? lines)
    {
        _lines = lines?.Values<long>();
        using var drawn = torch.randint(0, long.MaxValue, [1], ScalarType.Int64, generator: generator);
        _key = (ulong)drawn.item<long>();
        _dropped = (uint)Math.Min(uint.MaxValue, Math.Round(p * 4294967296.0)); // of 2³² hashes
        _scale = (float)(1 / (1 - p));
    }

    protected override bool IsRepeatable => true;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        Save(inputs[0]);
        return [Scaled(inputs[0]!)];
    }

    protected override Tensor Repeat(Tensor?[] saved) => Scaled(saved[0]!);

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) =>
        [gradients[0] is { } slopes ? Scaled(slopes) : null];

    private Tensor Scaled(Tensor values)
    {
        var dense = values.Dense();
        var result = torch.empty_like(dense);
        if (dense.dtype == ScalarType.Float32) Run<float>(dense, result);
        else Run<ushort>(dense, result);
        return result;
    }

    private void Run<T>(Tensor values, Tensor result)
        where T : unmanaged
    {
        T* from = TensorMemory.Of<T>(values), to = TensorMemory.Of<T>(result);
        if (_lines is not { } lines)
        {
            Elements<T>.ForRows(
                values.numel(), 1, (first, end) => Part(from + first, to + first, (uint)first, end - first));
            return;
        }

        var width = values.size(-1);
        Elements<T>.ForRows(lines.Length, width, (first, end) =>
        {
            for (var line = first; line < end; line++)
                Part(from + (line * width), to + (line * width), (uint)(lines[line] * width), width);
        });
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Part<T>(T* from, T* to, uint first, long n)
        where T : unmanaged
    {
        var (low, high) = (Vector512.Create((uint)_key), Vector512.Create((uint)(_key >> 32)));
        var (dropped, scale) = (Vector512.Create(_dropped), Vector512.Create(_scale));
        var place = Vector512.Create(first) + Vector512<uint>.Indices;
        var step = Vector512.Create((uint)Elements<T>.Count);
        long j = 0;
        for (; j + Elements<T>.Count <= n; j += Elements<T>.Count, place += step)
            Whole.Store(Whole.Load(from + j, n) * Factors(place, low, high, dropped, scale), to + j, n);
        if (j < n)
            Last.Store(Last.Load(from + j, n - j) * Factors(place, low, high, dropped, scale), to + j, n - j);
    }

    // Source: C. Wellons' lowbias32, github.com/skeeto/hash-prospector, the key within; each bit of a place changes
    // each bit of the hash with a probability of nearly a half.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Factors(
        Vector512<uint> place, Vector512<uint> low, Vector512<uint> high, Vector512<uint> dropped,
        Vector512<float> scale)
    {
        var h = place ^ low;
        h = (h ^ (h >>> 16)) * Vector512.Create(0x7feb352du) + high;
        h = (h ^ (h >>> 15)) * Vector512.Create(0x846ca68bu);
        h ^= h >>> 16;
        return (Vector512.GreaterThanOrEqual(h, dropped) & scale.AsUInt32()).AsSingle();
    }
}
