using System.Globalization;
using System.Text;
using System.Text.Json;
using Peft.Adapters.Attach;

namespace Peft.Adapters.Bundles;

/// <summary>The README.md of a bundle, with the front matter that the Hugging Face Hub reads.</summary>
public static class ModelCard
{
    /// <summary>The card's text; equal bundles give equal text.</summary>
    public static string Of(BundleManifest manifest)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        var options = manifest.Adapter;
        var text = new StringBuilder();
        WriteFrontMatter(text, manifest);
        text.Append(CultureInfo.InvariantCulture, $"\n# {Title(options)} for {ShownBase(manifest)}\n\n");
        text.Append(options.IsPlainLora
            ? "A LoRA adapter. Hugging Face PEFT and every tool that reads its format load this directory.\n\n"
            : "A mixture of LoRA experts with a learned router. `peft generate --adapter` loads it; `peft adapter export` writes each "
              + "expert as a directory that Hugging Face PEFT reads.\n\n");
        text.Append("| setting | value |\n|---|---|\n");
        foreach (var (name, value) in Settings(manifest))
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {value.Replace("|", "\\|", StringComparison.Ordinal)} |\n");
        text.Append(manifest.Merge is null
            ? "\n`bundle.json` holds every setting and the hash of each file; `recipe.resolved.yaml` trains it again; `metrics.jsonl` is the course "
              + "of the training.\n"
            : "\n`bundle.json` holds every setting, what was merged, and the hash of each file.\n");
        return text.ToString();
    }

    private static void WriteFrontMatter(StringBuilder text, BundleManifest manifest)
    {
        text.Append("---\n");
        if (IsHubId(manifest.Base.Name))
            text.Append(CultureInfo.InvariantCulture, $"base_model: {JsonSerializer.Serialize(manifest.Base.Name)}\n");
        if (manifest.Adapter.IsPlainLora)
            text.Append("library_name: peft\n");
        text.Append("pipeline_tag: text-generation\ntags:\n");
        if (IsHubId(manifest.Base.Name))
            text.Append(CultureInfo.InvariantCulture, $"- {JsonSerializer.Serialize("base_model:adapter:" + manifest.Base.Name)}\n");
        text.Append("- lora\n");
        if (!manifest.Adapter.IsPlainLora)
            text.Append("- mixture-of-experts\n");
        text.Append("---\n");
    }

    private static IEnumerable<(string Name, string Value)> Settings(BundleManifest manifest)
    {
        var options = manifest.Adapter;
        yield return ("base model", ShownBase(manifest));
        yield return ("base fingerprint", manifest.Base.Fingerprint);
        yield return ("rank", options.R.ToString(CultureInfo.InvariantCulture));
        yield return ("alpha", options.LoraAlpha.ToString(CultureInfo.InvariantCulture) + (options.UseRslora ? " (rsLoRA)" : ""));
        yield return ("targets", options.TargetModules.ToString());
        if (options.Router is not null)
        {
            yield return ("experts", string.Join(", ", Enumerable.Range(0, options.Experts.Count).Select(options.Experts.NameOf)));
            yield return ("router", options.Router.Kind);
        }
        yield return ("trained values", manifest.TrainableParameters.ToString("N0", CultureInfo.InvariantCulture));
        if (manifest.Merge is { } merge)
        {
            yield return ("merged by", string.Join(", ", merge.Settings.Select(pair => $"{pair.Key} {pair.Value}").Prepend(merge.Method)));
            yield return ("merged from", string.Join(", ", merge.Adapters.Select(adapter => adapter.Name)));
        }
        yield return ("seed", manifest.Seed.ToString(CultureInfo.InvariantCulture));
        foreach (var (name, version) in manifest.Versions)
            yield return (name, version);
    }

    private static string Title(AdapterOptions options) =>
        options.Router is null ? "LoRA" : $"Mixture of {options.Experts.Count} LoRA experts ({options.Router.Kind})";

    // A path of the author's machine says nothing to a reader of the card; its last part does.
    private static string ShownBase(BundleManifest manifest) =>
        IsHubId(manifest.Base.Name) ? manifest.Base.Name : Path.GetFileName(Path.TrimEndingDirectorySeparator(manifest.Base.Name));

    private static bool IsHubId(string name) =>
        name.Count(c => c == '/') == 1
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '-' or '_' or '.')
        && char.IsAsciiLetterOrDigit(name[0])
        && name[^1] != '/'
        && !Directory.Exists(name);
}
