using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="PostMoeRouter"/>.</summary>
public sealed record PostMoeRouterOptions : ExpertRouterOptions
{
    /// <summary>Experts each token is sent to.</summary>
    /// <value>Default 2; from 1 to the number of experts.</value>
    [Key(Min = 1), UpTo(Limit.Experts)]
    public int TopK { get; init; } = 2;

    /// <summary>Whether the kept probabilities are divided by their sum.</summary>
    /// <value>Default false, as in Apollo's <c>norm_topk_prob</c>.</value>
    [Key]
    public bool Normalize { get; init; }

    /// <summary>The expert of each task, in the order of the tasks: several tasks (languages) of a family name the same
    /// one, −1 stands for a task whose family is unknown.</summary>
    /// <value>Default empty: the first task has expert 0, and so on.</value>
    [Key(Min = -1)]
    public EquatableList<int> TaskExperts { get; init; } = [];

    /// <inheritdoc/>
    internal override int FewestChosen(int experts) => TopK;

    /// <inheritdoc/>
    public override TaskRule? TaskRule(int experts) => new(
        TaskExperts.Count == 0 ? experts : TaskExperts.Count, "router post-moe in training", MoreTasks)
    {
        InTrainingAlone = true,
    };

    /// <summary>How to let more tasks in.</summary>
    internal string MoreTasks =>
        TaskExperts.Count == 0 ? "raise adapter.experts.count" : "extend adapter.router.task_experts";

    /// <inheritdoc/>
    protected override void Check(OptionReader reader, RouterSize size)
    {
        base.Check(reader, size);
        if (TaskExperts.Count > 0 && TaskExperts.All(expert => expert < 0))
            reader.Fault(
                "task_experts", string.Join(", ", TaskExperts), "the expert of at least one task",
                "write kind: top-k where no task has an expert of its own");
        if (TaskExperts.Count > 0 && TaskExperts.Max() >= size.Experts)
            reader.Fault(
                "task_experts", $"expert {TaskExperts.Max()}", $"experts from 0 to {size.Experts - 1}, or -1 for none");
    }
}

/// <summary>The K most probable experts; in training the expert of the row's task takes the last place where it is not
/// among them.</summary>
/// <remarks>
/// Source: Post-MoE, arXiv:2410.10626; FreedomIntelligence/ApolloMoE, hybrid_routing: softmax over all experts, top-2,
/// the family's expert in place of the last one, weights gathered from the softmax and not renormalised, no loss.
/// Inference: the K most probable alone. What a task without a family does is not published: here nothing is replaced.
/// Shapes: x [B, T, D] → gates [N, E] with K above zero.
/// Gradient: through the kept probabilities; the choice carries none.
/// Errors: <see cref="TaskIdException"/> in training where task ids are missing or have no expert.
/// </remarks>
public sealed class PostMoeRouter : Router
{
    private readonly PostMoeRouterOptions _options;
    private readonly Parameter _weight;
    private readonly TaskWords _words;

    /// <summary>Makes the router of one projection.</summary>
    public PostMoeRouter(PostMoeRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        _weight = NewGate();
        var byId = options.TaskExperts.Count == 0;
        _words = new(
            "post-moe", "give each data source a task", byId ? "one expert for each task" : "one entry for each task",
            options.MoreTasks);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var (logits, p) = Softmax(x, _weight);
        var selected = pass.Drops ? WithFamily(p, FamilyOfTokens(x, pass), _options.TopK)
            : Selection.TopMask(p, _options.TopK);
        return new RoutingDecision(Selection.Gates(p, selected, _options.Normalize), selected, p, logits);
    }

    /// <summary>The K most probable experts with that of each token's family among them.</summary>
    /// <remarks>Shapes: p [N, E], family [N] int64, −1 for none → [N, E] bool.</remarks>
    public static Tensor WithFamily(Tensor p, Tensor family, int k)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var selected = Selection.TopMask(p, k);
        var experts = torch.arange(p.shape[1], torch.int64, p.device);
        var own = family.unsqueeze(1).eq(experts);                                             // [N, E]
        var lacks = (selected & own).any(-1).logical_not() & family.ge(0);                     // [N]
        var last = Selection.TopIndices(p, k).narrow(1, k - 1, 1).eq(experts);                 // [N, E]
        var replaced = lacks.unsqueeze(1);
        return ((selected & (last & replaced).logical_not()) | (own & replaced)).MoveToOuterDisposeScope();
    }

    private Tensor FamilyOfTokens(Tensor x, ForwardPass pass)
    {
        var map = _options.TaskExperts;
        var tasks = TaskIds.OfTokens(x, pass, Context.Path, map.Count == 0 ? Context.Experts : map.Count, _words);
        return map.Count == 0 ? tasks
            : torch.tensor([.. map.Select(expert => (long)expert)], [map.Count], device: x.device)
                .index_select(0, tasks);
    }
}
