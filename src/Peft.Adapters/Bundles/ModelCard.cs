using System.Globalization;
using System.Text;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Formats.Templates;

namespace Peft.Adapters.Bundles;

/// <summary>The README.md of a directory, with the front matter that the Hugging Face Hub reads.</summary>
/// <remarks>Equal contents give equal text. A base that is a path of somebody's machine is shown by its last part
/// alone.</remarks>
public static class ModelCard
{
    private static readonly Lazy<ParsedTemplate> Template = new(() =>
    {
        using var stream = typeof(ModelCard).Assembly.GetManifestResourceStream("ModelCard.md")!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return ParsedTemplate.Parse(reader.ReadToEnd(), "ModelCard.md");
    });

    /// <summary>The card of a bundle.</summary>
    public static string Of(BundleManifest manifest) => Rendered("bundle", manifest, CardFacts.None);

    /// <summary>The card of an exported directory: a plain LoRA, or a mixture's experts with their routers.</summary>
    public static string OfExport(BundleManifest manifest, CardFacts facts) => Rendered("export", manifest, facts);

    /// <summary>The card of one part of an exported mixture.</summary>
    public static string OfPart(BundleManifest manifest, MixturePart part, CardFacts facts)
    {
        var title = part.Expert is { } expert
            ? $"Expert {expert} ({manifest.Adapter.Experts.NameOf(expert)})"
            : part.SharedExpert is { } shared ? $"Shared expert {shared}" : "The part that is not routed";
        return Rendered(
            "part", manifest, facts with { Metrics = [] }, title,
            part.IsUnrouted ? "no expert" : "this expert with weight 1");
    }

    /// <summary>The card of a full checkpoint with the adapter added to its weights.</summary>
    /// <param name="manifest">The adapter.</param>
    /// <param name="facts">Licence of the base.</param>
    /// <param name="remark">What was approximated; empty where nothing was.</param>
    public static string OfMerged(BundleManifest manifest, CardFacts facts, string remark) =>
        Rendered("merged", manifest, facts, remark: remark);

    /// <summary>Whether a base's name is one of the Hub: <c>owner/name</c>, and no directory here.</summary>
    public static bool IsHubId(string name) =>
        name is not null && name.Count(c => c == '/') == 1
        && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '/' or '-' or '_' or '.')
        && char.IsAsciiLetterOrDigit(name[0])
        && name[^1] != '/'
        && !Directory.Exists(name);

    private static string Rendered(
        string kind, BundleManifest manifest, CardFacts facts, string? title = null, string part = "",
        string remark = "")
    {
        var options = manifest.Adapter;
        var engine = new TemplateEngine(new TemplateOptions
        {
            Functions = new Dictionary<string, Delegate> { ["cell"] = Cell, ["quoted"] = Quoted },
        });
        return engine.Render(Template.Value, TemplateValues.OfPairs(new Dictionary<string, object?>
        {
            ["kind"] = kind, ["part"] = part, ["remark"] = remark,
            ["title"] = title ?? Title(options), ["base"] = ShownBase(manifest), ["hub"] = IsHubId(manifest.Base.Name)
                ? manifest.Base.Name
                : "",
            ["license"] = facts.License ?? "",
            ["is_plain"] = options.IsPlainLora, ["is_peft"] = kind == "part" || kind != "merged" && options.IsPlainLora,
            ["is_merge"] = manifest.Merge is not null,
            ["experts"] = options.Experts.Count, ["router_kind"] = options.Router?.Kind ?? "",
            ["settings"] = Rows(Settings(manifest)),
            ["router"] = Rows(options.Router is null ? []
                : RouterCatalog.ToJson(options.Router)
                    .Select(setting => (setting.Key, setting.Value?.ToJsonString().Trim('"') ?? "none"))),
            ["data"] = Rows(manifest.Data.Select(data => (data.Name, data.Sha256))),
            ["metric_names"] = facts.Metrics.Select(metric => metric.Metric).Distinct().ToList(),
            ["metrics"] = facts.Metrics.Select(metric => new Dictionary<string, object?>
            {
                ["task"] = metric.Task, ["metric"] = metric.Metric, ["rows"] = metric.Rows,
                ["value"] = metric.Value.ToString("R", CultureInfo.InvariantCulture),
                ["value_text"] = metric.Value.ToString("0.####", CultureInfo.InvariantCulture),
            }).ToList(),
        }));
    }

    private static List<Dictionary<string, object?>> Rows(IEnumerable<(string Name, string Value)> rows) =>
        [.. rows.Select(row => new Dictionary<string, object?> { ["name"] = row.Name, ["value"] = row.Value })];

    private static IEnumerable<(string Name, string Value)> Settings(BundleManifest manifest)
    {
        var options = manifest.Adapter;
        yield return (
            "base model", ShownBase(manifest) + (IsHubId(manifest.Base.Name) ? "" : " (a local directory)"));
        yield return ("base fingerprint", manifest.Base.Fingerprint);
        yield return ("rank", options.R.ToString(CultureInfo.InvariantCulture));
        yield return (
            "alpha", options.LoraAlpha.ToString(CultureInfo.InvariantCulture) + (options.UseRslora ? " (rsLoRA)" : ""));
        yield return ("targets", options.TargetModules.ToString());
        if (options.Router is not null)
        {
            yield return (
                "experts",
                string.Join(", ", Enumerable.Range(0, options.Experts.Count).Select(options.Experts.NameOf))
                + (options.Experts.Shared > 0 ? $", and {options.Experts.Shared} shared" : ""));
            yield return ("router", options.Router.Kind);
        }
        yield return (
            "trainable parameters", manifest.TrainableParameters.ToString("N0", CultureInfo.InvariantCulture));
        if (manifest.Merge is { } merge)
        {
            yield return (
                "merged by",
                string.Join(", ", merge.Settings.Select(pair => $"{pair.Key} {pair.Value}").Prepend(merge.Method)));
            yield return ("merged from", string.Join(", ", merge.Adapters.Select(adapter => adapter.Name)));
        }
        yield return ("seed", manifest.Seed.ToString(CultureInfo.InvariantCulture));
        foreach (var (name, version) in manifest.Versions)
            yield return (name, version);
    }

    private static string Title(AdapterOptions options) =>
        options.Router is null ? "LoRA" : $"Mixture of {options.Experts.Count} LoRA experts ({options.Router.Kind})";

    private static string ShownBase(BundleManifest manifest) =>
        IsHubId(manifest.Base.Name)
            ? manifest.Base.Name
            : Path.GetFileName(Path.TrimEndingDirectorySeparator(manifest.Base.Name));

    private static string Cell(string value) =>
        value.Replace("|", "\\|", StringComparison.Ordinal).ReplaceLineEndings(" ");

    private static string Quoted(string value) => System.Text.Json.JsonSerializer.Serialize(value);
}

/// <summary>One number of an evaluation, as a model card tells it.</summary>
/// <param name="Task">The task.</param>
/// <param name="Metric">The metric's name.</param>
/// <param name="Value">The value.</param>
/// <param name="Rows">Rows it was measured on.</param>
public sealed record CardMetric(string Task, string Metric, double Value, int Rows);

/// <summary>What a model card tells beside the settings.</summary>
public sealed record CardFacts
{
    /// <summary>Nothing more.</summary>
    public static CardFacts None { get; } = new();

    /// <summary>Evaluation numbers.</summary>
    public IReadOnlyList<CardMetric> Metrics { get; init; } = [];

    /// <summary>The licence in the Hub's spelling; null where it is not known.</summary>
    public string? License { get; init; }
}
