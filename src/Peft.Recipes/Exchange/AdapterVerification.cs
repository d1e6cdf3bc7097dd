using Peft.Adapters.Bundles;
using Peft.Formats.HuggingFace;
using Peft.Models.Loading;
using Peft.Models;

namespace Peft.Recipes.Exchange;

/// <summary>Checks an adapter's directory: hashes, names, shapes, finite numbers, and that it fits its base.</summary>
public static class AdapterVerification
{
    /// <summary>Checks it and says what it is.</summary>
    /// <param name="directory">A bundle, an exported mixture, or a LoRA directory of PEFT's.</param>
    /// <param name="baseDirectory">Its base; null: the one it names, where that is here.</param>
    /// <param name="warn">Told of what has no effect.</param>
    /// <exception cref="Formats.UserException">Anything is wrong with it.</exception>
    public static string Run(string directory, string? baseDirectory, Action<string> warn)
    {
        var isPeft = AdapterLoader.ManifestOf(directory) is null;
        if (isPeft && !File.Exists(Path.Combine(directory, LoraAdapterConfig.FileName)))
            BundleReader.Load(directory); // says what is missing
        var summary = AdapterSummary.Read(directory, isPeft ? warn : null);
        var what = $"{directory}: intact - {summary.Kind}, "
            + (summary.Manifest is { } manifest ? $"{manifest.Files.Count} files, {manifest.TrainableParameters:N0} trained values" : $"{summary.Modules.Count} projections");
        var named = "";
        if ((baseDirectory ?? LoadedModel.TryBaseOf(directory, out named)) is not { } found)
            return $"{what}; its base {(named.Length > 0 ? $"'{named}'" : "")} is not here, so not compared: name it with --base DIR";
        using var loaded = LoadedModel.Open(found, directory, ModelLoader.StoredType(found).Name(), torch.CPU);
        return $"{what}, fits {loaded.BaseDirectory}";
    }
}
