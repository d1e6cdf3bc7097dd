using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>Puts fresh adapters on a model's projections.</summary>
public static class AdapterAttachment
{
    /// <summary>Wraps the chosen projections. B is zero, so the model computes exactly what its base does.</summary>
    /// <param name="model">The base model; its projections are wrapped in place.</param>
    /// <param name="options">What to train and where.</param>
    /// <param name="seed">Seed of the first values; each parameter has its own stream.</param>
    /// <exception cref="UserException">No projection matches, or one is wrapped already.</exception>
    public static AdaptedModel Attach(CausalLanguageModel model, AdapterOptions options, long seed)
    {
        var selected = TargetSelection.Select(
            model.Projections.Select(projection => projection.Path), model.HeadProjection.Path, options);
        RequireMemory(model, options, selected);
        return Attach(model, options, selected, seed);
    }

    internal static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, long seed)
    {
        var layers = CheckedLayers(model, options.Experts);
        // First values pass through tensors that nobody else frees.
        using var scope = torch.NewDisposeScope();
        var modules = new List<MixtureProjection>();
        var shared = new SharedParts();
        foreach (var module in selected)
        {
            model.Wrap(module.Path, projection =>
            {
                var wrapped = Wrap(projection, module, options, layers, seed, shared);
                modules.Add(wrapped);
                return wrapped;
            });
        }
        return new AdaptedModel(model, options, modules);
    }

    // Memory that is promised and not there would end the process later, without a word.
    private static void RequireMemory(CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected)
    {
        const double Gibi = 1 << 30;
        var projections = model.Projections.ToDictionary(projection => projection.Path, StringComparer.Ordinal);
        var values = selected.Sum(module =>
            (double)options.Experts.Count * module.R * (projections[module.Path].InFeatures + projections[module.Path].OutFeatures));
        var available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (model.Device.type == DeviceType.CPU && values * sizeof(float) > available)
            throw new UserException(
                $"adapter: {options.Experts.Count} experts of rank {options.R} in {selected.Count} projections take "
                + $"{values * sizeof(float) / Gibi:N1} GiB; this machine has {available / Gibi:N1} GiB; lower adapter.r or "
                + "adapter.experts.count, or adapt fewer projections");
    }

    private static MixtureProjection Wrap(
        Projection projection, SelectedModule module, AdapterOptions options, int layers, long seed, SharedParts shared)
    {
        if (projection is not BaseLinear linear)
            throw new UserException(
                $"{module.Path}: is wrapped already by {projection.GetType().Name}; one adapter a projection is allowed; load the "
                + "base model again");
        var experts = options.Experts.CountIn(TargetSelection.LayerOf(module.Path), layers);
        // In a layer with one expert there is nothing to route, unless ranks are routed.
        var routing = options.Router is { } given && (experts > 1 || options.Experts.Count == 1) ? given : null;
        var shape = new MixtureShape(experts, module.R, options.ScaleOf(module.R, module.Alpha), options.LoraDropout);
        var first = routing?.FirstDown(module.Path, module.R, linear.InFeatures, seed)
            ?? LoraInitialization.Down(module.Path, experts, module.R, linear.InFeatures, options.InitLoraWeights, seed);
        var down = first.to(linear.Weight.device).ToParameter(options.Experts.Train && routing is not { TrainsDown: false });
        var router = routing is null ? null : RouterFor(routing, new RouterContext(module.Path, linear.InFeatures, experts, module.R, seed, down, shared));
        router?.to(linear.Weight.device);
        return new MixtureProjection(linear, shape, router, down, options.Experts.Train);
    }

    private static Router RouterFor(RouterOptions options, RouterContext context)
    {
        if (!options.SharesInBlock || TargetSelection.AttentionBlockOf(context.Path) is not { } block)
            return RouterCatalog.Create(options, context);
        var owner = context.Shared!.Get($"router {block}", () => RouterCatalog.Create(options, context), out var isOwner);
        return isOwner ? owner : new SharedRouter(owner, context);
    }

    /// <summary>The number of layers, to which the experts' numbers by layer fit.</summary>
    /// <exception cref="UserException">They do not.</exception>
    internal static int CheckedLayers(CausalLanguageModel model, ExpertOptions experts)
    {
        var layers = model.Projections.Select(projection => TargetSelection.LayerOf(projection.Path)).Max() + 1 ?? 0;
        if (experts.Layout is { Counts: { Count: > 0 } counts } && counts.Count != layers)
            throw new UserException($"adapter.experts.count: {counts.Count} numbers for {layers} layers; one a layer is needed");
        foreach (var layer in experts.Layers.Where(layer => layer < 0 || layer >= layers))
            throw new UserException($"adapter.experts.layers: layer {layer} is not there; the model has layers 0 to {layers - 1}");
        return layers;
    }
}
