namespace Peft.Torch;

/// <summary>The head with its loss on the CPU; inputs hidden, weight, targets.</summary>
internal sealed class LinearCrossEntropyFunction(long chunkRows, double softcap) : AutogradFunction
{
    private ScalarType _type;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (hidden, weight, targets) = (inputs[0]!, inputs[1]!, inputs[2]!.Dense());
        _type = hidden.dtype;
        var product = LinearKernel.ProductType(_type);
        var sum = LinearKernel.For(product).SumType;
        var losses = torch.empty([hidden.size(0)], sum);
        var lses = Needs(1) ? torch.empty([hidden.size(0)], sum) : null;
        var slopes = Needs(0) ? torch.empty(hidden.shape, product) : null;
        var (rows, words) = (LinearTensors.Dense(hidden, product), LinearTensors.Dense(weight, product));
        if (product == ScalarType.BFloat16)
            new LossKernel<ushort, float>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        else if (product == ScalarType.Float32)
            new LossKernel<float, float>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        else
            new LossKernel<double, double>(rows, words, targets, chunkRows, softcap).Forward(losses, lses, slopes);
        Save(Needs(1) ? [slopes, hidden, weight, targets, lses] : [slopes]);
        return [losses];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null)
            return [null, null, null];
        var outer = gradients[0]!.Dense();
        return
        [
            saved[0] is { } slopes ? (slopes * outer.unsqueeze(1)).As(_type) : null,
            Needs(1) ? WeightGradient(outer, saved[1]!, saved[2]!, saved[3]!, saved[4]!) : null,
            null,
        ];
    }

    private Tensor WeightGradient(Tensor outer, Tensor hidden, Tensor weight, Tensor targets, Tensor lses)
    {
        var product = LinearKernel.ProductType(_type);
        var dweight = torch.empty(weight.shape, product);
        var (rows, words) = (LinearTensors.Dense(hidden, product), LinearTensors.Dense(weight, product));
        if (product == ScalarType.BFloat16)
            new LossKernel<ushort, float>(rows, words, targets, chunkRows, softcap).WeightGradient(outer, lses, dweight);
        else if (product == ScalarType.Float32)
            new LossKernel<float, float>(rows, words, targets, chunkRows, softcap).WeightGradient(outer, lses, dweight);
        else
            new LossKernel<double, double>(rows, words, targets, chunkRows, softcap).WeightGradient(outer, lses, dweight);
        return dweight.As(weight.dtype);
    }
}
