using System.Text;
using Peft.Adapters.Bundles;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Models.Loading;

namespace Peft.Evaluation.Results;

/// <summary>The bundles that results were measured on, and what is there now.</summary>
public static class MeasuredBundle
{
    /// <summary>
    /// SHA-256 of the adapter in a directory: of a bundle's manifest, which holds those of all its files, or of the
    /// weights and the configuration of a directory of Hugging Face PEFT; null where there is no adapter.
    /// </summary>
    /// <exception cref="UserException">The manifest cannot be read.</exception>
    public static string? FingerprintOf(string directory)
    {
        if (Bundle.ManifestOf(directory) is { } manifest)
            return FingerprintOf(manifest);
        var (weights, config) = (
            Path.Combine(directory, BundleFiles.Weights), Path.Combine(directory, BundleFiles.Config));
        return !File.Exists(weights) ? null
            : Sha256.OfBytes(Encoding.UTF8.GetBytes(
                Sha256.OfFile(weights) + (File.Exists(config) ? Sha256.OfFile(config) : "")));
    }

    /// <summary>SHA-256 of a bundle's manifest.</summary>
    public static string FingerprintOf(BundleManifest manifest) =>
        Sha256.OfBytes(Encoding.UTF8.GetBytes(manifest.ToJson()));

    /// <summary>Refuses results of a bundle that was replaced since.</summary>
    /// <param name="file">The results file.</param>
    /// <param name="results">What it holds.</param>
    /// <exception cref="UserException">A bundle that was measured is there, and is another one now.</exception>
    public static void RequireCurrent(string file, ResultsDocument results)
    {
        var faults = new Faults();
        foreach (var subject in results.Subjects.Where(subject => subject.Kind == Subject.AdapterKind))
        {
            if (subject.Fingerprint is { } then && DirectoryOf(file, subject) is { } directory
                && FingerprintOf(directory) is { } now && now != then)
                faults.Add(
                    directory, $"holds another adapter ({CheckpointFingerprint.Short(now)}) than {file} was measured "
                        + $"on ({CheckpointFingerprint.Short(then)})", null,
                    $"measure it again: peft eval --adapter {directory} --output {Path.GetDirectoryName(file)} "
                        + "--overwrite");
        }
        faults.ThrowIfAny("stale results");
    }

    private static bool IsAdapter(string directory) =>
        Directory.Exists(directory)
            && (
                Bundle.ManifestOf(directory) is not null
                    || File.Exists(Path.Combine(directory, BundleFiles.Weights)));

    // As the results name it, or around them: results are written beside a bundle or in a folder of it.
    private static string? DirectoryOf(string file, Subject subject)
    {
        if (IsAdapter(subject.Path))
            return subject.Path;
        var folder = Path.GetDirectoryName(Path.GetFullPath(file))!;
        string?[] around = [folder, Path.GetDirectoryName(folder)];
        var name = Path.GetFileName(Path.TrimEndingDirectorySeparator(subject.Path));
        return around.OfType<string>().FirstOrDefault(other => Path.GetFileName(other) == name && IsAdapter(other));
    }
}
