using System.Text.Json.Nodes;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.HuggingFace;

namespace Peft.Adapters.Lora;

/// <summary>What is trained and where (recipe section <c>adapter</c>); keys follow Hugging Face PEFT.</summary>
public sealed record AdapterOptions
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
    public string Method { get; init; } = Lora;

    /// <summary>Rank of each expert.</summary>
    /// <value>Default 8; from 1. Parameters and adapter time grow linearly with it.</value>
    public int R { get; init; } = 8;

    /// <summary>Numerator of the scale alpha / r.</summary>
    /// <value>Default 2 r; above 0.</value>
    public double LoraAlpha { get; init; } = 16;

    /// <summary>Share of the adapter's input that is dropped in training.</summary>
    /// <value>Default 0; from 0 to below 1. 0.05 is usual for small data.</value>
    public double LoraDropout { get; init; }

    /// <summary>Whether the scale is alpha / sqrt(r), which keeps large ranks learning.</summary>
    /// <value>Default false.</value>
    public bool UseRslora { get; init; }

    /// <summary>The projections that get an adapter.</summary>
    /// <value>Default all-linear; a list of names or path tails, a regular expression that matches whole paths, or all-linear.</value>
    public ModuleNames TargetModules { get; init; } = ModuleNames.AllLinear;

    /// <summary>Projections that never get one, whatever <see cref="TargetModules"/> says.</summary>
    /// <value>Default none.</value>
    public ModuleNames ExcludeModules { get; init; } = ModuleNames.None;

    /// <summary>Layer numbers to adapt; empty means all. With a list of targets or all-linear only.</summary>
    /// <value>Default empty.</value>
    public IReadOnlyList<int> LayersToTransform { get; init; } = [];

    /// <summary>Names of the layer list in module paths, where the number is not found by itself.</summary>
    /// <value>Default empty: the first number between dots.</value>
    public IReadOnlyList<string> LayersPattern { get; init; } = [];

    /// <summary>Other ranks for some modules: path tail or regular expression to rank; the first that matches counts.</summary>
    /// <value>Default empty.</value>
    public IReadOnlyList<KeyValuePair<string, int>> RankPattern { get; init; } = [];

    /// <summary>Other alphas for some modules; as <see cref="RankPattern"/>.</summary>
    /// <value>Default empty.</value>
    public IReadOnlyList<KeyValuePair<string, double>> AlphaPattern { get; init; } = [];

    /// <summary>How A begins (B always begins at zero).</summary>
    /// <value>Default true: Kaiming uniform with a = sqrt 5; gaussian: normal with deviation 1 / r.</value>
    public string InitLoraWeights { get; init; } = "true";

    /// <summary>The experts of each projection.</summary>
    public ExpertOptions Experts { get; init; } = new();

    /// <summary>How tokens choose experts; null for plain LoRA.</summary>
    public RouterOptions? Router { get; init; }

    /// <summary>Whether one adapter without a router is trained.</summary>
    public bool IsPlainLora => Router is null;

    /// <summary>The factor on the experts' output, for one module's rank and alpha; a router with constant weights sets it.</summary>
    public double ScaleOf(int r, double alpha) => Router?.ScaleOf(r) ?? (UseRslora ? alpha / Math.Sqrt(r) : alpha / r);

    /// <summary>Reads the section; every fault goes to the reader's list, so that all are shown at once.</summary>
    public static AdapterOptions Read(OptionReader reader)
    {
        var method = reader.Choice("method", Lora, [Lora, Mixture]);
        var r = reader.Integer("r", 8, 1, LargestRank);
        var experts = ExpertOptions.Read(reader.Section("experts"), method == Mixture, RoutesRanks(reader) ? 1 : 4);
        var options = new AdapterOptions
        {
            Method = method,
            R = r,
            LoraAlpha = reader.Number("lora_alpha", 2 * r, SmallestAlpha),
            LoraDropout = reader.Number("lora_dropout", 0, 0, 0.999),
            UseRslora = reader.Boolean("use_rslora", false),
            TargetModules = ModuleNames.Read(reader, "target_modules", ModuleNames.AllLinear),
            ExcludeModules = ModuleNames.Read(reader, "exclude_modules", ModuleNames.None),
            LayersToTransform = reader.Integers("layers_to_transform", [], 0),
            LayersPattern = ReadLayersPattern(reader),
            RankPattern = ReadPattern(reader, "rank_pattern", (section, key) => section.Integer(key, r, 1, LargestRank)),
            AlphaPattern = ReadPattern(reader, "alpha_pattern", (section, key) => section.Number(key, 2 * r, SmallestAlpha)),
            InitLoraWeights = reader.Choice("init_lora_weights", "true", ["true", "gaussian"]),
            Experts = experts,
            Router = ReadRouter(reader, method, experts, r),
        };
        options.CheckTogether(reader);
        return options;
    }

    /// <summary>Every setting, under the recipe's keys; <see cref="Read"/> of it gives the same options.</summary>
    public JsonObject ToJson()
    {
        var json = new JsonObject
        {
            ["method"] = Method,
            ["r"] = R,
            ["lora_alpha"] = LoraAlpha,
            ["lora_dropout"] = LoraDropout,
            ["use_rslora"] = UseRslora,
            ["target_modules"] = TargetModules.ToJson() ?? new JsonArray(),
            ["exclude_modules"] = ExcludeModules.ToJson() ?? new JsonArray(),
            ["layers_to_transform"] = new JsonArray([.. LayersToTransform.Select(layer => (JsonNode)JsonValue.Create(layer))]),
            ["layers_pattern"] = new JsonArray([.. LayersPattern.Select(name => (JsonNode)JsonValue.Create(name)!)]),
            ["rank_pattern"] = new JsonObject(RankPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)JsonValue.Create(p.Value)))),
            ["alpha_pattern"] = new JsonObject(AlphaPattern.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)JsonValue.Create(p.Value)))),
            ["init_lora_weights"] = InitLoraWeights == "true" ? JsonValue.Create(true) : JsonValue.Create(InitLoraWeights),
            ["experts"] = Experts.ToJson(),
        };
        if (Router is not null)
            json["router"] = RouterCatalog.ToJson(Router);
        return json;
    }

    private static RouterOptions? ReadRouter(OptionReader reader, string method, ExpertOptions experts, int r)
    {
        if (method == Lora)
        {
            if (reader.Has("router"))
            {
                var kind = reader.Section("router").Text("kind", RouterCatalog.None);
                if (kind != RouterCatalog.None)
                    reader.Fault("router", $"kind: {kind}", "no router for method: lora", "write method: mixture, or leave router out");
            }
            return null;
        }
        return RouterCatalog.Read(reader.Section("router"), new RouterSize(experts.SmallestRouted, r));
    }

    // The router decides what a mixture has by default: several experts, or one adapter whose ranks it routes.
    private static bool RoutesRanks(OptionReader reader) =>
        reader.Node("router") is ConfigMap router && router["kind"] is ConfigScalar { Text: { } kind }
        && RouterCatalog.Names.Contains(kind) && kind != RouterCatalog.None && RouterCatalog.Of(kind).RoutesRanks;

    private static List<KeyValuePair<string, T>> ReadPattern<T>(OptionReader reader, string key, Func<OptionReader, string, T> read)
    {
        var node = reader.Node(key);
        if (node is not ConfigMap { Count: > 0 and <= MostPatterns } map)
        {
            if (node is not null and not ConfigMap { Count: 0 })
                reader.Fault(key, node.Describe(), $"a section of module names, {MostPatterns:N0} at most");
            return [];
        }
        var section = reader.Section(key);
        foreach (var name in map.Keys)
        {
            if (!ModulePattern.IsValid(name))
            {
                section.Fault(
                    name, Quote.Of(name), "the end of a module path, or a regular expression for it",
                    "list the modules by name");
            }
        }
        return [.. map.Keys.Select(name => KeyValuePair.Create(name, read(section, name)))];
    }

    private static IReadOnlyList<string> ReadLayersPattern(OptionReader reader)
    {
        const string Key = "layers_pattern";
        var names = reader.Texts(Key, []);
        foreach (var name in names.Where(name => !ModulePattern.IsValid(name)))
            reader.Fault(Key, Quote.Of(name), "the name of a list of layers, such as layers, or a regular expression for it");
        return names;
    }

    private void CheckTogether(OptionReader reader)
    {
        if (LayersToTransform.Count > 0 && TargetModules is { Pattern: not null, IsAllLinear: false })
            reader.Fault(
                "layers_to_transform",
                string.Join(", ", LayersToTransform),
                "only with target_modules as a list or all-linear",
                "write the layers into the regular expression");
        if (LayersPattern.Count > 0 && LayersToTransform.Count == 0)
            reader.Fault("layers_pattern", string.Join(", ", LayersPattern), "only with layers_to_transform");
        if (!Experts.Train && Router is null)
            reader.Fault("experts.train", "false", "true where there is no router", "nothing would be left to train");
    }
}
