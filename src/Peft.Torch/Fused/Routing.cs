namespace Peft.Torch.Fused;

public static partial class Fused
{
    /// <summary>The scores of every expert: x weightt in float32 whatever x is in, without a float32 copy of
    /// x.</summary>
    /// <remarks>Shapes: x [.., D], weight [E, D] float32 gives [N, E] float32, N the product of the leading dimensions.
    /// Gradient: to both. Errors: <see cref="ArgumentException"/> when shapes or types do not meet.</remarks>
    public static Tensor router_scores(Tensor x, Tensor weight)
    {
        RouterChecks.Check(x, weight);
        return RouterChecks.Serve(x) ? new RouterScoresFunction().Apply(x, weight) : Composed.router_scores(x, weight);
    }

    /// <summary>Scores, their softmax, and the gates of the k experts with the largest probability, as one
    /// operation.</summary>
    /// <remarks>Shapes: x [.., D], weight [E, D] float32 gives gates, probabilities and logits [N, E] float32, and
    /// selected bool [N, E]. Gradient: to x and weight, through gates, probabilities and logits; first derivatives
    /// only. Errors: as <see cref="router_scores"/>.</remarks>
    public static (Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits) topk_softmax(
        Tensor x, Tensor weight, int k, bool normalize)
    {
        RouterChecks.Check(x, weight);
        if (!RouterChecks.Serve(x))
        {
            var logits = Composed.router_scores(x, weight);
            var scores = logits.softmax(-1);
            var chosen = top_mask(scores.detach(), k);
            return (kept_gates(scores, chosen, normalize), chosen, scores, logits);
        }

        var function = new TopKSoftmaxFunction(k, normalize);
        var outputs = function.ApplyAll(x, weight);
        return (outputs[0], function.Selected!, outputs[1], outputs[2]);
    }

    /// <summary>Gates from probabilities and the experts that are kept: the others are zero, and where asked the kept
    /// ones are divided by their sum.</summary>
    /// <remarks>Shapes: probabilities [N, E], selected bool [N, E] gives [N, E]. Gradient: to probabilities, also
    /// through the sum; first derivatives only.</remarks>
    public static Tensor kept_gates(Tensor probabilities, Tensor selected, bool normalize) =>
        SmallRows.Serve(probabilities) && selected.dtype == ScalarType.Bool
            ? new KeptGatesFunction(normalize).Apply(probabilities, selected)
            : Composed.kept_gates(probabilities, selected, normalize);

    /// <summary>The sparse projection of scores u onto the simplex: <c>p = max(u - tau, 0) / max(1 - lambda, eps)</c>,
    /// tau such that p sums to 1.</summary>
    /// <remarks>Source: LD-MoLE, arXiv:2509.25684: with u sorted downwards, <c>k = max{j : 1 - lambda + j u_(j) >
    /// sum of the first j}</c> and <c>tau = (sum of the first k - 1 + lambda) / k</c>. Shapes: scores [N, E], sparsity
    /// lambda [N] gives gates [N, E] and which are open, bool [N, E]; a score that meets tau but for rounding is open
    /// with a gate of zero. Gradient: to both; k is constant; first derivatives only.</remarks>
    public static (Tensor Gates, Tensor Open) sparsegen(Tensor scores, Tensor sparsity, double eps)
    {
        if (!SmallRows.Serve(scores) || sparsity.dtype != ScalarType.Float32)
            return Composed.sparsegen(scores, sparsity, eps);
        var function = new SparsegenFunction((float)eps);
        return (function.Apply(scores, sparsity), function.Open!);
    }

    /// <summary>The k largest of every row as a mask; of equals the first, and NaN before all.</summary>
    /// <remarks>Shapes: values [N, E] gives bool [N, E] with k true in every row. Gradient: none.</remarks>
    public static Tensor top_mask(Tensor values, int k)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return (SmallRows.Serve(values) ? SmallRows.TopMask(values.Dense(), k) : Composed.top_mask(values, k))
            .MoveToOuterDisposeScope();
    }
}

/// <summary>What operations of routers take.</summary>
internal static class RouterChecks
{
    public static void Check(Tensor x, Tensor weight)
    {
        if (x.dim() < 1 || weight.dim() != 2 || x.size(-1) != weight.size(1) || weight.dtype != ScalarType.Float32)
        {
            throw new ArgumentException($"x {Shapes.Of(x)} does not meet weight {Shapes.Of(weight)} {weight.dtype}; "
                + "x is [..., D] and weight [E, D] float32");
        }
    }

    public static bool Serve(Tensor x) => Kernels.ServeRows(x) && Gemm.IsAvailable;
}

/// <summary>Scores on the CPU; inputs x, weight.</summary>
internal sealed class RouterScoresFunction : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight) = (inputs[0]!, inputs[1]!);
        var scores = torch.empty([x.numel() / x.size(-1), weight.size(0)], ScalarType.Float32);
        RouterScores.Kernel(x, weight).Forward(scores, null);
        Save(x, weight);
        return [scores];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => gradients[0] is { } slopes
        ? RouterScores.Backward(saved[0]!, saved[1]!, slopes.Dense(), null, Needs(0), Needs(1)) : [null, null];
}

/// <summary>Scores, softmax and the gates of the best on the CPU; inputs x, weight, outputs gates, probabilities,
/// logits.</summary>
internal sealed unsafe class TopKSoftmaxFunction(int k, bool normalize) : AutogradFunction
{
    /// <summary>The experts that were chosen, bool [N, E]; of the caller's scope.</summary>
    public Tensor? Selected { get; private set; }

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight) = (inputs[0]!, inputs[1]!);
        long[] shape = [x.numel() / x.size(-1), weight.size(0)];
        var (logits, p, gates) = (torch.empty(shape, ScalarType.Float32), torch.empty(shape, ScalarType.Float32),
            torch.empty(shape, ScalarType.Float32));
        var mask = torch.zeros(shape, ScalarType.Bool);
        var (n, scores, probabilities, kept) =
            (shape[1], (nint)TensorMemory.Of<float>(logits), (nint)TensorMemory.Of<float>(p),
            (nint)TensorMemory.Of<byte>(mask));
        var target = (nint)TensorMemory.Of<float>(gates);
        RouterScores.Kernel(x, weight).Forward(logits, (begin, end) =>
        {
            var at = begin * n;
            SmallRows.Softmax((float*)scores + at, (float*)probabilities + at, end - begin, n);
            SmallRows.Choose((float*)probabilities + at, (byte*)kept + at, end - begin, (int)n, k);
            SmallRows.Keep((float*)probabilities + at, (byte*)kept + at, (float*)target + at, end - begin, n,
                normalize);
        });
        Selected = mask.MoveToOuterDisposeScope();
        Save(x, weight, p.alias(), mask);
        return [gates, p, logits];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (p, slopes) = (saved[2]!, torch.empty(saved[2]!.shape, ScalarType.Float32));
        var (ofGates, ofP, ofLogits) = (gradients[0]?.Dense(), gradients[1]?.Dense(), gradients[2]?.Dense());
        var (n, probabilities, kept, target) =
            (p.size(1), (nint)TensorMemory.Of<float>(p), (nint)TensorMemory.Of<byte>(saved[3]),
            (nint)TensorMemory.Of<float>(slopes));
        var (g, d, l) = ((nint)TensorMemory.Of<float>(ofGates), (nint)TensorMemory.Of<float>(ofP),
            (nint)TensorMemory.Of<float>(ofLogits));
        return RouterScores.Backward(saved[0]!, saved[1]!, slopes, (begin, end) =>
        {
            var (at, rows) = (begin * n, end - begin);
            var (own, result) = ((nint)((float*)probabilities + at), (nint)((float*)target + at));
            if (g == 0)
                new Span<float>((float*)result, checked((int)(rows * n))).Clear();
            else
                SmallRows.KeepBack((float*)g + at, (float*)own, (byte*)kept + at, (float*)result, rows, n, normalize);
            SmallRows.Add((float*)result, d == 0 ? null : (float*)d + at, rows * n);
            SmallRows.SoftmaxBack((float*)result, (float*)own, rows, n);
            SmallRows.Add((float*)result, l == 0 ? null : (float*)l + at, rows * n);
        }, Needs(0), Needs(1));
    }
}

/// <summary>Scores of a router by the type of its input.</summary>
internal static class RouterScores
{
    public static IRouterScoresKernel Kernel(Tensor x, Tensor weight)
    {
        var (rows, factors) = (LinearTensors.Rows(x, x.dtype), weight.Dense());
        return x.dtype == ScalarType.Float32
            ? new RouterScoresKernel<float>(rows, factors) : new RouterScoresKernel<ushort>(rows, factors);
    }

    /// <summary>The gradients of x and weight.</summary>
    public static Tensor?[] Backward(
        Tensor x, Tensor weight, Tensor slopes, Action<long, long>? prepare, bool needsX, bool needsWeight)
    {
        var dx = needsX ? torch.empty(x.shape, x.dtype) : null;
        var dw = needsWeight ? torch.empty(weight.shape, ScalarType.Float32) : null;
        Kernel(x, weight).Backward(slopes, dx, dw, prepare);
        return [dx, dw];
    }
}

/// <summary>Gates on the CPU; inputs probabilities, selected.</summary>
internal sealed unsafe class KeptGatesFunction(bool normalize) : AutogradFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (p, selected) = (inputs[0]!.Dense(), inputs[1]!.Dense());
        var gates = torch.empty(p.shape, ScalarType.Float32);
        SmallRows.Keep(TensorMemory.Of<float>(p), TensorMemory.Of<byte>(selected), TensorMemory.Of<float>(gates),
            p.size(0), p.size(1), normalize);
        Save(p, selected);
        return [gates];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (slopes, p) = (gradients[0]!.Dense(), saved[0]!);
        var dp = torch.empty(p.shape, ScalarType.Float32);
        SmallRows.KeepBack(TensorMemory.Of<float>(slopes), TensorMemory.Of<float>(p), TensorMemory.Of<byte>(saved[1]),
            TensorMemory.Of<float>(dp), p.size(0), p.size(1), normalize);
        return [dp, null];
    }
}

/// <summary>The sparse projection on the CPU; inputs scores, sparsity.</summary>
internal sealed unsafe class SparsegenFunction(float eps) : AutogradFunction
{
    /// <summary>Which gates are open, bool [N, E]; of the caller's scope.</summary>
    public Tensor? Open { get; private set; }

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (scores, sparsity) = (inputs[0]!.Dense(), inputs[1]!.Dense());
        long[] shape = scores.shape;
        var (gates, open) = (torch.empty(shape, ScalarType.Float32), torch.empty(shape, ScalarType.Bool));
        // Tau and the size of the support of each row.
        var (tau, support) =
            (torch.empty([shape[0]], ScalarType.Float32), torch.empty([shape[0]], ScalarType.Int32));
        SmallRows.Project(
            TensorMemory.Of<float>(scores), TensorMemory.Of<float>(sparsity), eps, TensorMemory.Of<float>(gates),
            TensorMemory.Of<byte>(open), TensorMemory.Of<float>(tau), TensorMemory.Of<int>(support), shape[0],
            (int)shape[1]);
        Open = open.MoveToOuterDisposeScope();
        Save(scores, sparsity, tau, support);
        return [gates];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (slopes, scores, sparsity) = (gradients[0]!.Dense(), saved[0]!, saved[1]!);
        var (du, dl) = (torch.empty(scores.shape, ScalarType.Float32), torch.empty(sparsity.shape, ScalarType.Float32));
        SmallRows.ProjectBack(
            TensorMemory.Of<float>(slopes), TensorMemory.Of<float>(scores), TensorMemory.Of<float>(sparsity), eps,
            TensorMemory.Of<float>(saved[2]), TensorMemory.Of<int>(saved[3]), TensorMemory.Of<float>(du),
            TensorMemory.Of<float>(dl), scores.size(0), (int)scores.size(1));
        return [du, dl];
    }
}

internal static partial class Composed
{
    private const double SparsegenRounding = 1e-6;

    public static (Tensor Gates, Tensor Open) sparsegen(Tensor scores, Tensor sparsity, double eps)
    {
        var left = (1 - sparsity).unsqueeze(-1);                                               // [N, 1]
        var (sorted, _) = scores.sort(-1, descending: true, stable: true);
        var sums = sorted.cumsum(-1);                                                          // [N, E]
        var place = torch.arange(scores.shape[^1], scores.dtype, scores.device) + 1;
        var support = (left + sorted * place).gt(sums).detach().to(scores.dtype).sum(-1, keepdim: true).clamp(min: 1);
        var tau = (sums.gather(-1, support.to(torch.int64) - 1) - left) / support;             // [N, 1]
        var above = scores - tau;
        return (above.relu() / left.clamp(min: eps), above.detach().gt(-SparsegenRounding));
    }

    public static Tensor router_scores(Tensor x, Tensor weight) =>
        torch.nn.functional.linear(x.reshape(-1, weight.size(1)).to(ScalarType.Float32), weight);

    public static Tensor kept_gates(Tensor probabilities, Tensor selected, bool normalize)
    {
        var kept = probabilities * selected.to(probabilities.dtype);
        return normalize ? kept / kept.sum(-1, keepdim: true) : kept;
    }

    // libtorch's topk promises no order for equals, a stable sort does.
    public static Tensor top_mask(Tensor values, int k)
    {
        var (_, order) = values.sort(-1, descending: true, stable: true);
        var chosen = order.narrow(-1, 0, k);
        return torch.zeros(values.shape, ScalarType.Float32, values.device)
            .scatter(-1, chosen, torch.ones(chosen.shape, ScalarType.Float32, values.device)).gt(0.5);
    }
}
