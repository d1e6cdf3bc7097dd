using Peft.Formats.Files;
using Peft.Formats.Safetensors;

namespace Peft.Adapters.Bundles;

/// <summary>Writes bundles.</summary>
public static class BundleWriter
{
    private static readonly Dictionary<string, string> Metadata = new() { ["format"] = "pt" };

    /// <summary>
    /// Writes the bundle into a directory; checkpoints, metrics and anything else that stands there stays. A crash at any
    /// moment leaves the old bundle or the new one (<see cref="BundleFiles"/> says how). Equal contents give equal bytes.
    /// </summary>
    /// <returns>The manifest that was written.</returns>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static BundleManifest Write(string directory, BundleContents contents)
    {
        ArgumentNullException.ThrowIfNull(contents);
        BundleManifest? written = null;
        BundleFiles.Replace(directory, folder => written = Fill(folder, contents));
        return written!;
    }

    /// <summary>What a manifest says of these contents; the files' hashes are added when they are written.</summary>
    public static BundleManifest ManifestOf(BundleContents contents) => new()
    {
        Adapter = contents.Adapted.Options,
        Base = contents.Base,
        Data = contents.Data,
        Seed = contents.Seed,
        Versions = contents.Versions,
        TrainableParameters = contents.Adapted.TrainableParameterCount,
    };

    private static BundleManifest Fill(string folder, BundleContents contents)
    {
        var adapted = contents.Adapted;
        var manifest = ManifestOf(contents);
        var names = new List<string> { BundleFiles.Config, BundleFiles.Weights, BundleFiles.Card };
        BundleFiles.WriteText(folder, BundleFiles.Config, PeftConfig.ToJson(adapted, contents.Base.Name));
        SafetensorsWriter.WriteFile(Path.Combine(folder, BundleFiles.Weights), BundleTensors.ToWrite(adapted), Metadata);
        BundleFiles.WriteText(folder, BundleFiles.Card, ModelCard.Of(manifest));
        if (contents.ResolvedRecipe is not null)
        {
            BundleFiles.WriteText(folder, BundleFiles.Recipe, contents.ResolvedRecipe);
            names.Add(BundleFiles.Recipe);
        }
        manifest = manifest with
        {
            Files = [.. names.Select(name => KeyValuePair.Create(name, Sha256.OfFile(Path.Combine(folder, name))))],
        };
        BundleFiles.WriteText(folder, BundleFiles.Manifest, manifest.ToJson());
        return manifest;
    }
}
