using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Recipes.Transfer;

/// <summary>An adapter together with what its directory tells of where it came from.</summary>
public static class AdapterContents
{
    private const long LargestCard = 4L << 20; // bytes
    private const long LargestRecipe = 16L << 20;

    /// <summary>What a bundle of this adapter holds.</summary>
    /// <param name="adapted">The attached adapter.</param>
    /// <param name="directory">Where it was read: its provenance is kept where it has one.</param>
    /// <param name="baseDirectory">The base, for adapters that know none by fingerprint.</param>
    public static BundleContents Of(AdaptedModel adapted, string directory, string baseDirectory)
    {
        var recipe = BundleFiles.PathOf(directory, BundleFiles.Recipe);
        if (Bundle.ManifestOf(directory) is { } manifest)
            return new BundleContents
            {
                Adapted = adapted,
                Base = manifest.Base,
                Earlier = manifest,
                ResolvedRecipe = manifest.Files.Any(file => file.Key == BundleFiles.Recipe)
                    ? System.Text.Encoding.UTF8.GetString(BoundedFile.ReadAllBytes(recipe, LargestRecipe))
                    : null,
                ChatTemplate = BundleFiles.ChatTemplateOf(directory),
            };
        var named = LoraAdapterConfig.Read(directory, _ => { }).BaseModelNameOrPath;
        return new BundleContents
        {
            Adapted = adapted,
            // A name of the Hub says more to others than a path does; a directory that is not here says nothing.
            Base = new BaseIdentity(
                !string.IsNullOrEmpty(named)
                    && (ModelCard.IsHubId(named) || LoadedModel.TryBaseOf(directory, out _) is not null) ? named
                    : baseDirectory,
                ModelLoader.Fingerprint(baseDirectory)),
            ChatTemplate = BundleFiles.ChatTemplateOf(directory),
        };
    }

    /// <summary>Evaluation numbers that stand beside an adapter.</summary>
    /// <param name="directory">The adapter.</param>
    /// <param name="say">Told where there are some that cannot be read.</param>
    public static CardFacts FactsOf(string directory, Action<string> say)
    {
        var path = ResultsFile.PathOf(directory);
        if (!File.Exists(path))
            return CardFacts.None;
        try
        {
            var results = ResultsFile.Load(path);
            var own = results.Subjects.Where(subject => subject.Kind == Subject.AdapterKind).ToList();
            if (own is [{ Fingerprint: { } measured }] && measured != MeasuredBundle.FingerprintOf(directory))
            {
                say($"{path}: the results are of another adapter than {directory} holds now; the model card has no "
                    + $"metrics");
                return CardFacts.None;
            }
            return own is not [var model] ? CardFacts.None : new CardFacts
            {
                Metrics =
                [
                    .. from task in results.Tasks
                       let score = results.ScoreOf(model.Name, task.Name, task.Main.Name)
                       where score is not null
                       select new CardMetric(task.Name, task.Main.Name, score.Value, score.Rows),
                ],
            };
        }
        catch (UserException error)
        {
            say($"{error.Message} The model card has no metrics.");
            return CardFacts.None;
        }
    }

    /// <summary>The licence that the front matter of a base's README.md names; null where it names none.</summary>
    public static string? LicenseOf(string baseDirectory)
    {
        var path = Path.Combine(baseDirectory, "README.md");
        if (!File.Exists(path))
            return null;
        var lines = System.Text.Encoding.UTF8.GetString(BoundedFile.ReadAllBytes(path, LargestCard)).Split('\n').Select(
            line => line.TrimEnd('\r')).ToList();
        if (lines[0].Trim('\uFEFF') != "---")
            return null;
        const string Key = "license:";
        var found = lines.Skip(1).TakeWhile(line => line != "---")
            .FirstOrDefault(line => line.StartsWith(Key, StringComparison.Ordinal))?[Key.Length..].Trim().Trim('"',
            '\'');
        return string.IsNullOrEmpty(found) ? null : found;
    }
}
