using System.Globalization;
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
    /// <param name="strict">Whether every name of the options must select something, as in a recipe.</param>
    /// <exception cref="UserException">No projection matches, or one is wrapped already.</exception>
    public static AdaptedModel Attach(CausalLanguageModel model, AdapterOptions options, long seed, bool strict = true)
    {
        var selected = TargetSelection.Select(
            TargetSelection.PathsOf(model, options), model.HeadProjection.Path, options, strict);
        RequireMemory(model, options, selected);
        return Attach(model, options, selected, seed, TensorSource.Fresh);
    }

    /// <summary>Wraps the projections given; their tensors come from a source.</summary>
    internal static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, long seed,
        TensorSource tensors)
    {
        var layers = CheckedLayers(model, options.Experts);
        var projections = model.Projections.ToDictionary(projection => projection.Path, StringComparer.Ordinal);
        // First values pass through tensors that nobody else frees.
        using var scope = torch.NewDisposeScope();
        var modules = new List<MixtureProjection>();
        var shared = new SharedParts();
        IReadOnlyList<TrainedPart> parts;
        try
        {
            foreach (var module in selected.Where(module => projections.ContainsKey(module.Path)))
                modules.Add(Wrap(projections[module.Path], module, options, layers, seed, shared, tensors));
            parts = TrainedPart.Of(model, options, selected, seed, tensors);
            tensors.Finish();
        }
        catch
        {
            foreach (var module in modules)
                module.DisposeAdapter();
            throw;
        }

        // Only now is the model touched: it is whole where a tensor did not fit.
        foreach (var module in modules)
            model.Wrap(module.Path, _ => module);
        foreach (var part in parts)
            part.Install(model);
        return new AdaptedModel(model, options, modules) { Parts = parts };
    }

    // Memory that is promised and not there would end the process later, without a word.
    private static void RequireMemory(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected)
    {
        const double Gibi = 1 << 30;
        var projections = model.Projections.ToDictionary(projection => projection.Path, StringComparer.Ordinal);
        var experts = options.Experts.Count + options.Experts.Shared;
        var values = selected.Where(module => projections.ContainsKey(module.Path)).Sum(module =>
            (double)experts * module.R * (
                projections[module.Path].InFeatures + projections[module.Path].OutFeatures));
        var available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (model.Device.type == DeviceType.CPU && values * sizeof(float) > available)
            throw UserException.At(
                "adapter",
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{Words.Count(experts, "expert")} of rank {options.R} in {selected.Count} "
                        + $"projections take {values * sizeof(float) / Gibi:N1} GiB"),
                string.Create(CultureInfo.InvariantCulture, $"at most the {available / Gibi:N1} GiB of this machine"),
                "lower adapter.r or adapter.experts.count, or adapt fewer projections");
    }

    private static MixtureProjection Wrap(
        Projection projection, SelectedModule module, AdapterOptions options, int layers, long seed, SharedParts shared,
        TensorSource tensors)
    {
        if (projection is not BaseLinear linear)
            throw UserException.At(
                module.Path, $"wrapped already by {projection.GetType().Name}", "one adapter for each projection",
                "load the base model again");
        var experts = options.Experts.CountIn(TargetSelection.LayerOf(module.Path), layers);
        // In a layer with one expert there is nothing to route, unless ranks are routed.
        var routing = options.Router is { } given && (experts > 1 || options.Experts.Count == 1) ? given : null;
        if (routing is not null && linear.SeesSomeTokens)
        {
            throw UserException.At(
                module.Path, "is part of an expert of the base, which sees some of the tokens alone; a router decides "
                    + "for all of them", "a plain LoRA there, or a mixture on other projections",
                "list adapter.target_modules without it, or exclude it by adapter.exclude_modules");
        }

        var shape = new MixtureShape(experts, module.R, options.ScaleOf(module.R, module.Alpha), options.LoraDropout)
        {
            Shared = routing is null ? 0 : options.Experts.Shared,
        };
        var (path, width, device) = (module.Path, linear.InFeatures, linear.Weight.device);
        var down = tensors.Take($"{path}.lora_A", torch.float32, [shape.Columns, width], () =>
            routing?.FirstDown(path, module.R, width, seed)
            ?? LoraInitialization.Down(
                path, experts + shape.Shared, module.R, width, options.InitLoraWeights, seed));
        long[] upShape = [linear.OutFeatures, shape.Columns];
        var up = tensors.Take($"{path}.lora_B", torch.float32, upShape, () => torch.zeros(upShape, torch.float32));
        var downParameter = down.to(device).ToParameter(options.Experts.Train && routing is not { TrainsDown: false });
        var context = new RouterContext(path, width, experts, module.R, seed, downParameter, shared)
        {
            Tensors = tensors,
        };
        var router = routing is null ? null : RouterFor(routing, context);
        router?.to(device);
        return new MixtureProjection(
            linear, shape, router, downParameter, up.to(device).ToParameter(options.Experts.Train));
    }

    private static Router RouterFor(RouterOptions options, RouterContext context)
    {
        if (!options.SharesInBlock || TargetSelection.AttentionBlockOf(context.Path) is not { } block)
            return RouterCatalog.Create(options, context);
        var owner = context.Shared!.Get(
            $"router {block}", () => RouterCatalog.Create(options, context), out var isOwner);
        return isOwner ? owner : new SharedRouter(owner, context);
    }

    /// <summary>The number of layers, to which the experts' numbers by layer fit.</summary>
    /// <exception cref="UserException">They do not.</exception>
    internal static int CheckedLayers(CausalLanguageModel model, ExpertOptions experts)
    {
        var layers = model.Projections.Select(projection => TargetSelection.LayerOf(projection.Path)).Max() + 1 ?? 0;
        if (experts.Layout.Counts is { Count: > 0 } counts && counts.Count != layers)
            throw UserException.At(
                "adapter.experts.count", Words.Count(counts.Count, "number"), $"one for each of {layers} layers");
        foreach (var layer in experts.Layers.Where(layer => layer < 0 || layer >= layers))
            throw UserException.At("adapter.experts.layers", $"layer {layer}", $"layers from 0 to {layers - 1}");
        return layers;
    }
}
