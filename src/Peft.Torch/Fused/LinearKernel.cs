using System.Numerics;

namespace Peft.Torch;

/// <summary>What a linear layer with or without a mixture computes over tensors of one type; all of them dense, on the CPU.</summary>
internal interface ILinearKernel
{
    /// <summary>What sums are in.</summary>
    ScalarType SumType { get; }

    /// <summary>y [N, O] = x Wt + gated Bt + bias; gated [N, C] and b [O, C] are null without a mixture.</summary>
    void Forward(Tensor x, Tensor weight, Tensor? bias, Tensor? gated, Tensor? b, Tensor y);

    /// <summary>dx [N, D] = dy W + dh A; dh [N, C] and a [C, D] are null without a mixture.</summary>
    void Backward(Tensor dy, Tensor weight, Tensor? dh, Tensor? a, Tensor dx);

    /// <summary>target [m, n] = op(left) right.</summary>
    void Product(Tensor left, bool transposeLeft, Tensor right, Tensor target);

    /// <summary>See <see cref="LowRankKernel{T, W}.Down"/>.</summary>
    void Down(LowRankShape shape, Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated);

    /// <summary>See <see cref="LowRankKernel{T, W}.Gate(W*, W*, T*)"/>.</summary>
    void Gate(LowRankShape shape, Tensor h, Tensor? gates, Tensor gated);

    /// <summary>See <see cref="LowRankKernel{T, W}.Backward"/>.</summary>
    void LowRankBackward(LowRankShape shape, Tensor dy, Tensor b, Tensor? gates, Tensor? h, Tensor? gated, Tensor? x, Tensor dh,
        Tensor? dgates, Tensor? db, Tensor? da);
}

/// <summary>The sizes of a mixture, and its factor.</summary>
internal readonly record struct LowRankShape(long Rows, long Inputs, long Outputs, long Ranks, long Gates, double Scale);

/// <summary>Kernels of linear layers by type.</summary>
internal static class LinearKernel
{
    private static readonly LinearKernel<ushort, float> Bfloat16 = new(ScalarType.Float32);
    private static readonly LinearKernel<float, float> Single = new(ScalarType.Float32);
    private static readonly LinearKernel<double, double> Double = new(ScalarType.Float64);

    /// <summary>Whether there is a kernel for this tensor. One row of bfloat16 is libtorch's own where the processor has no products of
    /// that type: it reads the weight at the memory's speed, MKL at a third.</summary>
    public static bool Serves(Tensor x) =>
        Kernels.Serve(x) && x.numel() > 0
        && (x.dtype != ScalarType.BFloat16 || Gemm.HasFastBFloat16 || x.numel() > x.size(-1));

    /// <summary>The type that products of a tensor are computed in.</summary>
    public static ScalarType ProductType(ScalarType type) => type == ScalarType.Float16 ? ScalarType.Float32 : type;

    /// <summary>The kernel of a product type.</summary>
    public static ILinearKernel For(ScalarType type) => type switch
    {
        ScalarType.BFloat16 => Bfloat16,
        ScalarType.Float64 => Double,
        _ => Single,
    };
}

/// <inheritdoc cref="ILinearKernel"/>
internal sealed unsafe class LinearKernel<T, W>(ScalarType sumType) : ILinearKernel
    where T : unmanaged
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    public ScalarType SumType => sumType;

    public void Forward(Tensor x, Tensor weight, Tensor? bias, Tensor? gated, Tensor? b, Tensor y)
    {
        var (N, D, O) = (x.size(0), x.size(1), weight.size(0));
        Factors<T>? added = gated is null ? null : new(Of(gated), gated.size(1), false, Of(b), b!.size(1), true, b.size(1));
        Tiles<T, W>.Product(N, O, new(Of(x), D, false, Of(weight), D, true, D), added, Sums(bias), Of(y));
    }

    public void Backward(Tensor dy, Tensor weight, Tensor? dh, Tensor? a, Tensor dx)
    {
        var (N, D, O) = (dy.size(0), weight.size(1), weight.size(0));
        Factors<T>? added = dh is null ? null : new(Of(dh), dh.size(1), false, Of(a), D, false, a!.size(0));
        Tiles<T, W>.Product(N, D, new(Of(dy), O, false, Of(weight), D, false, O), added, null, Of(dx));
    }

    public void Product(Tensor left, bool transposeLeft, Tensor right, Tensor target) =>
        Tiles<T, W>.Product(target.size(0), target.size(1),
            new(Of(left), left.size(1), transposeLeft, Of(right), right.size(1), false, right.size(0)), null, null, Of(target));

    public void Down(LowRankShape shape, Tensor x, Tensor a, Tensor? gates, Tensor h, Tensor gated) =>
        Kernel(shape).Down(Of(x), Of(a), Sums(gates), Sums(h), Of(gated));

    public void Gate(LowRankShape shape, Tensor h, Tensor? gates, Tensor gated) => Kernel(shape).Gate(Sums(h), Sums(gates), Of(gated));

    public void LowRankBackward(LowRankShape shape, Tensor dy, Tensor b, Tensor? gates, Tensor? h, Tensor? gated, Tensor? x, Tensor dh,
        Tensor? dgates, Tensor? db, Tensor? da) =>
        Kernel(shape).Backward(Of(dy), Of(b), Sums(gates), Sums(h), Of(gated), Of(x), Of(dh), Sums(dgates), Sums(db), Sums(da));

    private static LowRankKernel<T, W> Kernel(LowRankShape shape) =>
        new(shape.Rows, shape.Inputs, shape.Outputs, shape.Ranks, shape.Gates, W.CreateTruncating(shape.Scale));

    private static T* Of(Tensor? tensor) => TensorMemory.Of<T>(tensor);

    private static W* Sums(Tensor? tensor) => TensorMemory.Of<W>(tensor);
}
