using Peft.Adapters.Bundles;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;
using Peft.Models.Loading;

namespace Peft.Recipes.Transfer;

/// <summary>
/// A directory of somebody else's becomes a bundle: LoRA adapters of Hugging Face PEFT, and mixtures that were
/// exported.
/// </summary>
public static class AdapterImport
{
    /// <summary>Reads, checks against the base, and writes the bundle in one step.</summary>
    /// <param name="directory">The adapter.</param>
    /// <param name="baseDirectory">Its base; null: the one it names.</param>
    /// <param name="output">The bundle to write.</param>
    /// <param name="overwrite">Whether an earlier result there is replaced.</param>
    /// <param name="say">Told of what has no effect here.</param>
    /// <param name="stop">Ends it with nothing written.</param>
    /// <returns>What was written.</returns>
    /// <exception cref="UserException">Anything about the adapter does not fit, or the place cannot be
    /// written.</exception>
    public static BundleManifest Run(
        string directory, string? baseDirectory, string output, bool overwrite, Action<string> say,
        CancellationToken stop = default)
    {
        ResultDirectory.RequireWhole(output, overwrite, directory, baseDirectory);
        var found = baseDirectory ?? LoadedModel.BaseOf(directory);
        using var scope = torch.NewDisposeScope();
        // The stored type: weights are mapped, and copies of them beside the adapter can be told exactly.
        using var loaded = LoadedModel.Open(found, directory, ModelLoader.StoredType(found).Name(), torch.CPU, say);
        var contents = AdapterContents.Of(loaded.Adapted!, directory, found);
        BundleManifest? written = null;
        AtomicDirectory.Replace(output, folder =>
        {
            stop.ThrowIfCancellationRequested();
            BundleWriter.Write(folder, contents);
            GateFile.Copy(directory, folder);
            written = OwnBundle.Open(folder).Manifest;
            stop.ThrowIfCancellationRequested();
        });
        return written!;
    }
}

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
        var isPeft = Bundle.ManifestOf(directory) is null;
        if (isPeft && !File.Exists(Path.Combine(directory, LoraAdapterConfig.FileName)))
            OwnBundle.Open(directory); // says what is missing
        var summary = AdapterSummary.Read(directory, isPeft ? warn : null);
        var what = $"{directory}: intact; {summary.Kind}, "
            + (summary.Manifest is { } manifest
            ? $"{Words.Count(manifest.Files.Count, "file")}, "
                + $"{Words.Count(manifest.TrainableParameters, "trainable parameter")}"
            : Words.Count(summary.Modules.Count, "projection"));
        var named = "";
        if ((baseDirectory ?? LoadedModel.TryBaseOf(directory, out named)) is not { } found)
            return $"{what}; not compared with its base{(named.Length > 0 ? $" {Quote.Of(named)}" : "")}, which is not "
                + $"here (name it with --base DIR)";
        using var loaded = LoadedModel.Open(found, directory, ModelLoader.StoredType(found).Name(), torch.CPU);
        return $"{what}, fits {loaded.BaseDirectory}";
    }
}
