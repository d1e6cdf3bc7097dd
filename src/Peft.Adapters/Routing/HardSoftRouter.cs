using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>LoRA-Mixer's two stages: experts learn by task id first, then a router learns to mix them.</summary>
/// <remarks>
/// Source: LoRA-Mixer, arXiv:2507.00029, eq. 2 and 4 and the section on hard routing (no official code exists).
/// Shapes: x [B, T, D] or [N, D], pass.TaskIds [B] (or [B, T] for packed rows) → gates [N, E].
/// Units: hard: one gate of 1 a token. Soft: probabilities in training, the top K of them at inference.
/// Gradient: soft: reaches the gate matrix through the gates. Hard: only the chosen expert learns; the gate matrix is frozen.
/// Errors: <see cref="TaskIdException"/> in the hard stage when task ids are missing or name no expert.
/// </remarks>
public sealed class HardSoftRouter : Router
{
    private readonly HardSoftRouterOptions _options;
    private readonly Parameter _weight;

    /// <summary>Makes the router of one projection.</summary>
    public HardSoftRouter(HardSoftRouterOptions options, RouterContext context)
        : base(context)
    {
        ArgumentNullException.ThrowIfNull(options);
        _options = options;
        _weight = NewGate();
        _weight.requires_grad = options.Stage == HardSoftRouterOptions.Soft;
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(pass);
        return _options.Stage == HardSoftRouterOptions.Hard ? RouteByTask(x, pass) : RouteSoftly(x, pass);
    }

    private RoutingDecision RouteSoftly(Tensor x, ForwardPass pass)
    {
        var logits = Score(x, _weight);
        var probabilities = logits.softmax(-1);
        if (pass.IsTraining)
            return new RoutingDecision(probabilities, torch.ones_like(probabilities).to(torch.@bool), probabilities, logits);
        var selected = Selection.TopMask(probabilities, _options.TopK);
        return new RoutingDecision(Selection.Gates(probabilities, selected, _options.Normalize), selected, probabilities, logits);
    }

    private RoutingDecision RouteByTask(Tensor x, ForwardPass pass)
    {
        var tasks = TaskOfEachToken(x, pass);
        var experts = torch.arange(Context.Experts, torch.int64, x.device);
        var selected = tasks.unsqueeze(-1).eq(experts); // [N, E]
        return new RoutingDecision(selected.to(torch.float32), selected);
    }

    private Tensor TaskOfEachToken(Tensor x, ForwardPass pass)
    {
        var ids = pass.TaskIds ?? throw new TaskIdException(
            $"{Context.Path}: the batch has no task ids, and router hard-soft in stage hard sends every row to the expert of "
            + "its task; give each data source a task, or write stage: soft");
        Check(ids, pass);
        var tokens = x.numel() / x.shape[^1];
        var flat = ids.to(x.device).reshape(-1);
        if (tokens % flat.numel() != 0)
            throw new TaskIdException(
                $"{Context.Path}: {flat.numel()} task ids for {tokens} tokens; one id a row [B] or a token [B, T] is allowed");
        return flat.repeat_interleave(tokens / flat.numel(), 0);
    }

    private void Check(Tensor ids, ForwardPass pass)
    {
        // Looked at once a pass, not once a projection: reading the extremes waits for the device.
        if (pass.Records<CheckedTaskIds>().Any(seen => seen.Experts == Context.Experts))
            return;
        foreach (var id in new[] { ids.min().ToInt64(), ids.max().ToInt64() })
        {
            if (id < 0 || id >= Context.Experts)
                throw new TaskIdException(
                    $"{Context.Path}: task id {id} has no expert; allowed are 0 to {Context.Experts - 1} (adapter.experts.count = "
                    + $"{Context.Experts}); raise the count or take the task out of the data");
        }
        pass.Emit(new CheckedTaskIds(Context.Experts));
    }

    private sealed record CheckedTaskIds(int Experts);
}
