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
    public static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions options, long seed, bool strict = true) =>
        Attach(model, options, seed, strict, TensorSource.Fresh);

    /// <summary>The same with tensors of a source.</summary>
    internal static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions options, long seed, bool strict, TensorSource tensors)
    {
        var selected = TargetSelection.Select(
            TargetSelection.PathsOf(model, options), model.HeadProjection.Path, options, strict);
        RequireMemory(model, options, selected, CheckedLayers(model, options.Experts));
        return Attach(model, options, selected, seed, tensors);
    }

    /// <summary>Wraps the projections given; their tensors come from a source.</summary>
    internal static AdaptedModel Attach(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, long seed,
        TensorSource tensors)
    {
        var layers = CheckedLayers(model, options.Experts);
        var routing = new RoutingPlan(model, options, selected, layers);
        var attentions = AttentionsFor(model, options, selected, layers);
        RequireAllTokens(model, options, selected);
        var projections = model.Projections.ToDictionary(projection => projection.Path, StringComparer.Ordinal);
        // First values pass through tensors that nobody else frees.
        using var scope = torch.NewDisposeScope();
        var modules = new List<MixtureProjection>();
        var adapted = selected.Where(module => projections.ContainsKey(module.Path)).ToList();
        if (tensors == TensorSource.Fresh && routing.RoutingOf(model.HeadProjection.Path) is not null
            && adapted.Any(module => module.Path == model.HeadProjection.Path))
            throw RoutedHead(model.HeadProjection.Path);
        RequireSquare(options, adapted, projections, routing);
        var wrapping = new Wrapping(
            options, seed, new SharedParts(), tensors, routing, PlanOf(adapted, projections, options, routing),
            modules, model.HeadProjection.InFeatures);
        IReadOnlyList<TrainedPart> parts;
        try
        {
            foreach (var module in adapted)
                modules.Add(Wrap(projections[module.Path], module, wrapping));
            JoinPools(wrapping);
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
        foreach (var attention in attentions)
            attention.EmitsMap = true;
        model.Preliminary = options.Router?.Preliminary ?? PreliminaryPass.None;
        return new AdaptedModel(model, options, modules) { Parts = parts };
    }

    // Losses and statistics of routing count every token.
    private static UserException RoutedHead(string path) => UserException.At(
        path, "is the head, which sees the learned positions alone in training; a router decides for all tokens",
        "a mixture on other projections", "leave it out of adapter.target_modules, or write method: lora");

    // Experts that work on what they gave need it to be as wide as what they take.
    private static void RequireSquare(
        AdapterOptions options, IEnumerable<SelectedModule> adapted,
        Dictionary<string, Projection> projections, RoutingPlan routing)
    {
        if (options.Router is not { NeedsSquare: true } router)
            return;
        var names = adapted
            .Where(module => routing.RoutingOf(module.Path) is not null)
            .Select(module => (Name: TargetSelection.LastName(module.Path), Projection: projections[module.Path]))
            .GroupBy(module => module.Projection.InFeatures == module.Projection.OutFeatures)
            .ToDictionary(group => group.Key, group => string.Join(
                ", ", group.Select(module => module.Name).Distinct().Order(StringComparer.Ordinal)));
        if (names.TryGetValue(false, out var others))
            throw UserException.At(
                "adapter.target_modules", $"{others}, which do not give as many values as they take",
                $"square projections with router {router.Kind}, whose experts work on what they gave",
                names.TryGetValue(true, out var square)
                    ? $"write target_modules: [{square}]" : "choose another router");
    }

    // The attentions that routers go by; what comes before them has none to go by.
    private static List<Attention> AttentionsFor(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, int layers)
    {
        if (options.Router is not { NeedsAttention: true } router)
            return [];
        List<Attention> attentions = [.. model.modules().OfType<Attention>()];
        var before = attentions.SelectMany(attention => attention.InputPaths).ToHashSet(StringComparer.Ordinal);
        if (selected.FirstOrDefault(module => before.Contains(module.Path)
            && options.Experts.CountIn(TargetSelection.LayerOf(module.Path), layers) > 1) is { } early)
            throw UserException.At(
                early.Path, $"comes before the attention of its block, which router {router.Kind} goes by",
                "projections behind it, such as o_proj and those of the feed-forward layer",
                "leave it out of adapter.target_modules, or choose another similarity");
        return attentions;
    }

    // A preliminary pass tells of every token, and the head sees some of them.
    private static void RequireAllTokens(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected)
    {
        var head = model.HeadProjection.Path;
        if (options.Router is { Preliminary: not PreliminaryPass.None } router
            && selected.Any(module => module.Path == head))
            throw UserException.At(
                head, $"sees some of the tokens alone, and router {router.Kind} decides for all of them",
                "projections inside the blocks", "leave it out of adapter.target_modules");
    }

    // Memory that is promised and not there would end the process later, without a word.
    private static void RequireMemory(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, int layers)
    {
        const double Gibi = 1 << 30;
        var (factors, copies) = ByteCounts(model, options, selected, layers);
        var available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (model.Device.type != DeviceType.CPU || factors + copies <= available)
            return;
        var experts = options.Experts.Count + options.Experts.Shared;
        throw UserException.At(
            "adapter",
            string.Create(
                CultureInfo.InvariantCulture,
                $"{Words.Count(experts, "expert")} of rank {options.R} in {Words.Count(selected.Count, "projection")} "
                    + $"take {(factors + copies) / Gibi:N1} GiB")
                + (copies == 0 ? "" : string.Create(
                    CultureInfo.InvariantCulture,
                    $", {copies / Gibi:N1} of them for what init_lora_weights: {options.InitLoraWeights} leaves of "
                        + $"the base")),
            string.Create(CultureInfo.InvariantCulture, $"at most the {available / Gibi:N1} GiB of this machine"),
            "lower adapter.r or adapter.experts.count, or adapt fewer projections");
    }

    /// <summary>What an adapter would hold beside the base: A, B and what goes with them, and the weights that are left
    /// where a part of them was taken out.</summary>
    /// <remarks>Unit: bytes, which may be more than any machine has. Routers are left out: they are small.</remarks>
    /// <exception cref="UserException">The options do not fit the model.</exception>
    public static (double Factors, double Copies) ByteCounts(CausalLanguageModel model, AdapterOptions options) =>
        ByteCounts(
            model, options, TargetSelection.Select(
                TargetSelection.PathsOf(model, options), model.HeadProjection.Path, options, strict: false),
            CheckedLayers(model, options.Experts));

    private static (double Factors, double Copies) ByteCounts(
        CausalLanguageModel model, AdapterOptions options, IReadOnlyList<SelectedModule> selected, int layers)
    {
        var projections = model.Projections.ToDictionary(projection => projection.Path, StringComparer.Ordinal);
        var adapted = selected.Where(module => projections.ContainsKey(module.Path)).ToList();
        var routing = new RoutingPlan(model, options, selected, layers);
        var plan = PlanOf(adapted, projections, options, routing);
        var (factors, copies) = (0.0, 0.0);
        foreach (var module in adapted)
        {
            var (path, D, O) = (
                module.Path, projections[module.Path].InFeatures, projections[module.Path].OutFeatures);
            var shape = ShapeOf(module, D, options, routing);
            factors += sizeof(float) * (
                (plan.DownOwner(path) == path ? (double)shape.DownRows * D : 0)
                + (plan.UpOwner(path) == path ? (double)shape.UpColumns * O : 0)
                + (shape.HasCores ? (double)shape.Columns * shape.Rank : 0) + (options.UseDora ? O : 0));
            if (WeightInitialization.ChangesBase(options.InitLoraWeights))
                copies += (sizeof(float) * (double)shape.Columns * (D + O)) + ((double)D * O * model.Dtype.ByteWidth());
        }

        return (factors, copies);
    }

    private static MixtureShape ShapeOf(
        SelectedModule module, long width, AdapterOptions options, RoutingPlan routings)
    {
        var (experts, routing) = (routings.ExpertsOf(module.Path), routings.RoutingOf(module.Path));
        return new MixtureShape(
            experts, module.R, options.ScaleOf(module.R, module.Alpha, width), options.LoraDropout)
        {
            Shared = routing is null ? 0 : options.Experts.Shared,
            HasOneDown = routing is { Sharing.HasOneDown: true },
            HasCores = routing is { Sharing.HasCores: true },
            Part = routings.PartOf(module.Path),
            Chosen = routing?.MostChosen(experts) ?? 1,
        };
    }

    // What wrapping one projection needs of the whole adapter.
    private sealed record Wrapping(
        AdapterOptions Options, long Seed, SharedParts Shared, TensorSource Tensors, RoutingPlan Routing,
        FactorPlan Plan, List<MixtureProjection> Modules, long HiddenSize);

    private static FactorPlan PlanOf(
        IEnumerable<SelectedModule> adapted, Dictionary<string, Projection> projections,
        AdapterOptions options, RoutingPlan routing) => new(
        from module in adapted
        where routing.RoutingOf(module.Path) is not null
        let projection = projections[module.Path]
        select new PlannedModule(
            module, projection.InFeatures, projection.OutFeatures, routing.ExpertsOf(module.Path)),
        options.Router?.Sharing ?? ExpertSharing.None);

    private static void JoinPools(Wrapping wrapping)
    {
        var byPath = wrapping.Modules.ToDictionary(module => module.Path, StringComparer.Ordinal);
        foreach (var module in wrapping.Modules)
        {
            if (wrapping.Plan.PoolOf(module.Path) is { Count: > 1 } pool)
                module.Join([.. pool.Select(path => byPath[path])]);
        }
    }

    private static MixtureProjection Wrap(Projection projection, SelectedModule module, Wrapping wrapping)
    {
        var (options, seed, shared, tensors, routings, plan, _, _) = wrapping;
        if (projection is not BaseLinear linear)
            throw UserException.At(
                module.Path, $"wrapped already by {projection.GetType().Name}", "one adapter for each projection",
                "load the base model again");
        var (experts, routing) = (routings.ExpertsOf(module.Path), routings.RoutingOf(module.Path));
        if (routing is not null && linear.SeesSomeTokens)
        {
            throw UserException.At(
                module.Path, "is part of an expert of the base, which sees some of the tokens alone; a router decides "
                    + "for all of them", "a plain LoRA there, or a mixture on other projections",
                "list adapter.target_modules without it, or exclude it by adapter.exclude_modules");
        }

        var shape = ShapeOf(module, linear.InFeatures, options, routings);
        var (path, width, device) = (module.Path, linear.InFeatures, linear.Weight.device);
        var made = FirstOf(linear, shape, options, seed, tensors);
        var down = Factor(wrapping, "lora_A", path, plan.DownOwner(path), [shape.DownRows, width], () =>
            made?.Values().Down.clone() ?? routing?.FirstDown(path, module.R, width, seed)
            ?? LoraInitialization.Down(
                path, (int)(shape.DownRows / module.R), module.R, width, options.InitLoraWeights, seed,
                routing?.FirstInputsOf(width)),
            device, options.Experts.Train && routing is not { TrainsDown: false });
        long[] upShape = [linear.OutFeatures, shape.UpColumns];
        var up = Factor(wrapping, "lora_B", path, plan.UpOwner(path), upShape, () =>
            made?.Values().Up.clone() ?? torch.zeros(upShape, torch.float32), device, options.Experts.Train);
        var cores = !shape.HasCores ? null : Factor(
            wrapping, "lora_core", path, path, [experts, module.R, module.R],
            () => LoraInitialization.Cores(path, experts, module.R, seed), device, options.Experts.Train);
        // B is zero at first, so the rows' norms are those of the base.
        var magnitude = !options.UseDora ? null : tensors.Take(
            $"{path}.lora_magnitude_vector", torch.float32, [linear.OutFeatures],
            () => Fused.row_squares(linear.Weight).sqrt().to(torch.CPU).to(torch.float32));
        var pool = plan.PoolOf(path);
        var context = new RouterContext(
            path, width, routing?.Slices ?? experts * pool.Count, module.R, seed, down, shared)
        {
            Tensors = tensors,
            Outputs = linear.OutFeatures,
            HiddenSize = wrapping.HiddenSize,
            FeedForward = routings.FeedForwardOf(path),
            Pool = new PoolPlace(experts, pool.ToList().IndexOf(path)),
        };
        var router = routing is null ? null : RouterFor(routing, context, routings.BlockOf(path));
        router?.to(device);
        return new MixtureProjection(
            linear, shape, router, down, up, (plan.DownOwner(path) == path, plan.UpOwner(path) == path),
            made is null ? null : new TakenOut(made.Out.Down.to(device), made.Out.Up.to(device)),
            magnitude?.to(device).ToParameter(), cores);
    }

    // A and B as they begin, and what the weight loses to them.
    private sealed record FirstParts(Func<TakenOut> Values, TakenOut Out);

    // Decomposed once, and only where a file does not hold what came of it.
    private static FirstParts? FirstOf(
        BaseLinear linear, MixtureShape shape, AdapterOptions options, long seed, TensorSource tensors)
    {
        var (kind, path) = (options.InitLoraWeights, linear.Path);
        if (!WeightInitialization.ChangesBase(kind))
            return null;
        var share = options.IsGoat ? options.Goat.InitCof ?? 1.0 / shape.Experts : 1;
        TakenOut? made = null;
        TakenOut Made() => made ??= options.IsGoat
            ? WeightInitialization.OfSegments(
                path, linear.Weight, shape.Experts, shape.Rank, shape.Scale, options.Goat)
            : WeightInitialization.First(kind, path, linear.Weight, shape.Rank, shape.Scale, seed);
        return new(Made, new(
            tensors.Take(
                $"{path}.{TakenOut.DownName}", torch.float32, [shape.Columns, linear.InFeatures], () => Made().Down),
            tensors.Take(
                $"{path}.{TakenOut.UpName}", torch.float32, [linear.OutFeatures, shape.Columns],
                () => Made().Up * share)));
    }

    // A or B of a projection: its own, or that of the one which owns it.
    private static Parameter Factor(
        Wrapping wrapping, string name, string path, string owner, long[] shape, Func<Tensor> first, Device device,
        bool learns)
    {
        if (owner == path)
            return wrapping.Tensors.Take($"{path}.{name}", torch.float32, shape, first).to(device).ToParameter(learns);
        var owning = wrapping.Modules.First(module => module.Path == owner);
        var shared = name == "lora_A" ? owning.Down : owning.Up;
        // Exports write a copy for each projection, since others know of no sharing.
        if (wrapping.Tensors.TakeIfHeld($"{path}.{name}", torch.float32, shape) is { } copy
            && !copy.SameAs(shared.to(torch.CPU)))
            throw UserException.At(
                $"{path}.{name}", "other numbers", $"those of {owner}.{name}, which it shares",
                "take the files as they were written");
        return shared;
    }

    private static Router RouterFor(RouterOptions options, RouterContext context, string? block)
    {
        if (block is null)
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
