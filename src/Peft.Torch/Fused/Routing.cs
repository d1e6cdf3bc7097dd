using System.Numerics.Tensors;

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

    /// <summary>Scores and their softmax, as one operation.</summary>
    /// <remarks>Shapes, types, gradient and errors: as <see cref="router_scores"/>, for logits and probabilities [N, E]
    /// each.</remarks>
    public static (Tensor Logits, Tensor Probabilities) router_softmax(Tensor x, Tensor weight)
    {
        RouterChecks.Check(x, weight);
        if (!RouterChecks.Serve(x))
            return Composed.router_softmax(x, weight);
        var outputs = new RouterSoftmaxFunction().ApplyAll(x, weight);
        return (outputs[0], outputs[1]);
    }

    /// <summary>Scores, their softmax, and the gates of the k experts with the largest score, as one
    /// operation.</summary>
    /// <remarks>Shapes: x [.., D], weight [E, D] float32, present bool [E] or null gives gates, probabilities and
    /// logits [N, E] float32, and selected bool [N, E]; an expert that is not present has logit -inf and is never
    /// selected. Gradient: to x and weight, through gates, probabilities and logits; first derivatives only. Errors: as
    /// <see cref="router_scores"/>.</remarks>
    /// <param name="x">What tokens are chosen for by.</param>
    /// <param name="weight">The experts' vectors.</param>
    /// <param name="rule">How the best are chosen and weighted.</param>
    /// <param name="present">Which experts there are; null: all.</param>
    /// <param name="known">Part of the scores that is known beforehand, [N, E] float32, joined before they are divided
    /// by the temperature; it gets no gradient. Null: none.</param>
    public static (Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits) topk_softmax(
        Tensor x, Tensor weight, TopKRule rule, Tensor? present = null, Tensor? known = null)
    {
        RouterChecks.Check(x, weight);
        RouterChecks.CheckKnown(x, weight, known);
        if (!RouterChecks.Serve(x))
            return Composed.topk_softmax(x, weight, rule, present, known);
        var function = new TopKSoftmaxFunction(rule, known);
        var outputs = function.ApplyAll(x, weight, present);
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

    /// <summary>The k largest of every row as a mask; of equals the first, and NaN before all.</summary>
    /// <remarks>Shapes: values [N, E] gives bool [N, E] with k true in every row. Gradient: none.</remarks>
    public static Tensor top_mask(Tensor values, int k)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return (SmallRows.Serve(values) ? SmallRows.TopMask(values.Dense(), k) : Composed.top_mask(values, k))
            .MoveToOuterDisposeScope();
    }

    /// <summary>The k largest of every row, largest first.</summary>
    /// <remarks>Shapes: values [N, E] gives [N, k]. Gradient: none.</remarks>
    public static Tensor largest(Tensor values, int k)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return (SmallRows.Serve(values) && k <= values.size(1)
            ? SmallRows.Largest(values.Dense(), k) : Composed.largest(values, k)).MoveToOuterDisposeScope();
    }

    /// <summary>The largest of every row while they add up to at most p, as a mask; of equals the first.</summary>
    /// <remarks>Shapes: probabilities [N, E] gives bool [N, E]; never fewer than <paramref name="least"/> of a row, and
    /// with <paramref name="keepsCrossing"/> also the one that takes the sum above p. Gradient: none.</remarks>
    public static Tensor nucleus_mask(Tensor probabilities, double p, int least, bool keepsCrossing)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        return (SmallRows.Serve(probabilities)
            ? SmallRows.NucleusMask(probabilities.Dense(), (float)p, least, keepsCrossing)
            : Composed.nucleus_mask(probabilities, p, least, keepsCrossing)).MoveToOuterDisposeScope();
    }
}

/// <summary>How a router compares a token with an expert's vector.</summary>
public enum RouterScore
{
    /// <summary>Their product.</summary>
    Product,

    /// <summary>Its magnitude.</summary>
    Magnitude,

    /// <summary>The product after the token was standardized: less its mean, over the root of variance +
    /// 1e-5.</summary>
    Standardized,
}

/// <summary>How the best experts are chosen and weighted.</summary>
/// <param name="K">How many are chosen.</param>
/// <param name="Normalize">Whether kept probabilities are divided by their sum.</param>
/// <param name="Score">What is compared.</param>
/// <param name="Temperature">Divisor of the scores.</param>
/// <param name="Epsilon">Added to the sum that the kept are divided by.</param>
public readonly record struct TopKRule(
    int K, bool Normalize, RouterScore Score = RouterScore.Product, double Temperature = 1, double Epsilon = 0);

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

    public static void CheckKnown(Tensor x, Tensor weight, Tensor? known)
    {
        if (known is not null && (known.dtype != ScalarType.Float32 || known.dim() != 2
            || known.size(0) != x.numel() / Math.Max(1, x.size(-1)) || known.size(1) != weight.size(0)))
        {
            throw new ArgumentException($"known {Shapes.Of(known)} {known.dtype} does not meet x {Shapes.Of(x)} and "
                + $"weight {Shapes.Of(weight)}; it is [N, E] float32");
        }
    }

    public static bool Serve(Tensor x) => Kernels.ServeRows(x) && Gemm.IsAvailable;
}

/// <summary>An operation whose first input is what a router goes by.</summary>
internal abstract class ScoringFunction : AutogradFunction
{
    /// <summary>Where the gradient of x goes, and whether it is added to what is there; null: nowhere.</summary>
    protected (Tensor Target, bool Adds)? InputGradient(Tensor x)
    {
        if (!Needs(0))
            return null;
        return SumSoFar(0) is { } sum ? (sum.contiguous(), true) : (torch.empty(x.shape, x.dtype), false);
    }

    /// <summary>The gradients of x and weight, from those of the scores.</summary>
    protected Tensor?[] OfScores(
        Tensor x, Tensor weight, Tensor slopes, StandardizedSlopes? standard = null, Action<long, long>? prepare = null)
    {
        var dx = InputGradient(x);
        var dw = Needs(1) ? torch.empty(weight.shape, ScalarType.Float32) : null;
        RouterScores.Kernel(x, weight).Backward(slopes, dx?.Target, dx is { Adds: true }, dw, standard, prepare);
        return [dx?.Target, Leave(weight, dw)];
    }
}

/// <summary>Scores on the CPU; inputs x, weight.</summary>
internal sealed class RouterScoresFunction : ScoringFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight) = (inputs[0]!, inputs[1]!);
        var scores = torch.empty([x.numel() / x.size(-1), weight.size(0)], ScalarType.Float32);
        RouterScores.Kernel(x, weight).Forward(scores, null, null);
        Save(x, weight);
        return [scores];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => gradients[0] is { } slopes
        ? OfScores(saved[0]!, saved[1]!, slopes.Dense()) : [null, null];
}

/// <summary>Scores and their softmax on the CPU; inputs x, weight, outputs logits, probabilities.</summary>
internal sealed unsafe class RouterSoftmaxFunction : ScoringFunction
{
    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight) = (inputs[0]!, inputs[1]!);
        var logits = torch.empty([x.numel() / x.size(-1), weight.size(0)], ScalarType.Float32);
        var p = torch.empty_like(logits);
        var (n, scores, target) =
            (weight.size(0), (nint)TensorMemory.Of<float>(logits), (nint)TensorMemory.Of<float>(p));
        RouterScores.Kernel(x, weight).Forward(logits, null, (begin, end) => SmallRows.Softmax(
            (float*)scores + begin * n, (float*)target + begin * n, end - begin, n));
        Save(x, weight, p.alias());
        return [logits, p];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (p, slopes) = (saved[2]!, torch.zeros(saved[2]!.shape, ScalarType.Float32));
        var (ofLogits, ofP) = (gradients[0]?.Dense(), gradients[1]?.Dense());
        var (n, own, target) = (p.size(1), (nint)TensorMemory.Of<float>(p), (nint)TensorMemory.Of<float>(slopes));
        var (l, d) = ((nint)TensorMemory.Of<float>(ofLogits), (nint)TensorMemory.Of<float>(ofP));
        return OfScores(saved[0]!, saved[1]!, slopes, null, (begin, end) =>
        {
            var at = begin * n;
            SmallRows.SoftmaxBack((float*)target + at, (float*)own + at, d == 0 ? null : (float*)d + at,
                l == 0 ? null : (float*)l + at, end - begin, n);
        });
    }
}

/// <summary>Scores, softmax and the gates of the best on the CPU; inputs x, weight, present, outputs gates,
/// probabilities, logits.</summary>
internal sealed unsafe class TopKSoftmaxFunction(TopKRule rule, Tensor? known) : ScoringFunction
{
    private bool _isPlain;

    /// <summary>The experts that were chosen, bool [N, E]; of the caller's scope.</summary>
    public Tensor? Selected { get; private set; }

    protected override Tensor[] Forward(Tensor?[] inputs)
    {
        var (x, weight, present) = (inputs[0]!, inputs[1]!, inputs[2]?.Dense());
        long[] shape = [x.numel() / x.size(-1), weight.size(0)];
        var (logits, p, gates) = (torch.empty(shape, ScalarType.Float32), torch.empty(shape, ScalarType.Float32),
            torch.empty(shape, ScalarType.Float32));
        var mask = torch.zeros(shape, ScalarType.Bool);
        _isPlain = rule is { Score: RouterScore.Product, Temperature: 1 } && present is null && known is null;
        // What logits were made of.
        var raw = _isPlain ? logits : torch.empty(shape, ScalarType.Float32);
        var moments = rule.Score == RouterScore.Standardized ? torch.empty([shape[0], 2], ScalarType.Float32) : null;
        var (n, own, scores) = (shape[1], (nint)TensorMemory.Of<float>(raw), (nint)TensorMemory.Of<float>(logits));
        var (probabilities, kept) = ((nint)TensorMemory.Of<float>(p), (nint)TensorMemory.Of<byte>(mask));
        var (target, there) = ((nint)TensorMemory.Of<float>(gates), (nint)TensorMemory.Of<byte>(present));
        var added = (nint)TensorMemory.Of<float>(known?.Dense());
        RouterScores.Kernel(x, weight).Forward(raw, moments, (begin, end) =>
        {
            var (at, rows) = (begin * n, end - begin);
            if (!_isPlain)
            {
                SmallRows.Logits((float*)own + at, (byte*)there, rule.Score == RouterScore.Magnitude,
                    (float)rule.Temperature, (float*)scores + at, rows, n);
            }

            if (added != 0)
            {
                var sums = new Span<float>((float*)scores + at, checked((int)(rows * n)));
                TensorPrimitives.FusedMultiplyAdd(new ReadOnlySpan<float>((float*)added + at, sums.Length),
                    1 / (float)rule.Temperature, sums, sums);
            }

            SmallRows.Softmax((float*)scores + at, (float*)probabilities + at, rows, n);
            SmallRows.Choose((float*)scores + at, (byte*)kept + at, rows, (int)n, rule.K);
            SmallRows.Unmark((byte*)there, (byte*)kept + at, rows, n);
            SmallRows.Keep((float*)probabilities + at, (byte*)kept + at, (float*)target + at, rows, n, rule.Normalize,
                (float)rule.Epsilon);
        });
        Selected = mask.MoveToOuterDisposeScope();
        Save(x, weight, present, p.alias(), mask, _isPlain ? null : raw, moments);
        return [gates, p, logits];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        var (p, slopes) = (saved[3]!, torch.empty(saved[3]!.shape, ScalarType.Float32));
        var (ofGates, ofP, ofLogits) = (gradients[0]?.Dense(), gradients[1]?.Dense(), gradients[2]?.Dense());
        var (n, probabilities, kept, target) =
            (p.size(1), (nint)TensorMemory.Of<float>(p), (nint)TensorMemory.Of<byte>(saved[4]),
            (nint)TensorMemory.Of<float>(slopes));
        var (g, d, l) = ((nint)TensorMemory.Of<float>(ofGates), (nint)TensorMemory.Of<float>(ofP),
            (nint)TensorMemory.Of<float>(ofLogits));
        var (there, raw) = ((nint)TensorMemory.Of<byte>(saved[2]), (nint)TensorMemory.Of<float>(saved[5]));
        var standard = saved[6] is { } moments ? new StandardizedSlopes(saved[5]!, moments) : null;
        return [.. OfScores(saved[0]!, saved[1]!, slopes, standard, (begin, end) =>
        {
            var (at, rows) = (begin * n, end - begin);
            var (own, result) = ((nint)((float*)probabilities + at), (nint)((float*)target + at));
            if (g == 0)
            {
                new Span<float>((float*)result, checked((int)(rows * n))).Clear();
            }
            else
            {
                SmallRows.KeepBack((float*)g + at, (float*)own, (byte*)kept + at, (float*)result, rows, n,
                    rule.Normalize, (float)rule.Epsilon);
            }

            SmallRows.SoftmaxBack((float*)result, (float*)own, d == 0 ? null : (float*)d + at,
                l == 0 ? null : (float*)l + at, rows, n);
            if (!_isPlain)
            {
                SmallRows.LogitsBack((float*)raw + at, (byte*)there, rule.Score == RouterScore.Magnitude,
                    (float)rule.Temperature, (float*)result, rows, n);
            }
        }), null];
    }
}

/// <summary>Scores of a router by the type of its input.</summary>
internal static class RouterScores
{
    /// <summary>Added to the variance of a row that is standardized.</summary>
    public const double Epsilon = 1e-5;

    public static IRouterScoresKernel Kernel(Tensor x, Tensor weight)
    {
        var (rows, factors) = (LinearTensors.Rows(x, x.dtype), weight.Dense());
        return x.dtype == ScalarType.Float32
            ? new RouterScoresKernel<float>(rows, factors) : new RouterScoresKernel<ushort>(rows, factors);
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
            p.size(0), p.size(1), normalize, 0);
        Save(p, selected);
        return [gates];
    }

    protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved)
    {
        if (gradients[0] is null) return [null, null];
        var (slopes, p) = (gradients[0]!.Dense(), saved[0]!);
        var dp = torch.empty(p.shape, ScalarType.Float32);
        SmallRows.KeepBack(TensorMemory.Of<float>(slopes), TensorMemory.Of<float>(p), TensorMemory.Of<byte>(saved[1]),
            TensorMemory.Of<float>(dp), p.size(0), p.size(1), normalize, 0);
        return [dp, null];
    }
}

internal static partial class Composed
{
    public static Tensor router_scores(Tensor x, Tensor weight) =>
        torch.nn.functional.linear(x.reshape(-1, weight.size(1)).to(ScalarType.Float32), weight);

    public static (Tensor Logits, Tensor Probabilities) router_softmax(Tensor x, Tensor weight)
    {
        var logits = router_scores(x, weight);
        return (logits, logits.softmax(-1));
    }

    public static (Tensor Gates, Tensor Selected, Tensor Probabilities, Tensor Logits) topk_softmax(
        Tensor x, Tensor weight, TopKRule rule, Tensor? present, Tensor? known)
    {
        var scores = rule.Score == RouterScore.Standardized
            ? torch.nn.functional.linear(torch.nn.functional.layer_norm(
                x.reshape(-1, weight.size(1)).to(ScalarType.Float32), [weight.size(1)], eps: RouterScores.Epsilon),
                weight)
            : router_scores(x, weight);
        scores = rule.Score == RouterScore.Magnitude ? scores.abs() : scores;
        var logits = (known is null ? scores : scores + known.detach()) / rule.Temperature;
        if (present is not null)
            logits = logits.masked_fill(present.logical_not(), double.NegativeInfinity);
        var p = logits.softmax(-1);
        var selected = top_mask(logits.detach(), (int)Math.Min(rule.K, weight.size(0)));
        if (present is not null)
            selected = selected.logical_and(present);
        return (kept_gates(p, selected, rule.Normalize, rule.Epsilon), selected, p, logits);
    }

    public static Tensor kept_gates(Tensor probabilities, Tensor selected, bool normalize, double epsilon = 0)
    {
        var kept = probabilities * selected.to(probabilities.dtype);
        return normalize ? kept / (kept.sum(-1, keepdim: true) + epsilon) : kept;
    }

    // libtorch's topk promises no order for equals, a stable sort does.
    public static Tensor top_mask(Tensor values, int k)
    {
        var (_, order) = values.sort(-1, descending: true, stable: true);
        var chosen = order.narrow(-1, 0, k);
        return torch.zeros(values.shape, ScalarType.Float32, values.device)
            .scatter(-1, chosen, torch.ones(chosen.shape, ScalarType.Float32, values.device)).gt(0.5);
    }

    public static Tensor largest(Tensor values, int k)
    {
        var (sorted, _) = values.sort(-1, descending: true, stable: true);
        return sorted.narrow(-1, 0, k);
    }

    public static Tensor nucleus_mask(Tensor probabilities, double p, int least, bool keepsCrossing)
    {
        var (sorted, order) = probabilities.sort(-1, descending: true, stable: true);
        var kept = sorted.cumsum(-1).le(p).to(ScalarType.Float32);                             // [N, E], best first
        if (keepsCrossing)
            kept = torch.cat([torch.ones_like(kept.narrow(-1, 0, 1)), kept.narrow(-1, 0, kept.shape[^1] - 1)], -1);
        kept.narrow(-1, 0, least).fill_(1);
        return torch.zeros_like(kept).scatter(-1, order, kept).gt(0.5);
    }
}
