using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>Fills a mixture's experts from adapters that were trained before; the router keeps its first
/// values.</summary>
/// <remarks>
/// Source: LoRA-Mixer, arXiv:2507.00029: experts come from hard routing (a bundle) or from separately trained LoRAs.
/// A LoRA of a smaller rank is filled up with zeros, and its own alpha / r is folded into B, so each expert computes
/// exactly what its adapter did.
/// </remarks>
public static class ExpertLoader
{
    /// <summary>Copies experts into an attached mixture.</summary>
    /// <param name="adapted">The mixture, freshly attached.</param>
    /// <param name="directories">
    /// One bundle of a mixture with as many experts of the same rank, or one plain LoRA directory (ours or PEFT's) an
    /// expert.
    /// </param>
    /// <param name="on">The base that they are put on; null leaves fingerprints uncompared.</param>
    /// <exception cref="UserException">Number, ranks, modules, tensors or the base do not fit; all faults of a
    /// directory at once.</exception>
    public static void Load(AdaptedModel adapted, IReadOnlyList<string> directories, BaseIdentity? on = null)
    {
        foreach (var directory in directories.Where(BundleFiles.IsBundle))
            Bundle.RequireBase(directory, on, "adapter.experts.from");
        var experts = adapted.Options.Experts.Count;
        if (adapted.Options.IsVariant)
            throw UserException.At(
                "adapter.experts.from", "given with use_dora, or an init_lora_weights that changes the base",
                "an adapter that begins anew", "leave one of them out");
        if (directories.Count == 1 && experts > 1)
        {
            LoadMixture(adapted, OwnBundle.Open(directories[0]));
            return;
        }
        if (directories.Count != experts)
            throw UserException.At(
                "adapter.experts.from", $"{directories.Count} directories for {experts} experts",
                "a plain LoRA for each expert, or one bundle of a mixture");
        if (experts == 1 && OwnMixture(directories[0]) is { } skills)
        {
            LoadMean(adapted, skills);
            return;
        }
        if (adapted.Options.Router is { Sharing.HasOneDown: true } router)
            throw UserException.At(
                "adapter.experts.from", $"{directories.Count} directories, each with a lora_A of its own",
                $"one bundle of a mixture behind router {router.Kind}, whose experts have one lora_A together");
        if (adapted.Modules.FirstOrDefault(module => module.Shape.Experts < experts) is { } fewer)
            throw UserException.At(
                "adapter.experts.from", $"{directories.Count} directories, while {fewer.Path} has "
                    + (fewer.Router is null ? "one LoRA for all" : Words.Count(fewer.Shape.Experts, "expert")),
                $"{experts} experts in every adapted projection",
                adapted.Options.Router is { WholeFeedForward: true } ? "leave it out of adapter.target_modules"
                    : "write one number as adapter.experts.count and no adapter.experts.layers, or leave the "
                        + "projection out of adapter.target_modules or adapter.layers_to_transform");
        for (var expert = 0; expert < experts; expert++)
            LoadLora(adapted, expert, Source.Open(directories[expert]));
    }

    private static void LoadMixture(AdaptedModel adapted, OwnBundle bundle)
    {
        var trained = bundle.Manifest.Adapter;
        if (trained.IsVariant)
            throw UserException.At(
                bundle.Directory, $"trained on what {trained.InitLoraWeights} left of the base",
                "experts of the base as it is", "leave adapter.experts.from out, or name adapters without that");
        if (trained.Experts.Count != adapted.Options.Experts.Count)
            throw UserException.At(
                bundle.Directory, Words.Count(
                    trained.Experts.Count, "expert"),
                    $"{adapted.Options.Experts.Count}, as adapter.experts.count says");
        if (trained.Experts.Shared != adapted.Options.Experts.Shared)
            throw UserException.At(
                bundle.Directory, Words.Count(trained.Experts.Shared, "shared expert"),
                $"{adapted.Options.Experts.Shared}, as adapter.experts.shared says");
        var faults = new Faults();
        NoteUnused(faults, adapted, bundle);
        foreach (var module in adapted.Modules)
        {
            var factor = ScaleOf(trained, module) / module.Shape.Scale;
            foreach (var (name, parameter) in module.Factors())
            {
                Copy(
                    faults, bundle.Weights.Entries, BundleTensors.NameInFile(name, trained.IsPlainLora), parameter,
                    ReferenceEquals(parameter, module.Up) ? factor : 1);
            }
        }
        faults.ThrowIfAny(bundle.Weights.Path);
    }

    // Routers begin anew; all else that the bundle holds is experts.
    private static void NoteUnused(Faults faults, AdaptedModel adapted, OwnBundle bundle)
    {
        var asked = adapted.Modules.SelectMany(module => module.Factors())
            .Select(factor => BundleTensors.NameInFile(factor.Name, bundle.Manifest.Adapter.IsPlainLora))
            .ToHashSet(StringComparer.Ordinal);
        BundleTensors.NoteNames(
            faults, "not used",
            bundle.Weights.Entries.Keys.Where(
                name => !asked.Contains(name) && !name.Contains(".router.", StringComparison.Ordinal)),
            "only projections that this mixture adapts", "widen adapter.target_modules");
    }

    private static double ScaleOf(AdapterOptions trained, MixtureProjection module) => trained.ScaleOf(
        module.Shape.Rank, TargetSelection.AlphaOf(trained, module.Path), module.InFeatures);

    private static OwnBundle? OwnMixture(string directory) =>
        BundleFiles.IsBundle(directory) && OwnBundle.Open(directory) is var bundle
            && !bundle.Manifest.Adapter.IsPlainLora ? bundle : null;

    // Source: MHR-mu, arXiv:2211.03831: routing is dropped, and the skills' A and B are averaged, each by itself.
    private static void LoadMean(AdaptedModel adapted, OwnBundle bundle)
    {
        var trained = bundle.Manifest.Adapter;
        if (trained.Router is not PolyRouterOptions)
            throw UserException.At(
                bundle.Directory, $"a mixture behind router {trained.Router!.Kind}",
                "a plain LoRA, or a mixture behind router poly, whose experts are averaged into one",
                "its experts were not trained to be averaged");
        var faults = new Faults();
        NoteUnused(faults, adapted, bundle);
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        foreach (var module in adapted.Modules)
        {
            var rank = module.Shape.Rank;
            var factor = ScaleOf(trained, module) / module.Shape.Scale;
            foreach (var (name, parameter) in module.Factors())
            {
                var isUp = ReferenceEquals(parameter, module.Up);
                long[] shape = isUp ? [module.OutFeatures, (long)trained.Experts.Count * rank]
                    : [(long)trained.Experts.Count * rank, module.InFeatures];
                var all = torch.zeros(shape, torch.float32);
                Copy(faults, bundle.Weights.Entries, BundleTensors.NameInFile(name, isPlainLora: false), all, 1);
                parameter.copy_(isUp ? all.view(module.OutFeatures, -1, rank).mean([1]) * factor
                    : all.view(-1, rank, module.InFeatures).mean([0]));
            }
        }
        faults.ThrowIfAny(bundle.Weights.Path);
    }

    private static void LoadLora(AdaptedModel adapted, int expert, Source source)
    {
        var faults = new Faults();
        var known = adapted.Modules.ToDictionary(
            module => BundleTensors.NameInFile($"{module.Path}.lora_A", true), StringComparer.Ordinal);
        var entries = SavedBase.Without(adapted.Model, [], source.Entries, _ => { });
        foreach (var name in entries.Keys.Where(name => !IsFactor(name)))
            faults.Add(
                name, "not used", "a LoRA of projections alone for each expert",
                "to train on with all that an adapter holds, name it as adapter.from");
        foreach (var name in entries.Keys.Where(
            name => name.EndsWith(".lora_A.weight", StringComparison.Ordinal) && !known.ContainsKey(name)))
            faults.Add(
                name, "not used", "only projections that this mixture adapts", "widen adapter.target_modules");
        if (!source.Entries.Keys.Any(known.ContainsKey) && !faults.Any)
            faults.Add("adapter_model.safetensors", "no adapted projection", "at least one that this mixture adapts");
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        foreach (var (name, module) in known)
        {
            module.UpOf(expert).zero_();
            if (!source.Entries.TryGetValue(name, out var down))
                continue; // this expert does not adapt the projection: its B stays zero
            var rank = down.Shape.Count == 2 ? down.Shape[0] : 0;
            if (rank < 1 || rank > module.Shape.Rank)
            {
                faults.Add(
                    name, rank < 1 ? $"shape [{string.Join(", ", down.Shape)}]" : $"rank {rank}",
                    $"rank up to {module.Shape.Rank}", "raise adapter.r");
                continue;
            }
            var upName = BundleTensors.NameInFile($"{module.Path}.lora_B", true);
            module.DownOf(expert).narrow(0, rank, module.Shape.Rank - rank).zero_();
            Copy(faults, source.Entries, name, module.DownOf(expert).narrow(0, 0, rank), 1);
            Copy(faults, source.Entries, upName, module.UpOf(expert).narrow(1, 0, rank), source.ScaleOf(
                module.Path) / module.Shape.Scale);
        }
        faults.ThrowIfAny($"{source.Directory} as expert {expert.ToString(CultureInfo.InvariantCulture)}");
    }

    private static bool IsFactor(string name) => name.EndsWith(".lora_A.weight", StringComparison.Ordinal)
        || name.EndsWith(".lora_B.weight", StringComparison.Ordinal);

    private static void Copy(
        Faults faults, IReadOnlyDictionary<string, SafetensorsEntry> entries, string name, Tensor target, double factor)
    {
        if (!entries.TryGetValue(name, out var entry))
        {
            faults.Add(name, "missing", "a tensor for every adapted projection");
            return;
        }
        using var scope = torch.NewDisposeScope();
        using var off = torch.no_grad();
        if (BundleTensors.Read(faults, entry, target.shape) is { } read)
            target.copy_(read.to(target.dtype) * factor);
    }

    private sealed record Source(
        string Directory, IReadOnlyDictionary<string, SafetensorsEntry> Entries, Func<string, double> ScaleOf)
    {
        public static Source Open(string directory)
        {
            if (BundleFiles.IsBundle(directory))
            {
                var adapter = OwnBundle.Open(directory).Manifest.Adapter;
                if (!adapter.IsPlainLora)
                    throw UserException.At(directory, "a mixture", "a plain LoRA for each expert");
                RequireBase(directory, adapter.InitLoraWeights);
            }
            var config = LoraAdapterConfig.Read(directory, _ => { });
            if (config.UseDora)
                throw UserException.At(directory, "a DoRA", "a plain LoRA for each expert");
            RequireBase(directory, config.InitLoraWeights);
            return new Source(directory, AdapterWeights.Open(directory).Entries, config.ScalingOf);
        }
    }

    private static void RequireBase(string directory, string init)
    {
        if (WeightInitialization.ChangesBase(init))
            throw UserException.At(
                directory, $"trained on what {init} left of the base", "a plain LoRA for each expert",
                "make it one with peft adapter export");
    }
}
