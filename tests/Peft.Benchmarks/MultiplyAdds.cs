using Peft.Adapters.Routing;

namespace Peft.Benchmarks;

/// <summary>The multiply-adds that one training step with a frozen base has to do; one counts as one.</summary>
/// <remarks>
/// Forward: every linear layer, both GEMMs of causal attention (the half below the diagonal), the head at every learned
/// position.
/// Backward: to the inputs of all that, not to the base weights; nothing below the first block's q, k, v, whose input
/// needs no gradient. LoRA of rank C on a layer [O, D]: forward N C (D + O), backward twice that.
/// </remarks>
internal static class MultiplyAdds
{
    /// <summary>Of a step with adapters of a total rank on every linear layer, and a router of so many experts on
    /// each.</summary>
    public static double OfStep(ModelShape shape, int rank, int experts = 0)
    {
        var n = (double)shape.Rows;
        var linears = Linears(shape);
        var first = shape.Linears.Take(3).Sum(l => (double)l.In * l.Out);
        var attention = Attention(shape);
        var head = (double)(shape.Batch * (shape.Length - 1)) * shape.Hidden * shape.Vocabulary;
        var adapters = shape.Linears.Sum(l => (double)(l.In + l.Out)) * shape.Layers * rank;
        var routers = shape.Linears.Sum(l => (double)l.In) * shape.Layers * experts;
        return n * (2 * linears - first) + 6 * attention + 2 * head + 3 * n * (adapters + routers);
    }

    /// <summary>Of a step with a router whose own work is more than a gate matrix, all experts computed; null where a
    /// gate matrix is most of it.</summary>
    /// <remarks>
    /// A matrix that learns is multiplied with three times: forward, to its input, to itself. A pass before each pass
    /// is the base's forward without its head.
    /// </remarks>
    public static double? OfStep(ModelShape shape, int rank, int experts, RouterOptions router)
    {
        var width = shape.Linears.Select(l => (double)l.In).ToArray();
        var perToken = router switch
        {
            RmoeRouterOptions o => width.Sum(w => w * o.HiddenSize + 6.0 * o.HiddenSize * o.HiddenSize),
            GraphOfTokensRouterOptions { Similarity: GraphOfTokensRouterOptions.Learned } =>
                width.Sum(w => w * w + 0.5 * shape.Length * w),
            // One network for query, key and value, one for gate and up.
            SparsegenRouterOptions o => o.HiddenSize * (3.0 * shape.Hidden + shape.FeedForward),
            _ => 0,
        };
        var before = router.Preliminary == PreliminaryPass.None ? 0
            : shape.Rows * Linears(shape) + 2 * Attention(shape);
        var own = 3 * shape.Rows * shape.Layers * perToken + before;
        return own == 0 ? null : OfStep(shape, experts * rank, experts) + own;
    }

    // Weights of the linear layers: of one token, forward.
    private static double Linears(ModelShape shape) =>
        shape.Linears.Sum(l => (double)l.In * l.Out) * shape.Layers;

    // One causal GEMM of each block's attention.
    private static double Attention(ModelShape shape) =>
        0.5 * shape.Batch * shape.Length * shape.Length * shape.Hidden * shape.Layers;
}
