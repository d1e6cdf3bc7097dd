namespace Peft.Adapters.Routing;

/// <summary>Prices of experts, from the linear program that gives every token K experts and every expert equally many
/// tokens.</summary>
/// <remarks>
/// Source: BIP-based balancing, arXiv:2502.15451, algorithm 1: with scores s of n tokens for m experts, <c>p_i = max(0,
/// (k+1)-th largest over j of s_ij − q_j)</c>, then <c>q_j = max(0, (kn/m + 1)-th largest over i of s_ij − p_i)</c>, T
/// times; experts are chosen by <c>s − q</c>. Quantile balancing (Su 2026): the same without <c>max(0, ·)</c>, so that
/// idle experts are pulled as busy ones are pushed. T and the start from the step before are our reading; so is that
/// q serves the next step, since made from the tokens that it serves it would tell each of later ones.
/// Gradient: none.
/// </remarks>
public static class AssignmentDuals
{
    /// <summary>Prices after some rounds.</summary>
    /// <remarks>Shapes: scores [N, E], prices [E] → [N], [E].</remarks>
    /// <param name="scores">What experts are chosen by.</param>
    /// <param name="prices">q to begin from.</param>
    /// <param name="k">Experts a token gets; fewer than there are.</param>
    /// <param name="rounds">T.</param>
    /// <param name="clips">Whether prices are never below 0.</param>
    public static (Tensor OfTokens, Tensor OfExperts) Of(
        Tensor scores, Tensor prices, int k, int rounds, bool clips)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (n, m) = (scores.shape[0], scores.shape[1]);
        var byExpert = scores.t().contiguous();                                                // [E, N]
        // The (kn/m + 1)-th largest of n is the (n − kn/m)-th smallest.
        var rank = n - (k * n / m);
        var (p, q) = (torch.zeros([n], scores.dtype, scores.device), prices);
        for (var round = 0; round < rounds; round++)
        {
            p = Clipped(Fused.largest(scores - q, k + 1).select(1, k));                        // [N]
            q = Clipped((byExpert - p).kthvalue(rank, 1).values);                              // [E]
        }

        return (p.MoveToOuterDisposeScope(), q.clone().MoveToOuterDisposeScope());

        Tensor Clipped(Tensor values) => clips ? values.clamp(min: 0) : values;
    }

    /// <summary>Moves a bias, which is −q, by one step's scores. Without clipping only differences count, so its mean
    /// is kept at 0.</summary>
    /// <remarks>Shapes: bias [E], scores [N, E] of real tokens.</remarks>
    public static void Update(Tensor bias, Tensor scores, int k, BalanceOptions options)
    {
        if (scores.shape[0] == 0)
            return;
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var clips = options.Kind == BalanceOptions.Bip;
        var next = -Of(scores, -bias, k, options.Iterations, clips).OfExperts;
        bias.copy_((bias * options.Ema) + ((clips ? next : next - next.mean()) * (1 - options.Ema)));
    }
}

/// <summary>The plan that gives every token weight 1 and every expert the same weight, nearest to a softmax of the
/// logits over ξ.</summary>
/// <remarks>
/// Source: Selective Sinkhorn Routing, arXiv:2511.08972: <c>K = exp(C / ξ)</c>, <c>v = (n/m) / (Kᵀ u)</c>, <c>u = 1 /
/// (K v)</c>, in turn; the plan is <c>diag(u) K diag(v)</c>. Here C are the logits, as in the vectors (scores are the
/// alternative), everything is in logarithms, and the plan carries no gradient, as in a public implementation: in such
/// a step the router learns from balance losses alone.
/// Units: weights; rows sum to 1.
/// </remarks>
public static class TransportPlan
{
    private const double Tolerance = 1e-4;
    private const int Every = 10;

    /// <summary>The plan over the real tokens; padding gets its softmax.</summary>
    /// <remarks>Shapes: logits [N, E], mask [N] bool or null → [N, E].</remarks>
    public static Tensor Of(Tensor logits, Tensor? mask, BalanceOptions options) =>
        Of(logits, mask, options.Temperature, options.Iterations, Tolerance);

    /// <summary>The plan after some rounds; fewer where the experts' factors no longer move.</summary>
    /// <remarks>Shapes: logits [N, E], mask [N] bool or null → [N, E].</remarks>
    public static Tensor Of(Tensor logits, Tensor? mask, double temperature, int rounds, double tolerance)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var kernel = logits.detach() / temperature;                                            // ln K
        var real = mask is null ? logits.shape[0] : mask.sum().ToInt64();
        if (real == 0)
            return logits.detach().softmax(-1).MoveToOuterDisposeScope();
        var counted = mask is null
            ? kernel : kernel.masked_fill(mask.logical_not().unsqueeze(1), double.NegativeInfinity);
        var share = Math.Log((double)real / logits.shape[1]);
        var u = torch.zeros([logits.shape[0], 1], logits.dtype, logits.device);                // ln u
        var v = torch.zeros([1, logits.shape[1]], logits.dtype, logits.device);                // ln v
        for (var round = 1; round <= rounds; round++)
        {
            var before = v;
            v = share - (counted + u).logsumexp(0, keepdim: true);
            u = -(kernel + v).logsumexp(1, keepdim: true);
            if (round % Every == 0 && (v - before).abs().max().ToDouble() < tolerance)
                break;
        }

        var plan = (kernel + u + v).exp();
        return (mask is null ? plan : torch.where(mask.unsqueeze(1), plan, logits.detach().softmax(-1)))
            .MoveToOuterDisposeScope();
    }
}
