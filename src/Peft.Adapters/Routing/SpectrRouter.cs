using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="SpectrRouter"/>.</summary>
public sealed record SpectrRouterOptions : RouterOptions, IMergedRouterOptions
{
    /// <summary>By how much an update changes the token: the paper's.</summary>
    public const string Update = "update";

    /// <summary>By how much of the token lies in the update's input directions: the released code's.</summary>
    public const string Directions = "directions";

    /// <summary>Experts each token is sent to, in each module, with equal weights.</summary>
    /// <value>Default 2; from 1 to the number of experts. The authors' code takes 4.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 2;

    /// <summary>What experts are compared by.</summary>
    /// <value>Default update, <c>‖B A x‖</c> (paper); directions, <c>2 ‖Vᵀ x‖</c> (released code).</value>
    [Key(Choices = [Update, Directions])]
    public string Score { get; init; } = Update;
}

/// <summary>Sends each token to the k experts whose update acts most on it, with equal weights. Merging fills it;
/// nothing in it learns.</summary>
/// <remarks>
/// Source: SpectR, arXiv:2504.03454 (score and weights 1 / k; the mixture is that of whole updates). The score of an
/// expert is <c>‖P_e A_e x‖</c> with a small P_e [R, R], so that the update itself is never made: P_eᵀ P_e is
/// s² BᵀB, or what turns A_e x into 2 Vᵀ x.
/// Shapes: x [N, D] or [B, T, D] → gates [N, E], 1 / k or 0; logits are the scores. <c>factors</c> [E·R, R] is a
/// buffer.
/// Gradient: none; a mixture that is trained on keeps the scores that its experts were merged with.
/// </remarks>
public sealed class SpectrRouter : MergedRouter
{
    /// <summary>Name of the buffer that holds each expert's P, one below the other.</summary>
    public const string FactorsName = "factors";

    private readonly SpectrRouterOptions _options;
    private readonly Tensor _factors;

    /// <summary>Makes the router of one projection; before merging, P is the identity.</summary>
    public SpectrRouter(SpectrRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _factors = NewBuffer(
            FactorsName, torch.eye(context.Rank, dtype: torch.float32).repeat(context.Experts, 1));
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (E, R) = (Context.Experts, Context.Rank);
        // Shared experts, which nobody chooses, come last.
        var down = Context.Down!.detach().narrow(0, 0, (long)E * R);
        var inner = Score(x, down).reshape(-1, E, R).transpose(0, 1);                          // [E, N, R]
        var acted = inner.bmm(_factors.reshape(E, R, R).transpose(1, 2));                      // [E, N, R]
        var scores = acted.pow(2).sum(-1).sqrt().t()
            .masked_fill(Present.logical_not(), double.NegativeInfinity).contiguous();         // [N, E]
        var selected = Selection.TopMask(scores, Math.Min(_options.TopK, E)).logical_and(Present);
        var kept = selected.to(torch.float32);
        return new RoutingDecision(
            (kept / kept.sum(-1, keepdim: true)).MoveToOuterDisposeScope(), selected.MoveToOuterDisposeScope(),
            Logits: scores.MoveToOuterDisposeScope());
    }
}
