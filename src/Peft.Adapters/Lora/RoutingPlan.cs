using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>What an expert is to one projection.</summary>
public enum ExpertPart
{
    /// <summary>An adapter of this projection alone.</summary>
    Projection,

    /// <summary>The beginning of a feed-forward: a row for each token and each of its experts comes out.</summary>
    Entry,

    /// <summary>The end of a feed-forward: such rows come in, and their weighted sum comes out.</summary>
    Exit,
}

/// <summary>Which projections are routed, among how many experts, and which of them follow one decision.</summary>
/// <remarks>Source of whole feed-forwards: MixLoRA, arXiv:2404.15159: an expert is the frozen feed-forward with a LoRA
/// on each of its projections; other projections have one LoRA each.</remarks>
internal sealed class RoutingPlan
{
    private readonly CausalLanguageModel _model;
    private readonly AdapterOptions _options;
    private readonly int _layers;
    private readonly Dictionary<string, (string Block, ExpertPart Part, DenseFeedForward Whole)> _parts =
        new(StringComparer.Ordinal);

    /// <summary>Makes the plan of the projections that get an adapter.</summary>
    /// <exception cref="UserException">A feed-forward would be an expert in part.</exception>
    public RoutingPlan(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, int layers)
    {
        (_model, _options, _layers) = (model, options, layers);
        if (options.Router is { RoutesFeedForward: true } router)
            FindFeedForwards(router, [.. selected.Select(module => module.Path)]);
    }

    /// <summary>Experts of a projection; 1 where it has a plain LoRA.</summary>
    public int ExpertsOf(string path) =>
        _options.Router is { WholeFeedForward: true } && !_parts.ContainsKey(path) ? 1 : CountIn(path);

    /// <summary>How a projection is routed; null: it is not.</summary>
    public RouterOptions? RoutingOf(string path) => _options.Router switch
    {
        { RoutesFeedForward: true } router => _parts.ContainsKey(path) ? router : null,
        { } router => HasChoice(path) ? router : null,
        null => null,
    };

    /// <summary>What an expert is to a projection.</summary>
    public ExpertPart PartOf(string path) => _parts.GetValueOrDefault(path).Part;

    /// <summary>The block whose projections follow the decision of its first one; null: each decides for
    /// itself.</summary>
    public string? BlockOf(string path) => _parts.TryGetValue(path, out var place) ? place.Block
        : _options.Router is { SharesInBlock: true } ? TargetSelection.AttentionBlockOf(path) : null;

    /// <summary>The frozen feed-forward that a projection belongs to; null where its router needs none.</summary>
    public FrozenFeedForward? FeedForwardOf(string path) =>
        _options.Router is { NeedsFeedForward: true } && _parts.TryGetValue(path, out var place)
            ? new(place.Whole.FrozenInner, place.Whole.Slots[^1].Base.Weight) : null;

    // In a layer with one expert there is nothing to route, unless all have one, whose ranks are routed.
    private bool HasChoice(string path) => CountIn(path) > 1 || _options.Experts.Count == 1;

    private int CountIn(string path) => _options.Experts.CountIn(TargetSelection.LayerOf(path), _layers);

    private void FindFeedForwards(RouterOptions router, HashSet<string> selected)
    {
        var what = router.WholeFeedForward ? "whose experts are whole feed-forwards"
            : "which weighs slices of whole feed-forwards";
        foreach (var whole in _model.modules().OfType<DenseFeedForward>())
        {
            var slots = whole.Slots;
            var paths = slots.Select(slot => slot.Base.Path).ToList();
            var chosen = paths.Where(selected.Contains).ToList();
            if (chosen.Count == 0 || !HasChoice(paths[0]))
                continue;
            var block = paths[0][..paths[0].LastIndexOf('.')];
            if (chosen.Count < paths.Count)
                throw UserException.At(
                    block, $"{Words.AllOf([.. chosen.Select(Name)])} without "
                        + Words.AllOf([.. paths.Except(chosen).Select(Name)]),
                    $"all its projections or none with router.kind: {router.Kind}, {what}",
                    "widen adapter.target_modules, or leave the feed-forward out");
            if (router.Slices is { } slices && slots[^1].Base.InFeatures % slices != 0)
                throw UserException.At(
                    block, $"{slots[^1].Base.InFeatures} inner numbers",
                    $"a multiple of adapter.router.count = {slices}");
            foreach (var path in paths)
                _parts.Add(path, (block, path == paths[^1] ? ExpertPart.Exit : ExpertPart.Entry, whole));
        }

        if (_parts.Count == 0)
            throw UserException.At(
                "adapter.target_modules", $"{_options.TargetModules} chooses no feed-forward",
                $"some with router.kind: {router.Kind}, {what}",
                "add gate_proj, up_proj and down_proj, or what the model calls them");
    }

    private static string Name(string path) => path[(path.LastIndexOf('.') + 1)..];
}
