using System.Globalization;
using System.Text;
using Peft.Adapters.Attach;
using Peft.Adapters.Exchange;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Bundles;

/// <summary>The README.md of a directory, with the front matter that the Hugging Face Hub reads.</summary>
/// <remarks>Equal contents give equal text. A base that is a path of somebody's machine is shown by its last part alone.</remarks>
public static class ModelCard
{
    /// <summary>The card of a bundle.</summary>
    public static string Of(BundleManifest manifest)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        var isPlain = manifest.Adapter.IsPlainLora;
        return Written(manifest, Title(manifest.Adapter), CardFacts.None, isPlain, text =>
        {
            text.Append(isPlain
                ? "A LoRA adapter. Hugging Face PEFT and every tool that reads its format load this directory.\n\n"
                : "A mixture of LoRA experts with a learned router. `peft generate --adapter` loads it; `peft adapter export` writes each "
                  + "expert as a directory that Hugging Face PEFT reads.\n\n");
            AppendSettings(text, manifest);
            text.Append("\n`bundle.json` holds every setting and the hash of each file; `recipe.resolved.yaml` trains it again; ");
            text.Append("`metrics.jsonl` is the course of the training.\n");
        });
    }

    /// <summary>The card of an exported directory: a plain LoRA, or a mixture's experts with their routers.</summary>
    public static string OfExport(BundleManifest manifest, CardFacts facts)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        var isPlain = manifest.Adapter.IsPlainLora;
        return Written(manifest, Title(manifest.Adapter), facts, isPlain, text =>
        {
            if (isPlain)
            {
                text.Append("A LoRA adapter in the format of Hugging Face PEFT.\n\n");
                AppendLoading(text, manifest, ".");
            }
            else
            {
                text.Append("A mixture of LoRA experts. Each `expert_N/` is a LoRA directory that Hugging Face PEFT reads (that expert alone, for ");
                text.Append("every token)");
                text.Append("; `shared/`, where there is one, holds the projections that are not routed. `router.safetensors` and ");
                text.Append("`mixture.json` hold how tokens choose experts, which PEFT does not know.\n\n## How to load\n\n");
                text.Append("With Peft, router and all:\n\n```sh\npeft adapter import THIS_DIRECTORY --base BASE --output BUNDLE\n");
                text.Append("peft generate --adapter BUNDLE --base BASE --prompt \"...\"\n```\n\nOne expert in Hugging Face PEFT:\n\n");
                AppendPython(text, manifest, "THIS_DIRECTORY/expert_0");
            }
            text.Append("## Settings\n\n");
            AppendSettings(text, manifest);
            AppendRouter(text, manifest.Adapter);
            AppendData(text, manifest);
            AppendMetrics(text, facts);
        });
    }

    /// <summary>The card of one part of an exported mixture.</summary>
    public static string OfPart(BundleManifest manifest, MixturePart part, CardFacts facts)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(part);
        var options = manifest.Adapter;
        var title = part.Expert is { } expert ? $"Expert {expert} ({options.Experts.NameOf(expert)})" : "The part that is not routed";
        return Written(manifest, title, facts with { Metrics = [] }, isPeft: true, text =>
        {
            text.Append(CultureInfo.InvariantCulture, $"One part of a mixture of {options.Experts.Count} LoRA experts (router: {options.Router?.Kind}). ");
            text.Append("By itself it is what the mixture computes when every token gets ");
            text.Append(part.Expert is null ? "no expert.\n\n" : "this expert with weight 1.\n\n");
            AppendPython(text, manifest, "THIS_DIRECTORY");
        });
    }

    /// <summary>The card of a full checkpoint with the adapter added to its weights.</summary>
    /// <param name="manifest">The adapter.</param>
    /// <param name="facts">Licence of the base.</param>
    /// <param name="remark">What was approximated; empty where nothing was.</param>
    public static string OfMerged(BundleManifest manifest, CardFacts facts, string remark)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(facts);
        var text = new StringBuilder("---\n");
        if (IsHubId(manifest.Base.Name))
            text.Append(CultureInfo.InvariantCulture, $"base_model: {Quoted(manifest.Base.Name)}\nbase_model_relation: finetune\n");
        AppendLicense(text, facts);
        text.Append("library_name: transformers\npipeline_tag: text-generation\ntags:\n- lora\n- merged\n---\n");
        text.Append(CultureInfo.InvariantCulture, $"\n# {ShownBase(manifest)} with {Title(manifest.Adapter)}\n\n");
        text.Append("The base model with the adapter added to its weights (W + scale · B A, computed in float32 and rounded once). ");
        text.Append(remark.Length == 0 ? "\n\n" : remark + "\n\n");
        text.Append("```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n");
        text.Append("model = AutoModelForCausalLM.from_pretrained(\"THIS_DIRECTORY\")\n");
        text.Append("tokenizer = AutoTokenizer.from_pretrained(\"THIS_DIRECTORY\")\n```\n\n## Settings of the adapter\n\n");
        AppendSettings(text, manifest);
        AppendRouter(text, manifest.Adapter);
        AppendData(text, manifest);
        return text.ToString();
    }

    /// <summary>Whether a base's name is one of the Hub: <c>owner/name</c>, and no directory here.</summary>
    public static bool IsHubId(string name) =>
        name is not null && name.Count(c => c == '/') == 1
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '-' or '_' or '.')
        && char.IsAsciiLetterOrDigit(name[0])
        && name[^1] != '/'
        && !Directory.Exists(name);

    private static string Written(BundleManifest manifest, string title, CardFacts facts, bool isPeft, Action<StringBuilder> body)
    {
        var text = new StringBuilder("---\n");
        var id = IsHubId(manifest.Base.Name) ? manifest.Base.Name : null;
        if (id is not null)
            text.Append(CultureInfo.InvariantCulture, $"base_model: {Quoted(id)}\n");
        if (isPeft)
            text.Append("library_name: peft\n");
        AppendLicense(text, facts);
        text.Append("pipeline_tag: text-generation\ntags:\n");
        if (id is not null)
            text.Append(CultureInfo.InvariantCulture, $"- {Quoted("base_model:adapter:" + id)}\n");
        text.Append("- lora\n");
        text.Append(isPeft ? "- transformers\n" : "- mixture-of-experts\n");
        AppendIndex(text, $"{title} for {ShownBase(manifest)}", facts);
        text.Append(CultureInfo.InvariantCulture, $"---\n\n# {title} for {ShownBase(manifest)}\n\n");
        body(text);
        return text.ToString();
    }

    private static void AppendLicense(StringBuilder text, CardFacts facts)
    {
        if (facts.License is { } license)
            text.Append(CultureInfo.InvariantCulture, $"license: {Quoted(license)}\n");
    }

    // The Hub's model-index: what its leaderboards read.
    private static void AppendIndex(StringBuilder text, string name, CardFacts facts)
    {
        if (facts.Metrics.Count == 0)
            return;
        text.Append("metrics:\n");
        foreach (var metric in facts.Metrics.Select(m => m.Metric).Distinct())
            text.Append(CultureInfo.InvariantCulture, $"- {Quoted(metric)}\n");
        text.Append(CultureInfo.InvariantCulture, $"model-index:\n- name: {Quoted(name)}\n  results:\n");
        foreach (var metric in facts.Metrics)
        {
            text.Append("  - task:\n      type: text-generation\n    dataset:\n");
            text.Append(CultureInfo.InvariantCulture, $"      type: {Quoted(metric.Task)}\n      name: {Quoted(metric.Task)}\n");
            text.Append(CultureInfo.InvariantCulture, $"    metrics:\n    - type: {Quoted(metric.Metric)}\n      value: {metric.Value:R}\n");
        }
    }

    private static void AppendLoading(StringBuilder text, BundleManifest manifest, string directory)
    {
        text.Append("## How to load\n\nWith Peft:\n\n```sh\npeft generate --base BASE --adapter ");
        text.Append(CultureInfo.InvariantCulture, $"{directory} --prompt \"...\"\n```\n\nIn Hugging Face PEFT:\n\n");
        AppendPython(text, manifest, "THIS_DIRECTORY");
    }

    private static void AppendPython(StringBuilder text, BundleManifest manifest, string directory)
    {
        var name = IsHubId(manifest.Base.Name) ? manifest.Base.Name : "BASE";
        text.Append("```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n");
        text.Append(CultureInfo.InvariantCulture, $"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(\"{name}\"), \"{directory}\")\n```\n\n");
    }

    private static void AppendSettings(StringBuilder text, BundleManifest manifest)
    {
        text.Append("| setting | value |\n|---|---|\n");
        foreach (var (name, value) in Settings(manifest))
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {Cell(value)} |\n");
    }

    private static void AppendRouter(StringBuilder text, AdapterOptions options)
    {
        if (options.Router is null)
            return;
        text.Append("\n## Router\n\n| setting | value |\n|---|---|\n");
        foreach (var (name, value) in RouterCatalog.ToJson(options.Router))
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {Cell(value?.ToJsonString().Trim('"') ?? "none")} |\n");
    }

    private static void AppendData(StringBuilder text, BundleManifest manifest)
    {
        if (manifest.Data.Count == 0)
            return;
        text.Append("\n## Data\n\n| file | SHA-256 |\n|---|---|\n");
        foreach (var data in manifest.Data)
            text.Append(CultureInfo.InvariantCulture, $"| {Cell(data.Name)} | {Cell(data.Sha256)} |\n");
    }

    private static void AppendMetrics(StringBuilder text, CardFacts facts)
    {
        if (facts.Metrics.Count == 0)
            return;
        text.Append("\n## Metrics\n\n| task | metric | value | rows |\n|---|---|---|---|\n");
        foreach (var metric in facts.Metrics)
            text.Append(CultureInfo.InvariantCulture, $"| {Cell(metric.Task)} | {Cell(metric.Metric)} | {metric.Value:0.####} | {metric.Rows} |\n");
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
        yield return ("seed", manifest.Seed.ToString(CultureInfo.InvariantCulture));
        foreach (var (name, version) in manifest.Versions)
            yield return (name, version);
    }

    private static string Title(AdapterOptions options) =>
        options.Router is null ? "LoRA" : $"Mixture of {options.Experts.Count} LoRA experts ({options.Router.Kind})";

    private static string ShownBase(BundleManifest manifest) =>
        IsHubId(manifest.Base.Name) ? manifest.Base.Name : Path.GetFileName(Path.TrimEndingDirectorySeparator(manifest.Base.Name));

    private static string Cell(string value) => value.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ");

    private static string Quoted(string value) => System.Text.Json.JsonSerializer.Serialize(value);
}
