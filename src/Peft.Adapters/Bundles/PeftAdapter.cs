using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Bundles;

/// <summary>The matrices of one projection of a plain LoRA.</summary>
/// <remarks>Shapes: Down (A) [R, D], Up (B) [O, R]. Units: the projection adds <c>scale · B A x</c>.</remarks>
/// <param name="Path">Module path.</param>
/// <param name="Down">A.</param>
/// <param name="Up">B.</param>
public sealed record PeftModule(string Path, Tensor Down, Tensor Up);

/// <summary>A plain LoRA as Hugging Face PEFT knows it: settings and two matrices a projection.</summary>
/// <param name="Config">What adapter_config.json holds.</param>
/// <param name="Modules">The adapted projections.</param>
public sealed record PeftAdapter(LoraAdapterConfig Config, IReadOnlyList<PeftModule> Modules)
{
    /// <summary>A plain LoRA of ours.</summary>
    public static PeftAdapter Of(AdaptedModel adapted, string baseName)
    {
        ArgumentNullException.ThrowIfNull(adapted);
        return new(
            PeftConfig.ToLora(adapted, baseName),
            [.. adapted.Modules.Select(module => new PeftModule(module.Path, module.Down, module.Up))]);
    }

    /// <summary>One expert of a mixture, or the part that is not routed: some projections with scales of their own.</summary>
    /// <param name="adapted">The mixture.</param>
    /// <param name="part">Which of its matrices.</param>
    /// <param name="baseName">The base model's name.</param>
    /// <remarks>
    /// Where the router sets the scale (FlyLoRA, ReMix), alpha becomes scale · r, so that a reader which knows no router computes the
    /// same product.
    /// </remarks>
    public static PeftAdapter Of(AdaptedModel adapted, MixturePart part, string baseName)
    {
        ArgumentNullException.ThrowIfNull(adapted);
        ArgumentNullException.ThrowIfNull(part);
        var config = PeftConfig.ToLora(adapted, baseName);
        if (part.Modules.Count < adapted.Modules.Count)
            config = Named(config, part.Modules.Select(module => module.Path));
        var byRouter = part.Modules.Any(module => !Agrees(config, module));
        return new(
            byRouter ? WithScales(config, part.Modules) : config,
            [.. part.Modules.Select(module => new PeftModule(
                module.Path, module.DownOf(part.Expert ?? 0), module.UpOf(part.Expert ?? 0).contiguous()))]);
    }

    /// <summary>Refuses what was read where it differs from what was written, in names or in a single bit.</summary>
    /// <exception cref="UserException">It differs.</exception>
    public static void RequireEqual(string directory, PeftAdapter written, PeftAdapter read)
    {
        ArgumentNullException.ThrowIfNull(written);
        ArgumentNullException.ThrowIfNull(read);
        using var off = torch.no_grad();
        var modules = read.Modules.ToDictionary(module => module.Path, StringComparer.Ordinal);
        var faults = new Faults();
        foreach (var module in written.Modules)
        {
            if (!modules.Remove(module.Path, out var found) || !found.Down.SameAs(module.Down) || !found.Up.SameAs(module.Up))
                faults.Add(module.Path, "not what was to be written", "the adapter's own matrices", "look at the disk, and write it again");
        }
        foreach (var path in modules.Keys)
            faults.Add(path, "written", "the adapter's own projections only");
        faults.ThrowIfAny(directory);
    }

    /// <summary>The configuration with its targets named one by one.</summary>
    internal static LoraAdapterConfig Named(LoraAdapterConfig config, IEnumerable<string> paths) => config with
    {
        TargetModules = [.. paths],
        TargetModulesPattern = null,
        ExcludeModules = [],
        ExcludeModulesPattern = null,
        LayersToTransform = [],
        LayersPattern = [],
    };

    private static bool Agrees(LoraAdapterConfig config, MixtureProjection module) =>
        Math.Abs(config.ScalingOf(module.Path) - module.Shape.Scale) <= 1e-12 * Math.Abs(module.Shape.Scale);

    private static LoraAdapterConfig WithScales(LoraAdapterConfig config, IReadOnlyList<MixtureProjection> modules)
    {
        var usual = modules.GroupBy(AlphaOf).OrderByDescending(group => group.Count()).First().Key;
        return config with
        {
            UseRslora = false,
            LoraAlpha = usual,
            AlphaPattern = [.. modules.Where(module => AlphaOf(module) != usual)
                .Select(module => KeyValuePair.Create(module.Path, AlphaOf(module)))],
        };
    }

    private static double AlphaOf(MixtureProjection module) => module.Shape.Scale * module.Shape.Rank;
}
