namespace Peft.Torch.Fused;

/// <summary>Experts that have one down projection together: x At is computed once, and each expert's gate weighs it
/// before that expert's up projection.</summary>
internal sealed class OneDownExperts(LowRankShape shape, ILinearKernel kernel) : IExpertProducts
{
    private readonly long _rank = shape.Ranks / shape.Gates;

    /// <summary>Whether a is that of one expert while b is that of all.</summary>
    public static bool Serves(Tensor a, Tensor b) => a.size(0) != b.size(1);

    /// <inheritdoc/>
    public LowRankTerm Forward(Tensor x, Tensor a, Tensor b, Tensor? gates, out Tensor h)
    {
        h = torch.empty([shape.Rows, _rank], kernel.SumType);
        var plain = torch.empty([shape.Rows, _rank], x.dtype);
        kernel.Down(
            shape with { Ranks = _rank, Gates = 1, Scale = 1 }, x, LinearTensors.Dense(a, x.dtype), null, h, plain);
        return new LowRankTerm(
            Gated(h, gates!).As(x.dtype), LinearTensors.Dense(b, x.dtype), Transposed: true, null);
    }

    /// <inheritdoc/>
    public LowRankGradients Backward(
        Tensor dy, Tensor? x, Tensor a, Tensor b, Tensor? gates, Tensor? h, bool needsB, bool needsGates)
    {
        var heads = torch.empty([shape.Rows, shape.Ranks], dy.dtype);                    // scale * dy B
        var gated = needsB ? Gated(h!, gates!).As(dy.dtype) : null;
        var db = needsB ? torch.empty([shape.Ranks, shape.Outputs], kernel.SumType) : null;
        kernel.LowRankBackward(
            shape with { Gates = 1 }, dy, LinearTensors.Dense(b, dy.dtype), null, null, gated, null, heads, null, db,
            null);
        var each = heads.As(kernel.SumType).view(shape.Rows, shape.Gates, _rank);
        var dgates = needsGates ? (each * h!.unsqueeze(1)).sum(-1) : null;
        var dh = (each * GateRows(gates!).unsqueeze(2)).sum(1).As(dy.dtype);             // [N, R]
        var da = x is null ? null : LinearTensors.WeightGradient(kernel, dh, x, a);
        return new LowRankGradients(
            new LowRankTerm(dh, LinearTensors.Dense(a, dy.dtype), Transposed: false, null), da, db?.t().Dense(),
            dgates);
    }

    // [N, C], as the up products take it.
    private Tensor Gated(Tensor h, Tensor gates) =>
        (h.unsqueeze(1) * (GateRows(gates) * shape.Scale).unsqueeze(2)).view(shape.Rows, shape.Ranks);

    private Tensor GateRows(Tensor gates) =>
        LinearTensors.Dense(gates.reshape(-1, gates.size(-1)), kernel.SumType);
}
