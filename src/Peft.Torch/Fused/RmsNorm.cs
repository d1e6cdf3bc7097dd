using static Peft.Torch.TensorMemory;

namespace Peft.Torch;

public static partial class Fused
{
    /// <summary>weight * x / sqrt(mean(x squared) + eps); statistics in float32, rounded to x's type before the weight.</summary>
    /// <remarks>Shapes: x [.., D], weight [D] gives [.., D]. Gradient: to x and weight; first derivatives only.
    /// Errors: <see cref="ArgumentException"/> when shapes do not meet.</remarks>
    public static Tensor rms_norm(Tensor x, Tensor weight, double eps)
    {
        if (x.dim() < 1 || weight.dim() != 1 || x.size(-1) != weight.size(0))
            throw new ArgumentException($"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)}; x is [..., D] and weight [D]");
        return Kernels.ServeRows(x) ? new RmsNormFunction((float)eps).Apply(x, weight) : Composed.rms_norm(x, weight, eps);
    }
}

/// <summary>RMSNorm over the memory of CPU tensors; inputs x, weight. Backward computes a row's statistics again: one pass over x is
/// cheaper than a graph that holds more.</summary>
internal sealed unsafe class RmsNormFunction(float eps) : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight) = (inputs[0]!, inputs[1]!);
        Save(x, weight);
        var rows = x.Dense();
        var result = torch.empty_like(rows);
        var factors = weight.As(x.dtype).Dense();
        var (count, n) = Size(x);
        if (x.dtype == ScalarType.Float32) Run<float>();
        else Run<ushort>();
        return [result];

        void Run<T>()
            where T : unmanaged => RmsNormKernel<T>.Forward(Of<T>(rows), Of<T>(factors), Of<T>(result), count, n, eps);
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (x, weight) = (saved[0]!, saved[1]!);
        var (rows, slopes, factors) = (x.Dense(), gradients[0]!.Dense(), weight.As(x.dtype).Dense());
        var (count, n) = Size(x);
        var dx = Needs(0) ? torch.empty_like(rows) : null;
        var partial = Needs(1) ? torch.zeros([RmsNormKernel<float>.Shares(count, n), n]) : null;
        if (x.dtype == ScalarType.Float32) Run<float>();
        else Run<ushort>();
        return [dx, partial?.sum([0]).As(weight.dtype)];

        void Run<T>()
            where T : unmanaged => RmsNormKernel<T>.Backward(
                Of<T>(slopes), Of<T>(rows), Of<T>(factors), Of<T>(dx), Of<float>(partial), count, n, eps);
    }

    private static (long Rows, long Columns) Size(Tensor x) => (x.numel() / x.size(-1), x.size(-1));
}
