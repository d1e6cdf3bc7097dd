using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>What a stage of a continual training leaves to the next one: <c>continual.safetensors</c> in its
/// bundle.</summary>
/// <remarks>Per module <c>base_model.model.PATH.covariance</c> [D, D], <c>….tokens</c> [1], and with a router
/// <c>….importance</c> [E]; all F64. Metadata: <c>stages</c>. The manifest lists the file.</remarks>
public static class ContinualFile
{
    /// <summary>The file's name.</summary>
    public const string Name = "continual.safetensors";

    private const string Stages = "stages";
    private const string Covariance = "covariance";
    private const string Tokens = "tokens";
    private const string Importance = "importance";

    /// <summary>What a bundle is to hold beside the rest.</summary>
    public static BundleFile Of(ContinualState state) => new(Name, path =>
    {
        using var scope = torch.NewDisposeScope();
        var tensors = new List<SafetensorsWrite>();
        foreach (var (module, statistics) in state.Modules.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            Add(module, Covariance, statistics.Covariance);
            Add(module, Tokens, torch.tensor([(double)statistics.Tokens], [1]));
            if (statistics.Importance is not null)
                Add(module, Importance, statistics.Importance);
        }
        SafetensorsWriter.WriteFile(
            path, tensors, new Dictionary<string, string>
            {
                [Stages] = state.Stages.ToString(CultureInfo.InvariantCulture),
            });

        void Add(string module, string kind, Tensor tensor) =>
            tensors.Add(BundleTensors.ToWrite(NameOf(module, kind), tensor.to(torch.CPU).contiguous()));
    });

    /// <summary>Reads what the stage before left for a model's projections; its tensors belong to the scope that is
    /// open.</summary>
    /// <param name="directory">The bundle of that stage.</param>
    /// <param name="adapted">The mixture that goes on from it.</param>
    /// <exception cref="UserException">It left nothing, or what it left does not fit; all faults at once.</exception>
    public static ContinualState Read(string directory, AdaptedModel adapted)
    {
        var bundle = OwnBundle.Open(directory);
        if (!bundle.Manifest.Files.Any(file => file.Key == Name))
            throw UserException.At(
                directory, $"no {Name}", "the bundle of a stage before, which holds what its inputs were like",
                "train it with training.continual too, or leave adapter.from out to begin a first stage");
        var path = BundleFiles.PathOf(directory, Name);
        var file = SafetensorsFile.Open(path);
        var faults = new Faults();
        if (!int.TryParse(
            file.Metadata.GetValueOrDefault(Stages), NumberStyles.None, CultureInfo.InvariantCulture, out var stages)
            || stages < 1)
            faults.Add(
                Stages, Quote.Of(file.Metadata.GetValueOrDefault(Stages, "")), "the number of stages in its metadata");
        var device = adapted.Model.Device;
        var modules = new Dictionary<string, InputStatistics>(StringComparer.Ordinal);
        foreach (var module in adapted.Modules.Where(module => module.Path != adapted.Model.HeadProjection.Path))
        {
            var covariance = Take(module.Path, Covariance, [module.InFeatures, module.InFeatures]);
            var tokens = Take(module.Path, Tokens, [1]);
            var importance = module.Router is null ? null : Take(module.Path, Importance, [module.Candidates]);
            if (covariance is null || tokens is null)
                continue;
            var count = (long)tokens.to(torch.CPU).ToDouble();
            if (count < 1)
                faults.Add(NameOf(module.Path, Tokens), $"{count}", "at least 1");
            modules[module.Path] = new(covariance, null, count, null, importance);
        }
        faults.ThrowIfAny(path);
        return new(stages, modules);

        Tensor? Take(string module, string kind, long[] shape)
        {
            var name = NameOf(module, kind);
            if (file.Entries.TryGetValue(name, out var entry))
                return BundleTensors.Read(faults, entry, shape)?.to(torch.float64).to(device);
            faults.Add(name, "missing", "a tensor for every adapted projection");
            return null;
        }
    }

    private static string NameOf(string module, string kind) => $"{BundleTensors.Prefix}{module}.{kind}";
}
