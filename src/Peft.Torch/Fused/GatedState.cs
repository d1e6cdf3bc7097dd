using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>The next state of a gated recurrent unit, of its two products: <c>r = σ(g_r + h_r)</c>, z alike,
    /// <c>n = tanh(g_n + r ∘ h_n)</c>, <c>s' = (1 − z) ∘ n + z ∘ s</c>.</summary>
    /// <remarks>Source: Cho et al. 2014, arXiv:1406.1078, in PyTorch's form. Shapes: given g and held h [N, 3 H] in the
    /// order r, z, n, state s [N, H] gives [N, H]. Gradient: to all three; first derivatives only. Errors:
    /// <see cref="ArgumentException"/> when shapes or types differ.</remarks>
    /// <param name="given">What the input's product gave.</param>
    /// <param name="held">What the state's product gave.</param>
    /// <param name="state">The state.</param>
    public static Tensor gated_state(Tensor given, Tensor held, Tensor state)
    {
        if (state.dim() != 2 || !given.shape.AsSpan().SequenceEqual(held.shape)
            || !given.shape.AsSpan().SequenceEqual([state.size(0), 3 * state.size(1)]))
        {
            throw new ArgumentException(
                $"given {Shapes.Of(given)} and held {Shapes.Of(held)} do not meet state {Shapes.Of(state)}; they are "
                + "[N, 3 H] beside [N, H]");
        }

        if (given.dtype != held.dtype || given.dtype != state.dtype)
            throw new ArgumentException(
                $"given {given.dtype}, held {held.dtype} and state {state.dtype} differ in type");
        return Kernels.ServeRows(given) && given.dtype == ScalarType.Float32
            ? new GatedStateFunction().Apply(given, held, state) : Composed.gated_state(given, held, state);
    }
}

/// <summary>A state's step on the CPU; inputs given, held, state.</summary>
internal sealed unsafe class GatedStateFunction : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (given, held, state) = (inputs[0]!.Dense(), inputs[1]!.Dense(), inputs[2]!.Dense());
        var (next, size) = (torch.empty(state.shape, ScalarType.Float32), state.size(1));
        var (g, h) = ((nint)TensorMemory.Of<float>(given), (nint)TensorMemory.Of<float>(held));
        var (s, y) = ((nint)TensorMemory.Of<float>(state), (nint)TensorMemory.Of<float>(next));
        Elements<float>.ForRows(state.size(0), 3 * size, (begin, end) =>
        {
            for (var i = begin; i < end; i++)
                GatedRow.At(i, (float*)g, (float*)h, (float*)s, size).Next((float*)y + i * size);
        });
        Save(given, held, state);
        return [next];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null)
            return [null, null, null];
        var (slopes, given, held, state) = (gradients[0]!.Dense(), saved[0]!, saved[1]!, saved[2]!);
        var (dgiven, dheld, dstate) = (torch.empty_like(given), torch.empty_like(held), torch.empty_like(state));
        var size = state.size(1);
        var (g, h, s) = ((nint)TensorMemory.Of<float>(given), (nint)TensorMemory.Of<float>(held),
            (nint)TensorMemory.Of<float>(state));
        var (d, dg, dh) = ((nint)TensorMemory.Of<float>(slopes), (nint)TensorMemory.Of<float>(dgiven),
            (nint)TensorMemory.Of<float>(dheld));
        var ds = (nint)TensorMemory.Of<float>(dstate);
        Elements<float>.ForRows(state.size(0), 3 * size, (begin, end) =>
        {
            for (var i = begin; i < end; i++)
            {
                GatedRow.At(i, (float*)g, (float*)h, (float*)s, size).Back(
                    (float*)d + i * size, (float*)dg + 3 * i * size, (float*)dh + 3 * i * size, (float*)ds + i * size);
            }
        });
        return [dgiven, dheld, dstate];
    }
}

/// <summary>One row of a gated unit.</summary>
internal readonly unsafe struct GatedRow(float* given, float* held, float* state, long size)
{
    private const int Step = Elements<float>.Count;

    /// <summary>Row i of given and held [N, 3 H] and state [N, H].</summary>
    public static GatedRow At(long i, float* given, float* held, float* state, long size) =>
        new(given + 3 * i * size, held + 3 * i * size, state + i * size, size);

    /// <summary>next [H].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Next(float* next)
    {
        long j = 0;
        for (; j + Step <= size; j += Step)
            Next<Whole>(j, Step, next);
        if (j < size)
            Next<Last>(j, size - j, next);
    }

    /// <summary>From the gradient of next [H] those of given and held [3 H] and of state [H].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Back(float* slopes, float* ofGiven, float* ofHeld, float* ofState)
    {
        long j = 0;
        for (; j + Step <= size; j += Step)
            Back<Whole>(j, Step, slopes, ofGiven, ofHeld, ofState);
        if (j < size)
            Back<Last>(j, size - j, slopes, ofGiven, ofHeld, ofState);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Next<P>(long j, long left, float* next)
        where P : IPart
    {
        var (_, z, n, _) = Gates<P>(j, left);
        P.Store(Vector512.FusedMultiplyAdd(z, P.Load(state + j, left) - n, n), next + j, left);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Back<P>(long j, long left, float* slopes, float* ofGiven, float* ofHeld, float* ofState)
        where P : IPart
    {
        var one = Vector512<float>.One;
        var (r, z, n, own) = Gates<P>(j, left);
        var slope = P.Load(slopes + j, left);
        var ofN = slope * (one - z) * (one - n * n);
        var ofR = ofN * own * r * (one - r);
        var ofZ = slope * (P.Load(state + j, left) - n) * z * (one - z);
        P.Store(ofR, ofGiven + j, left);
        P.Store(ofR, ofHeld + j, left);
        P.Store(ofZ, ofGiven + size + j, left);
        P.Store(ofZ, ofHeld + size + j, left);
        P.Store(ofN, ofGiven + 2 * size + j, left);
        P.Store(ofN * r, ofHeld + 2 * size + j, left);
        P.Store(slope * z, ofState + j, left);
    }

    // r, z and n, and what held gives n.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private (Vector512<float> R, Vector512<float> Z, Vector512<float> N, Vector512<float> Own) Gates<P>(
        long j, long left)
        where P : IPart
    {
        var r = Sigmoid(P.Load(given + j, left) + P.Load(held + j, left));
        var z = Sigmoid(P.Load(given + size + j, left) + P.Load(held + size + j, left));
        var own = P.Load(held + 2 * size + j, left);
        var n = VectorMath.Tanh(Vector512.FusedMultiplyAdd(r, own, P.Load(given + 2 * size + j, left)));
        return (r, z, n, own);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Sigmoid(Vector512<float> x) =>
        Vector512<float>.One / (Vector512<float>.One + VectorMath.Exp(-x));
}

internal static partial class Composed
{
    public static Tensor gated_state(Tensor given, Tensor held, Tensor state)
    {
        var size = state.size(1);
        Tensor Of(Tensor products, int gate) => products.narrow(1, gate * size, size);
        var reset = (Of(given, 0) + Of(held, 0)).sigmoid();
        var update = (Of(given, 1) + Of(held, 1)).sigmoid();
        var fresh = (Of(given, 2) + (reset * Of(held, 2))).tanh();
        return fresh + (update * (state - fresh));
    }
}
