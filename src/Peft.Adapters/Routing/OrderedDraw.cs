namespace Peft.Adapters.Routing;

/// <summary>Draws without replacement: the probability of an ordered selection.</summary>
/// <remarks>Source: ReMix, arXiv:2603.10160: <c>Q(J) = Π_j q_{i_j} / (1 − Σ_{j'&lt;j} q_{i_j'})</c>, by logsumexp over what remains.</remarks>
public static class OrderedDraw
{
    /// <summary><c>log Q = Σ_j [z_{i_j} − logsumexp(z over the experts not drawn before j)]</c> and its gradient by z.</summary>
    /// <remarks>
    /// Shapes: logits [U, E], order [U, K] int64 → [U] and [U, E]: for each draw, one-hot of the drawn less the softmax over what
    /// remained. Gradient: none through either; the second is the gradient of the first.
    /// </remarks>
    public static (Tensor Log, Tensor ByLogits) LogProbability(Tensor logits, Tensor order)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(order);
        using var off = torch.no_grad();
        var remaining = logits.detach().clone();
        var byLogits = torch.zeros_like(remaining);
        Tensor? log = null;
        for (var draw = 0; draw < order.shape[1]; draw++)
        {
            var drawn = order.narrow(1, draw, 1);                                              // [U, 1]
            var normal = remaining.logsumexp(-1, keepdim: true);
            var step = (remaining.gather(1, drawn) - normal).squeeze(1);
            log = log is null ? step : log + step;
            byLogits = byLogits - (remaining - normal).exp();
            byLogits = byLogits.scatter_add(1, drawn, torch.ones(drawn.shape, torch.float32, logits.device));
            remaining = remaining.scatter(1, drawn, torch.full(drawn.shape, double.NegativeInfinity, torch.float32, logits.device));
        }
        return (log!, byLogits);
    }
}
