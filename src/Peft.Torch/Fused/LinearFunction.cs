namespace Peft.Torch;

/// <summary>A linear layer on the CPU; inputs x, weight, bias. Only what backward needs is kept: of a frozen layer its weight,
/// uncopied.</summary>
internal sealed class LinearFunction : AutogradFunction
{
    private long[] _shape = [];

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, bias) = (inputs[0]!, inputs[1]!, inputs[2]);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        _shape = x.shape;
        var rows = LinearTensors.Rows(x, type);
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        kernel.Forward(rows, LinearTensors.Dense(weight, type), bias?.As(kernel.SumType), null, null, y);
        Save(Needs(1) ? x : null, weight);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (gradient, x, weight) = (gradients[0], saved[0], saved[1]!);
        if (gradient is null)
            return [null, null, null];
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradient, type);
        Tensor? dx = null;
        if (Needs(0))
        {
            dx = torch.empty(_shape, type);
            kernel.Backward(dy, LinearTensors.Dense(weight, type), null, null, dx);
        }
        var dw = Needs(1) ? LinearTensors.WeightGradient(kernel, dy, LinearTensors.Rows(x!, type), weight) : null;
        return [dx?.As(weight.dtype), dw, Needs(2) ? dy.sum(0, type: kernel.SumType).As(weight.dtype) : null];
    }
}

/// <summary>Tensors as kernels of linear layers take them.</summary>
internal static class LinearTensors
{
    /// <summary>[.., D] as dense rows [N, D].</summary>
    public static Tensor Rows(Tensor x, ScalarType type) => Dense(x.reshape(-1, x.size(-1)), type);

    public static Tensor Dense(Tensor tensor, ScalarType type) => tensor.As(type).Dense();

    /// <summary>dyt x, in the weight's type.</summary>
    public static Tensor WeightGradient(ILinearKernel kernel, Tensor dy, Tensor x, Tensor weight)
    {
        var dw = torch.empty(weight.shape, x.dtype);
        kernel.Product(dy, true, x, dw);
        return dw.As(weight.dtype);
    }
}
