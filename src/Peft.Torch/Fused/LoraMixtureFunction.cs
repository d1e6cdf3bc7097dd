namespace Peft.Torch;

/// <summary>The mixture operation on the CPU; inputs x, weight, bias, a, b, gates, loraInput.</summary>
internal sealed class LoraMixtureFunction(double scale) : AutogradFunction
{
    private const int X = 0, Weight = 1, Bias = 2, A = 3, B = 4, Gates = 5, LoraInput = 6, Count = 7;
    private long[] _shape = [];
    private bool _split;
    private LowRankShape _ranks;

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, a, b, gates, loraInput) = (inputs[X]!, inputs[Weight]!, inputs[A]!, inputs[B]!, inputs[Gates], inputs[LoraInput]);
        var type = LinearKernel.ProductType(x.dtype);
        var kernel = LinearKernel.For(type);
        (_shape, _split) = (x.shape, loraInput is not null);
        var rows = LinearTensors.Rows(x, type);
        _ranks = new LowRankShape(rows.size(0), rows.size(1), weight.size(0), a.size(0), gates?.size(-1) ?? 1, scale);
        var h = torch.empty([_ranks.Rows, _ranks.Ranks], kernel.SumType);
        var gated = torch.empty([_ranks.Rows, _ranks.Ranks], type);
        kernel.Down(_ranks, loraInput is null ? rows : LinearTensors.Rows(loraInput, type), LinearTensors.Dense(a, type),
            GateRows(gates, kernel), h, gated);
        var y = torch.empty([.. _shape[..^1], weight.size(0)], type);
        kernel.Forward(rows, LinearTensors.Dense(weight, type), inputs[Bias]?.As(kernel.SumType), gated, LinearTensors.Dense(b, type), y);
        // The input is kept only for the gradients that are sums over rows of it.
        Save(Needs(Weight) || (Needs(A) && !_split) ? x : null, weight, a, b, gates, Needs(A) ? loraInput : null,
            Needs(B) || Needs(Gates) ? h : null);
        return [y.As(x.dtype)];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var result = new Tensor?[Count];
        if (gradients[0] is null)
            return result;
        var (x, weight, a) = (saved[X], saved[Weight]!, saved[A - 1]!);
        var type = LinearKernel.ProductType(weight.dtype);
        var kernel = LinearKernel.For(type);
        var dy = LinearTensors.Rows(gradients[0]!, type);
        var dh = Needs(Gates) || Needs(A) || Needs(B) || Needs(LoraInput) || (Needs(X) && !_split)
            ? LowRankBackward(kernel, dy, saved, result) : null;
        if (Needs(X))
        {
            var dx = torch.empty(_shape, type);
            kernel.Backward(dy, LinearTensors.Dense(weight, type), _split ? null : dh, LinearTensors.Dense(a, type), dx);
            result[X] = dx.As(weight.dtype);
        }
        if (Needs(LoraInput))
        {
            var dx = torch.empty([_ranks.Rows, _ranks.Inputs], type);
            kernel.Product(dh!, false, LinearTensors.Dense(a, type), dx);
            result[LoraInput] = dx.As(weight.dtype).view(_shape);
        }
        if (Needs(Weight))
            result[Weight] = LinearTensors.WeightGradient(kernel, dy, LinearTensors.Rows(x!, type), weight);
        if (Needs(Bias))
            result[Bias] = dy.sum(0, type: kernel.SumType).As(weight.dtype);
        return result;
    }

    // The gradients of a, b and gates; returns that of h.
    private Tensor LowRankBackward(ILinearKernel kernel, Tensor dy, Tensor?[] saved, Tensor?[] result)
    {
        var (x, a, b, gates, loraInput, h) = (saved[0], saved[2]!, saved[3]!, saved[4], saved[5], saved[6]);
        var gateRows = GateRows(gates, kernel);
        var dh = torch.empty([_ranks.Rows, _ranks.Ranks], dy.dtype);
        var (gated, db, da, dgates) = ((Tensor?)null, (Tensor?)null, (Tensor?)null, (Tensor?)null);
        if (Needs(B))
        {
            gated = torch.empty_like(dh);
            kernel.Gate(_ranks, h!, gateRows, gated);
            db = torch.empty([_ranks.Ranks, _ranks.Outputs], kernel.SumType);
        }
        if (Needs(A))
            da = torch.empty(a.shape, kernel.SumType);
        if (Needs(Gates))
            dgates = torch.empty([_ranks.Rows, _ranks.Gates], kernel.SumType);
        var input = Needs(A) ? LinearTensors.Rows((_split ? loraInput : x)!, dy.dtype) : null;
        kernel.LowRankBackward(_ranks, dy, LinearTensors.Dense(b, dy.dtype), gateRows, h, gated, input, dh, dgates, db, da);
        result[A] = da?.As(a.dtype);
        result[B] = db?.t().As(b.dtype).Dense();
        result[Gates] = dgates?.As(gates!.dtype).view(gates.shape);
        return dh;
    }

    private static Tensor? GateRows(Tensor? gates, ILinearKernel kernel) =>
        gates is null ? null : LinearTensors.Dense(gates.reshape(-1, gates.size(-1)), kernel.SumType);
}
