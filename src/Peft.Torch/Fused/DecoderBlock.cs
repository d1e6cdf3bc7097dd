using System.Numerics;
using System.Runtime.CompilerServices;

namespace Peft.Torch.Fused;

/// <summary>A linear layer that nothing wraps.</summary>
/// <param name="Weight">[O, D].</param>
/// <param name="Bias">[O], or null.</param>
public readonly record struct PlainLinear(Tensor Weight, Tensor? Bias);

/// <summary>The tensors of a pre-norm decoder block that nothing wraps, and its settings.</summary>
/// <param name="InputNorm">[D].</param>
/// <param name="Query">[H d, D].</param>
/// <param name="Key">[Hkv d, D].</param>
/// <param name="Value">[Hkv d, D].</param>
/// <param name="Output">[D, H d].</param>
/// <param name="QueryNorm">[d], or null.</param>
/// <param name="KeyNorm">[d], or null.</param>
/// <param name="FeedForwardNorm">[D].</param>
/// <param name="Gate">[F, D].</param>
/// <param name="Up">[F, D].</param>
/// <param name="Down">[D, F].</param>
/// <param name="Epsilon">Of the norms.</param>
/// <param name="HeadSize">d.</param>
/// <param name="Scale">Of the attention's scores.</param>
/// <param name="Window">Number of keys a query sees, counted back from itself; null means all.</param>
public sealed record DecoderWeights(
    Tensor InputNorm, PlainLinear Query, PlainLinear Key, PlainLinear Value, PlainLinear Output, Tensor? QueryNorm,
    Tensor? KeyNorm, Tensor FeedForwardNorm, PlainLinear Gate, PlainLinear Up, PlainLinear Down, double Epsilon,
    int HeadSize, double Scale, long? Window);

public static partial class Fused
{
    /// <summary>A whole decoder block without a graph, in place: what it computes is, to the bit, what its operations
    /// compute one by one, without a tensor for each. Between operations of a small model the library takes longer than
    /// in them.</summary>
    /// <remarks>Shapes: hidden [B, T, D], cos and sin [B or 1, T, d], keys and values [B, Hkv, room, d]. No
    /// gradient.</remarks>
    /// <param name="hidden">The residual stream, changed in place.</param>
    /// <param name="weights">The block.</param>
    /// <param name="cos">Cosines of the positions.</param>
    /// <param name="sin">Their sines.</param>
    /// <param name="additiveMask">As in <see cref="causal_attention"/>.</param>
    /// <param name="cache">Where keys and values of the tokens before lie, with room for these; null: there are
    /// none.</param>
    /// <param name="segments">As in <see cref="causal_attention"/>.</param>
    /// <param name="memory">What the block works in.</param>
    /// <param name="wrapped">What runs in place of each of the seven projections, in the order of
    /// <paramref name="weights"/>, [B, T, D] to [B, T, O]; null: themselves. They run on one thread but for what they
    /// share out, so it is for few rows.</param>
    /// <returns>False where there is no kernel for this type or device; then nothing was done.</returns>
    public static bool decoder_block_(
        Tensor hidden, DecoderWeights weights, Tensor cos, Tensor sin, Tensor? additiveMask,
        (Tensor Keys, Tensor Values, long Length)? cache, ReadOnlySpan<long> segments, WorkMemory memory,
        IReadOnlyList<Func<Tensor, Tensor>?>? wrapped = null)
    {
        if (!Kernels.ServeRows(hidden) || !hidden.is_contiguous() || cos.size(2) != weights.HeadSize
            || !(hidden.dtype == ScalarType.Float32 ? Gemm.IsAvailable : Gemm.HasFastBFloat16))
            return false;
        using var scope = torch.NewDisposeScope();
        var (c, s) = (cos.As(ScalarType.Float32).Dense(), sin.As(ScalarType.Float32).Dense());
        if (hidden.dtype == ScalarType.Float32)
            new DecoderKernel<float>(hidden, weights, memory, wrapped).Run(c, s, additiveMask, cache, segments);
        else
            new DecoderKernel<ushort>(hidden, weights, memory, wrapped).Run(c, s, additiveMask, cache, segments);
        return true;
    }
}

/// <summary>A decoder block over plain memory.</summary>
/// <typeparam name="T">float, or ushort holding bfloat16.</typeparam>
internal sealed unsafe class DecoderKernel<T>(
    Tensor hidden, DecoderWeights weights, WorkMemory memory, IReadOnlyList<Func<Tensor, Tensor>?>? wrapped)
    where T : unmanaged
{
    private readonly long _batch = hidden.size(0), _tokens = hidden.size(1), _width = hidden.size(2),
        _headSize = weights.HeadSize;
    private readonly long _heads = weights.Query.Weight.size(0) / weights.HeadSize;
    private readonly long _keyHeads = weights.Key.Weight.size(0) / weights.HeadSize;
    private readonly long _inner = weights.Gate.Weight.size(0);
    private readonly T* _hidden = TensorMemory.Of<T>(hidden);
    private readonly PlainLinear[] _linears = [
        weights.Query, weights.Key, weights.Value, weights.Output, weights.Gate, weights.Up, weights.Down];

    private long Rows => _batch * _tokens;

    public void Run(
        Tensor cos, Tensor sin, Tensor? mask, (Tensor Keys, Tensor Values, long Length)? cache,
        ReadOnlySpan<long> segments)
    {
        var seen = (cache?.Length ?? 0) + _tokens;
        var shape = new AttentionShape(_batch, _heads, _keyHeads, _tokens, seen, _headSize, _headSize);
        // By libtorch's operations, so before our own threads are held together.
        var whole = AttentionFunction.WholeMask(shape, hidden.dtype, mask);
        var options = new AttentionOptions(
            weights.Scale, true, seen - _tokens, weights.Window ?? 0, 0, segments.ToArray());
        Threads.Together(() => Run(cos, sin, (shape, whole, options), cache));
    }

    private void Run(
        Tensor cos, Tensor sin, (AttentionShape Shape, Tensor? Mask, AttentionOptions Options) attention,
        (Tensor Keys, Tensor Values, long Length)? cache)
    {
        var (queries, keys) = (_heads * _headSize, _keyHeads * _headSize);
        var normal = memory.Take<T>(Rows * ((2 * _width) + (2 * queries) + (2 * keys) + (2 * _inner)));
        var result = normal + (Rows * _width);
        var q = result + (Rows * _width);
        var mixed = q + (Rows * queries);
        var k = mixed + (Rows * queries);
        var v = k + (Rows * keys);
        var gate = v + (Rows * keys);
        var up = gate + (Rows * _inner);

        Norm(_hidden, weights.InputNorm, normal, Rows, _width);
        var input = Input(normal, _width, 0, 3);
        Linear(0, normal, input, q);
        Linear(1, normal, input, k);
        Linear(2, normal, input, v);
        Turn(q, weights.QueryNorm, _heads, cos, sin);
        Turn(k, weights.KeyNorm, _keyHeads, cos, sin);
        Attend(q, k, v, mixed, attention, cache);
        Linear(3, mixed, Input(mixed, queries, 3, 1), result);
        Add(result);

        Norm(_hidden, weights.FeedForwardNorm, normal, Rows, _width);
        input = Input(normal, _width, 4, 2);
        Linear(4, normal, input, gate);
        Linear(5, normal, input, up);
        SigmoidUnitKernel<T, Silu>.Forward(gate, up, gate, Rows * _inner);
        Linear(6, gate, Input(gate, _inner, 6, 1), result);
        Add(result);
    }

    private void Attend(
        T* q, T* k, T* v, T* mixed, (AttentionShape Shape, Tensor? Mask, AttentionOptions Options) attention,
        (Tensor Keys, Tensor Values, long Length)? cache)
    {
        var fresh = (_keyHeads * _headSize * _tokens, _headSize, _keyHeads * _headSize);
        var keys = new Heads<T>(k, fresh.Item1, fresh.Item2, fresh.Item3);
        var values = new Heads<T>(v, fresh.Item1, fresh.Item2, fresh.Item3);
        if (cache is { } held)
        {
            keys = Kept(keys, held.Keys, held.Length);
            values = Kept(values, held.Values, held.Length);
        }

        // Tokens outside all segments are in no block.
        if (attention.Options.Segments.Length > 0)
            new Span<byte>(mixed, checked((int)(Rows * _heads * _headSize * sizeof(T)))).Clear();
        using var sums = new Scratch<float>(_batch * _heads * _tokens);
        var rows = new Heads<T>(q, _tokens * _heads * _headSize, _headSize, _heads * _headSize);
        new AttentionKernel<T, float>(rows, keys, values, attention.Shape, attention.Mask, attention.Options)
            .Forward(new Heads<T>(mixed, _tokens * _heads * _headSize, _headSize, _heads * _headSize), sums.Pointer);
    }

    // Copies the new rows behind those that are there; returns all of them.
    private Heads<T> Kept(Heads<T> added, Tensor room, long length)
    {
        var all = new Heads<T>(room);
        for (var b = 0L; b < _batch; b++)
        {
            for (var h = 0L; h < _keyHeads; h++)
            {
                for (var t = 0L; t < _tokens; t++)
                    new Span<T>(added.Row(b, h, t), (int)_headSize)
                        .CopyTo(new Span<T>(all.Row(b, h, length + t), (int)_headSize));
            }
        }

        return all;
    }

    private void Turn(T* x, Tensor? norm, long heads, Tensor cos, Tensor sin)
    {
        if (norm is not null)
            Norm(x, norm, x, Rows * heads, _headSize);
        RotaryKernel<T>.Run(
            x, (_tokens * heads * _headSize, heads * _headSize, _headSize), x, (_batch, _tokens, heads, _headSize), cos,
            sin, back: false);
    }

    private void Norm(T* x, Tensor weight, T* y, long rows, long columns) =>
        RmsNormKernel<T>.Forward(x, TensorMemory.Of<T>(weight), y, rows, columns, (float)weights.Epsilon);

    // What wrapped ones of so many projections take; null where none of them is wrapped.
    private Tensor? Input(T* x, long width, int first, int count)
    {
        if (wrapped is null || wrapped.Skip(first).Take(count).All(run => run is null))
            return null;
        var input = torch.empty([_batch, _tokens, width], hidden.dtype);
        new Span<T>(x, checked((int)(Rows * width))).CopyTo(new(TensorMemory.Of<T>(input), (int)(Rows * width)));
        return input;
    }

    private void Linear(int number, T* x, Tensor? input, T* y)
    {
        var layer = _linears[number];
        var (O, D) = (layer.Weight.size(0), layer.Weight.size(1));
        if (wrapped?[number] is { } run)
        {
            var made = run(input!).Dense();
            if (made.numel() != Rows * O || made.dtype != hidden.dtype)
                throw new InvalidOperationException(
                    $"a wrapped projection gave {Shapes.Of(made)} {made.dtype}, not [{_batch}, {_tokens}, {O}] "
                    + $"{hidden.dtype}");
            new Span<T>(TensorMemory.Of<T>(made), checked((int)(Rows * O))).CopyTo(new(y, (int)(Rows * O)));
            return;
        }
        var bias = TensorMemory.Of<float>(layer.Bias?.As(ScalarType.Float32));
        Tiles<T, float>.Product(Rows, O, new(x, D, false, TensorMemory.Of<T>(layer.Weight), D, true, D), null, bias, y);
    }

    // The residual stream, rounded to its type as libtorch's sum is.
    private void Add(T* result)
    {
        var target = _hidden;
        Elements<T>.ForRows(Rows * _width, 1, (first, end) => Add(target + first, result + first, end - first));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(T* target, T* added, long n)
    {
        long j = 0;
        for (; j + Elements<T>.Count <= n; j += Elements<T>.Count)
            VectorMath.Store(Elements<T>.Load(target + j) + Elements<T>.Load(added + j), target + j);
        if (j < n)
            Last.Store(Last.Load(target + j, n - j) + Last.Load(added + j, n - j), target + j, n - j);
    }
}
