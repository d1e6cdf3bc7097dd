using Peft.Adapters.Lora;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>A further file of a bundle, listed in its manifest.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Write">Writes it at a path.</param>
public sealed record BundleFile(string Name, Action<string> Write);

/// <summary>What goes into a bundle.</summary>
public sealed record BundleContents
{
    /// <summary>The trained model.</summary>
    public required AdaptedModel Adapted { get; init; }

    /// <summary>Its base.</summary>
    public required BaseIdentity Base { get; init; }

    /// <summary>The recipe with every default filled in, as YAML; null where there was no recipe (an import).</summary>
    public string? ResolvedRecipe { get; init; }

    /// <summary>The chat template that it was trained with; null where there was none.</summary>
    public string? ChatTemplate { get; init; }

    /// <summary>The data files.</summary>
    public IReadOnlyList<DataIdentity> Data { get; init; } = [];

    /// <summary>Names of the tasks in the order of their ids, where the router goes by task; else empty.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>The manifest of the bundle that is written again, as it was; null where the others here say what it
    /// is.</summary>
    public BundleManifest? Earlier { get; init; }

    /// <summary>Further files.</summary>
    public IReadOnlyList<BundleFile> Beside { get; init; } = [];

    /// <summary>Seed of the run.</summary>
    public long Seed { get; init; }

    /// <summary>Versions of the programs that made it.</summary>
    /// <value>Default: this assembly's and libtorch's.</value>
    public IReadOnlyList<KeyValuePair<string, string>> Versions { get; init; } = OwnVersions;

    /// <summary>This assembly's version and libtorch's.</summary>
    public static IReadOnlyList<KeyValuePair<string, string>> OwnVersions =>
    [
        KeyValuePair.Create("peft", typeof(BundleContents).Assembly.GetName().Version?.ToString(3) ?? "unknown"),
        KeyValuePair.Create("libtorch", torch.__version__),
    ];
}

/// <summary>Writes bundles.</summary>
public static class BundleWriter
{
    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>
    /// Writes the bundle into a directory; checkpoints, metrics and anything else that is there stays. A crash at
    /// any moment leaves the old bundle or the new one (<see cref="BundleFiles"/> says how). Equal contents give equal
    /// bytes.
    /// </summary>
    /// <returns>The manifest that was written.</returns>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static BundleManifest Write(string directory, BundleContents contents)
    {
        BundleManifest? written = null;
        BundleFiles.Replace(directory, folder => written = Fill(folder, contents));
        return written!;
    }

    /// <summary>What a manifest says of these contents; the files' hashes are added when they are written.</summary>
    public static BundleManifest ManifestOf(BundleContents contents) =>
        contents.Earlier is { } earlier
            ? earlier with { Files = [] }
            : new()
            {
                Adapter = contents.Adapted.Options,
                Base = contents.Base,
                Data = contents.Data,
                Tasks = contents.Tasks,
                Seed = contents.Seed,
                Versions = contents.Versions,
                TrainableParameters = contents.Adapted.TrainableParameterCount,
                SharedFactors = contents.Adapted.SharedFactors,
            };

    /// <summary>Writes a bundle whose tensors no attached model holds; otherwise as the other.</summary>
    /// <param name="directory">The bundle's directory.</param>
    /// <param name="manifest">Its manifest, less the files.</param>
    /// <param name="config">The text of adapter_config.json.</param>
    /// <param name="tensors">Its tensors; each is asked for once, in the order of the file.</param>
    /// <param name="chatTemplate">The chat template that it was trained with; null where there was none.</param>
    /// <returns>The manifest that was written.</returns>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static BundleManifest Write(
        string directory, BundleManifest manifest, string config, IReadOnlyList<SafetensorsWrite> tensors,
        string? chatTemplate = null)
    {
        BundleManifest? written = null;
        BundleFiles.Replace(directory, folder => written = Fill(
            folder, manifest, config, tensors, null, chatTemplate, []));
        return written!;
    }

    private static BundleManifest Fill(string folder, BundleContents contents)
    {
        var adapted = contents.Adapted;
        return Fill(
            folder, ManifestOf(contents), PeftConfig.ToJson(adapted, contents.Base.Name), BundleTensors.ToWrite(
                adapted), contents.ResolvedRecipe, contents.ChatTemplate, contents.Beside);
    }

    private static BundleManifest Fill(
        string folder, BundleManifest manifest, string config, IReadOnlyList<SafetensorsWrite> tensors, string? recipe,
        string? chatTemplate, IReadOnlyList<BundleFile> beside)
    {
        var names = new List<string> { BundleFiles.Config, BundleFiles.Weights, BundleFiles.Card };
        BundleFiles.WriteText(folder, BundleFiles.Config, config);
        SafetensorsWriter.WriteFile(Path.Combine(folder, BundleFiles.Weights), tensors, Metadata);
        BundleFiles.WriteText(folder, BundleFiles.Card, ModelCard.Of(manifest));
        if (recipe is not null)
        {
            BundleFiles.WriteText(folder, BundleFiles.Recipe, recipe);
            names.Add(BundleFiles.Recipe);
        }
        if (chatTemplate is not null)
        {
            BundleFiles.WriteText(folder, BundleFiles.ChatTemplate, chatTemplate);
            names.Add(BundleFiles.ChatTemplate);
        }
        foreach (var file in beside)
        {
            file.Write(Path.Combine(folder, file.Name));
            names.Add(file.Name);
        }
        manifest = manifest with
        {
            Files = [.. names.Select(name => KeyValuePair.Create(name, Sha256.OfFile(Path.Combine(folder, name))))],
        };
        BundleFiles.WriteText(folder, BundleFiles.Manifest, manifest.ToJson());
        return manifest;
    }
}
