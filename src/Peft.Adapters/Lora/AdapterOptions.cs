using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Lora;

/// <summary>What is trained and where (recipe section <c>adapter</c>); keys follow Hugging Face PEFT.</summary>
public sealed record AdapterOptions : IKeyValue<AdapterOptions>
{
    /// <summary>Plain LoRA: one adapter a projection, no router.</summary>
    public const string Lora = "lora";

    /// <summary>A mixture of LoRA experts behind a router.</summary>
    public const string Mixture = "mixture";

    private const int LargestRank = 65536;
    private const int MostPatterns = 10_000; // each is compared with every module
    private const double SmallestAlpha = 0.0001;

    /// <summary>What is trained.</summary>
    /// <value>Default lora; lora or mixture. A mixture of one expert without a router is plain LoRA.</value>
    [Key(Choices = [Lora, Mixture])]
    public string Method { get; init; } = Lora;

    /// <summary>Rank of each expert.</summary>
    /// <value>Default 8; from 1. Parameters and adapter time grow linearly with it.</value>
    [Key(Min = 1, Max = LargestRank)]
    public int R { get; init; } = 8;

    /// <summary>Numerator of the scale alpha / r.</summary>
    /// <value>Default 2 r; above 0.</value>
    [Key(Min = SmallestAlpha)]
    public double LoraAlpha { get; init; } = 16;

    /// <summary>Share of the adapter's input that is dropped in training.</summary>
    /// <value>Default 0; from 0 to below 1. 0.05 is usual for small data.</value>
    [Key(Min = 0, Max = 0.999)]
    public double LoraDropout { get; init; }

    /// <summary>Whether the scale is alpha / sqrt(r), which keeps large ranks learning.</summary>
    /// <value>Default false.</value>
    [Key]
    public bool UseRslora { get; init; }

    /// <summary>The projections that get an adapter.</summary>
    /// <value>Default all-linear; a list of names or path tails, a regular expression that matches whole paths, or
    /// all-linear.</value>
    [Key]
    public ModuleNames TargetModules { get; init; } = ModuleNames.AllLinear;

    /// <summary>Projections that never get one, whatever <see cref="TargetModules"/> says.</summary>
    /// <value>Default none.</value>
    [Key]
    public ModuleNames ExcludeModules { get; init; } = ModuleNames.None;

    /// <summary>Layer numbers to adapt; empty means all. With a list of targets or all-linear only.</summary>
    /// <value>Default empty.</value>
    [Key(Min = 0)]
    public IReadOnlyList<int> LayersToTransform { get; init; } = [];

    /// <summary>Names of the layer list in module paths, where the number is not found by itself.</summary>
    /// <value>Default empty: the first number between dots.</value>
    [Key]
    public IReadOnlyList<string> LayersPattern { get; init; } = [];

    /// <summary>Other ranks for some modules: path tail or regular expression to rank; the first that matches
    /// counts.</summary>
    /// <value>Default empty.</value>
    [Key(Min = 1, Max = LargestRank, Silent = true)]
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];

    /// <summary>Other alphas for some modules; as <see cref="RankPattern"/>.</summary>
    /// <value>Default empty.</value>
    [Key(Min = SmallestAlpha, Silent = true)]
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];

    /// <summary>How A and B begin.</summary>
    /// <value>Default true: A Kaiming uniform with a = sqrt 5, B zero; gaussian: A normal with deviation 1 / r; pissa,
    /// pissa_niter_N and olora: parts of the base's weight (<see cref="WeightInitialization"/>), with method: lora;
    /// goat: one for each expert.</value>
    [Key]
    public string InitLoraWeights { get; init; } = "true";

    /// <summary>Settings of goat.</summary>
    [Key(Silent = true, When = "init_lora_weights=goat")]
    public GoatOptions Goat { get; init; } = new();

    /// <summary>Whether each output of a projection has a trained magnitude, the low-rank update its direction
    /// (DoRA).</summary>
    /// <value>Default false. With method: lora.</value>
    [Key(Silent = true)]
    public bool UseDora { get; init; }

    /// <summary>Modules of the base that are trained whole and saved with the adapter, such as lm_head or
    /// embed_tokens.</summary>
    /// <value>Default none; names or path tails. With method: lora.</value>
    [Key(Silent = true)]
    public IReadOnlyList<string> ModulesToSave { get; init; } = [];

    /// <summary>Tokens whose rows of the embedding table are trained, and of the head where it is that table.</summary>
    /// <value>Default none; ids. With method: lora.</value>
    [Key(Min = 0, Silent = true)]
    public IReadOnlyList<int> TrainableTokenIndices { get; init; } = [];

    /// <summary>The experts of each projection.</summary>
    [Key]
    public ExpertOptions Experts { get; init; } = new();

    /// <summary>How tokens choose experts; null for plain LoRA.</summary>
    public RouterOptions? Router { get; init; }

    /// <summary>Whether one adapter without a router is trained.</summary>
    public bool IsPlainLora => Router is null;

    /// <summary>Whether it computes another function of A and B than <c>W + scale · B A</c>, so that A and B alone do
    /// not say what it does.</summary>
    public bool IsVariant => UseDora || ChangesBase;

    private bool ChangesBase => WeightInitialization.ChangesBase(InitLoraWeights);

    /// <summary>Whether the experts begin as parts of the base's weight.</summary>
    public bool IsGoat => InitLoraWeights == WeightInitialization.Goat;

    /// <summary>The factor on the experts' output, for one module's rank, alpha and inputs; a router with constant
    /// weights sets it, and the theory of goat.</summary>
    public double ScaleOf(int r, double alpha, long inputs) => Router?.ScaleOf(r)
        ?? (IsGoat && Goat.SetsScale ? Goat.ScaleOf(r, inputs) : UseRslora ? alpha / Math.Sqrt(r) : alpha / r);

    /// <summary>Reads the section; every fault goes to the reader's list, so that all are shown at once.</summary>
    public static AdapterOptions Read(OptionReader reader)
    {
        // A run continues under the resolved recipe that it began with, the order of its keys included.
        foreach (var key in (string[])["method", "r", "experts", "router"])
            reader.Has(key);
        // The defaults of some keys depend on others.
        var stated = reader.Bind(new AdapterOptions());
        var options = reader.Bind(new AdapterOptions
        {
            LoraAlpha = 2 * stated.R,
            Experts = new ExpertOptions { Count = stated.Method == Lora || HasOneAdapter(reader) ? 1 : 4 },
        });
        options.Experts.Check(reader.Section("experts"), options.Method == Mixture);
        options = options with { Router = ReadRouter(reader, options) };
        options.CheckTogether(reader);
        return options;
    }

    /// <summary>Keys of this section that do nothing as things are.</summary>
    public IEnumerable<IneffectiveKey> Ineffective()
    {
        if (Router is null)
            return [];
        var kind = $"router.kind: {Router.Kind}";
        var setsScale = Router.ScaleOf(R) is not null;
        var theory = IsGoat && Goat.SetsScale;
        const string OfGoat = "goat.scaling: theory, which sets the scale";
        var patterns = AlphaPattern.Count > 0;
        return
        [
            .. IneffectiveKey.If(setsScale, "lora_alpha", LoraAlpha, 2 * R, $"{kind}, which sets the scale"),
            .. IneffectiveKey.If(setsScale, "alpha_pattern", patterns, false, $"{kind}, which sets the scale"),
            .. IneffectiveKey.If(setsScale, "use_rslora", UseRslora, false, $"{kind}, which sets the scale"),
            .. IneffectiveKey.If(theory, "lora_alpha", LoraAlpha, 2 * R, OfGoat),
            .. IneffectiveKey.If(theory, "alpha_pattern", patterns, false, OfGoat),
            .. IneffectiveKey.If(theory, "use_rslora", UseRslora, false, OfGoat),
            .. IneffectiveKey.If(
                !Router.TrainsDown, "init_lora_weights", InitLoraWeights, "true", $"{kind}, which sets A"),
            .. IneffectiveKey.If(
                Experts.Layout.IsUniformShape, "experts.count.min", Experts.Layout.Min, new ExpertLayout().Min,
                "shape: uniform, which is max everywhere"),
            .. IneffectiveKey.If(
                !Experts.Train, "router.preservation", Router.PreservationCoefficient, 0, "experts.train: false"),
            .. Router.Ineffective().Concat((Router as ExpertRouterOptions)?.IneffectiveBalance(Experts.Count) ?? [])
                .Select(key => new IneffectiveKey($"router.{key.Key}", $"router.{key.Beside}")),
        ];
    }

    /// <summary>Settings that say what an adapter's tensors mean, where another one's differ.</summary>
    public IEnumerable<SettingDifference> DifferencesOf(AdapterOptions other)
    {
        HashSet<string> keys =
        [
            "r", "rank_pattern", "lora_alpha", "alpha_pattern", "use_rslora", "use_dora", "modules_to_save",
            "trainable_token_indices", "experts.count", "experts.layers", "experts.shared", "router.kind",
            .. ChangesBase || other.ChangesBase ? new[] { "init_lora_weights", "goat" } : [],
        ];
        // Some routers set the scale, by settings of theirs.
        var scales = Router?.ScaleOf(R) != other.Router?.ScaleOf(other.R);
        return AllDifferences(other).Where(
            difference => keys.Contains(difference.Key) || keys.Contains(difference.Key.Split('.')[0])
                || (scales && difference.Key.StartsWith("router.", StringComparison.Ordinal)));
    }

    /// <summary>Settings of the router where another adapter's, behind a router of this kind, differ.</summary>
    public IEnumerable<SettingDifference> RouterDifferencesOf(AdapterOptions other) =>
        Router?.Kind != other.Router?.Kind ? []
        : AllDifferences(other).Where(difference => difference.Key.StartsWith("router.", StringComparison.Ordinal));

    private IEnumerable<SettingDifference> AllDifferences(AdapterOptions other)
    {
        const string None = "none";
        var own = Flat(ToJson(), "").ToDictionary(StringComparer.Ordinal);
        var others = Flat(other.ToJson(), "").ToDictionary(StringComparer.Ordinal);
        return own.Keys.Union(others.Keys)
            .Select(key => new SettingDifference(
                key, others.GetValueOrDefault(key, None), own.GetValueOrDefault(key, None)))
            .Where(difference => difference.Found != difference.Wanted);

        static IEnumerable<KeyValuePair<string, string>> Flat(JsonObject section, string place) =>
            section.SelectMany(pair => pair.Value is JsonObject inner
                ? Flat(inner, $"{place}{pair.Key}.")
                : [KeyValuePair.Create(place + pair.Key, pair.Value?.ToJsonString().Trim('"') ?? None)]);
    }

    /// <summary>The section under a key.</summary>
    public static AdapterOptions Read(OptionReader reader, string key, AdapterOptions fallback) =>
        Read(reader.Section(key));

    /// <summary>Every setting, under the recipe's keys; <see cref="Read(OptionReader)"/> of it gives the same
    /// options.</summary>
    public JsonObject ToJson()
    {
        var json = Keys.ToJson(this);
        if (InitLoraWeights == "true")
            json["init_lora_weights"] = true;
        // Older releases know none of these keys, and older bundles lack them.
        if (ModulesToSave.Count == 0)
            json.Remove("modules_to_save");
        if (TrainableTokenIndices.Count == 0)
            json.Remove("trainable_token_indices");
        if (!UseDora)
            json.Remove("use_dora");
        if (Router is not null)
            json["router"] = RouterCatalog.ToJson(Router);
        return json;
    }

    JsonNode? IKeyValue<AdapterOptions>.ToJson() => ToJson();

    private static RouterOptions? ReadRouter(OptionReader reader, AdapterOptions options)
    {
        if (options.Method == Mixture)
            return RouterCatalog.Read(
                reader.Section("router"), new RouterSize(options.Experts.SmallestRouted, options.R)
                {
                    Most = options.Experts.Count,
                });
        if (reader.Has("router")
            && reader.Section("router").Text("kind", RouterCatalog.None) is var kind and not RouterCatalog.None)
            reader.Fault(
                "router", $"kind: {kind}", "no router with method: lora", "write method: mixture, or leave router out");
        return null;
    }

    // The router decides what a mixture has by default: several experts, or one adapter of which it chooses parts.
    private static bool HasOneAdapter(OptionReader reader) =>
        reader.Node("router") is ConfigMap router && router["kind"] is ConfigScalar { Text: { } kind }
        && kind != RouterCatalog.None && RouterCatalog.Names.Contains(kind) && RouterCatalog.Of(kind).HasOneAdapter;

    private void CheckTogether(OptionReader reader)
    {
        CheckPattern(reader, "rank_pattern", RankPattern.Select(pair => pair.Key));
        CheckPattern(reader, "alpha_pattern", AlphaPattern.Select(pair => pair.Key));
        foreach (var name in LayersPattern.Where(name => !ModulePattern.IsValid(name)))
        {
            reader.Fault(
                "layers_pattern", Quote.Of(
                    name), "the name of a list of layers, such as layers, or a regular expression for it");
        }

        if (LayersToTransform.Count > 0 && TargetModules is { Pattern: not null, IsAllLinear: false })
            reader.Fault(
                "layers_to_transform",
                string.Join(", ", LayersToTransform),
                "target_modules as a list or all-linear",
                "write the layers into the regular expression");
        if (LayersPattern.Count > 0 && LayersToTransform.Count == 0)
            reader.Fault("layers_pattern", string.Join(", ", LayersPattern), "layers_to_transform beside it");
        if (Experts.Shared > 0
            && Router is null or { HasOneAdapter: true } or { WholeFeedForward: true } or { Sharing.HasCores: true })
            reader.Section("experts").Fault(
                "shared", Experts.Shared.ToString(CultureInfo.InvariantCulture),
                Router is null ? "0 where there is no router" : $"0 with router.kind: {Router.Kind}",
                Router switch
                {
                    null => "shared experts stand beside routed ones: write method: mixture",
                    { RoutesRanks: true } => "it chooses ranks of one adapter, beside which no other expert stands",
                    { Slices: not null } => "it chooses slices of the base, beside which no other expert stands",
                    { Sharing.HasCores: true } =>
                        "its experts have one A and one B together, beside which no other expert stands",
                    _ => "a whole feed-forward of weight 1 beside the others would double what the base computes",
                });
        CheckVariant(reader);
        if (!Experts.Train && Router is null)
            reader.Fault(
                "experts.train", "false", "true where there is no router", "otherwise there is nothing to train");
    }

    private void CheckVariant(OptionReader reader)
    {
        string[] known =
            ["true", "gaussian", WeightInitialization.Pissa, WeightInitialization.Olora, WeightInitialization.Goat];
        if (!known.Contains(InitLoraWeights) && !ChangesBase)
            reader.Fault(
                "init_lora_weights", Quote.Of(InitLoraWeights),
                "true, gaussian, pissa, pissa_niter_N (N from 1 to 100), olora or goat",
                NearestName.Question(InitLoraWeights, known));
        if (IsGoat)
            CheckGoat(reader);
        else if (ChangesBase && Router is not null)
            reader.Fault(
                "init_lora_weights", $"{InitLoraWeights} with router.kind: {Router.Kind}", "method: lora beside it",
                "all experts would begin alike; goat gives each its own part of the weight");
        if (UseDora && Router is not null)
            reader.Fault(
                "use_dora", $"true with router.kind: {Router.Kind}", "method: lora beside it",
                "one magnitude cannot follow several experts");
        if (UseDora && ChangesBase)
            reader.Fault(
                "use_dora", $"true with init_lora_weights: {InitLoraWeights}", "one of the two",
                "what is left of the base has other magnitudes");
    }

    private void CheckGoat(OptionReader reader)
    {
        const string Key = "init_lora_weights";
        if (Router is null)
            reader.Fault(
                Key, "goat with method: lora", "method: mixture beside it", "pissa is the like for one adapter");
        else if (Router is not ExpertRouterOptions or IMergedRouterOptions || Router.Sharing != ExpertSharing.None
            || Router.ScaleOf(R) is not null)
            reader.Fault(
                Key, $"goat with router.kind: {Router.Kind}",
                "a router whose experts have an A and a B of their own and the adapter's scale, such as top-k");
        else if (Router.WholeFeedForward)
            reader.Fault(
                Key, $"goat with router.kind: {Router.Kind}", "a router within each projection, such as top-k",
                "an expert that is a whole feed-forward would lack what the others were given");
        if (Experts.Shared > 0)
            reader.Fault(
                Key, $"goat with experts.shared: {Experts.Shared}", "experts.shared: 0 beside it",
                "each expert gets a part of the weight, and a shared one has none");
    }

    private static void CheckPattern(OptionReader reader, string key, IEnumerable<string> names)
    {
        var all = names.ToList();
        if (all.Count > MostPatterns)
            reader.Fault(key, $"{all.Count:N0} entries", $"at most {MostPatterns:N0}");
        foreach (var name in all.Take(MostPatterns))
        {
            if (!ModulePattern.IsValid(name))
            {
                reader.Section(key).Fault(
                    name, Quote.Of(
                        name), "the end of a module path, or a regular expression for it", "list the modules by name");
            }
        }
    }
}

/// <summary>A setting of which two adapters have different values.</summary>
/// <param name="Key">Its key in the section, with dots.</param>
/// <param name="Found">The other one's value.</param>
/// <param name="Wanted">This one's.</param>
public sealed record SettingDifference(string Key, string Found, string Wanted);
