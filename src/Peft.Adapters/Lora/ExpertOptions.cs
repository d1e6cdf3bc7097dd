using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Lora;

/// <summary>The experts of a mixture (recipe key <c>adapter.experts</c>).</summary>
public sealed record ExpertOptions : IKeyValue<ExpertOptions>
{
    /// <summary>The most experts a mixture may have.</summary>
    public const int Most = 4096;

    /// <summary>The most experts that every token gets.</summary>
    public const int MostShared = 256;

    /// <summary>How many experts every wrapped projection has; the most any has where they differ by layer.</summary>
    public int Count
    {
        get => Layout.Largest;
        init => Layout = new ExpertLayout { Everywhere = value };
    }

    /// <summary>How many experts each layer has: one number, a list, or shape, min and max.</summary>
    /// <value>Default 4 for a mixture, 1 for plain LoRA; each from 1 to 4096. Parameters grow linearly with it.</value>
    [Key(Name = "count")]
    public ExpertLayout Layout { get; init; } = new() { Everywhere = 1 };

    /// <summary>The layers with a router; the others get plain LoRA. Empty: all.</summary>
    /// <value>Default empty. Post-MoE (arXiv:2410.10626) routes in the last two.</value>
    [Key]
    public EquatableList<int> Layers { get; init; } = [];

    /// <summary>Names of the experts, in order, for reports.</summary>
    /// <value>Default expert_0, expert_1, …; distinct, one for each expert.</value>
    [Key]
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Further experts that every token gets with weight 1 beside those that the router chooses.</summary>
    /// <value>Default 0. Source: DeepSeekMoE, arXiv:2401.06066, section 3.2. In layers with a router alone.</value>
    [Key(Min = 0, Max = MostShared, Silent = true)]
    public int Shared { get; init; }

    /// <summary>Whether the experts learn; off leaves only the router to train.</summary>
    /// <value>Default true.</value>
    [Key]
    public bool Train { get; init; } = true;

    /// <summary>The fewest experts of a layer with a router.</summary>
    public int SmallestRouted => Layout.SmallestRouted;

    /// <summary>Experts of a layer; of a projection outside the layers where it is null.</summary>
    public int CountIn(int? layer, int layers) =>
        layer is not { } number ? Count
        : Layers.Count > 0 && !Layers.Contains(number) ? 1
        : Layout.CountIn(number, layers);

    /// <summary>The name of an expert.</summary>
    public string NameOf(int expert) =>
        Names.Count > 0 ? Names[expert] : "expert_" + expert.ToString(CultureInfo.InvariantCulture);

    /// <inheritdoc/>
    public static ExpertOptions Read(OptionReader reader, string key, ExpertOptions fallback)
    {
        var section = reader.Section(key);
        return section.Bind(
            section.Texts("names", []) is { Count: > 0 } names ? fallback with { Count = names.Count } : fallback);
    }

    /// <inheritdoc/>
    public JsonNode? ToJson()
    {
        var json = Keys.ToJson(this);
        foreach (var key in (string[])["layers", "names"])
        {
            if (json[key] is JsonArray { Count: 0 })
                json.Remove(key);
        }

        // Older releases do not know the key, and older bundles lack it.
        if (Shared == 0)
            json.Remove("shared");
        return json;
    }

    /// <summary>Notes what is wrong although every key by itself is right.</summary>
    internal void Check(OptionReader reader, bool isMixture)
    {
        if (Names.Count > 0 && Names.Count != Count)
            reader.Fault(
                "names", Words.Count(Names.Count, "name"), $"one for each of the {Count} experts",
                "or leave names out");
        if (Names.Distinct().Count() != Names.Count)
            reader.Fault("names", string.Join(", ", Names), "distinct names");
        if (!isMixture && Count != 1)
            reader.Fault(
                "count", Count.ToString(CultureInfo.InvariantCulture), "1 for method: lora", "write method: mixture");
    }
}

/// <summary>Numbers of experts that differ from layer to layer; a layer with one expert has plain LoRA and no
/// router.</summary>
/// <remarks>
/// Source of the shapes: MoLA, arXiv:2402.08562, four equal groups of layers (its 2-4-6-8, 8-6-4-2, 8-2-2-8 and 5-5-5-5
/// are min 2, max 8); DynaMoE, arXiv:2603.01697, whose formulas are not published: here linear in u = l / (L − 1),
/// rounded, at least 1.
/// </remarks>
public sealed record ExpertLayout : IKeyValue<ExpertLayout>
{
    private static readonly IReadOnlyDictionary<string, Func<double, double>> Shapes = new Dictionary<string,
    Func<double, double>>
    {
        // Each gives the place between min (0) and max (1) for u from 0 (first layer) to 1 (last).
        ["uniform"] = _ => 1,
        ["inverted-triangle"] = u => Group(u) / 3.0,
        ["triangle"] = u => 1 - Group(u) / 3.0,
        ["hourglass"] = u => Group(u) is 0 or 3 ? 1 : 0,
        ["rectangle"] = _ => 0.5,
        ["ascending"] = u => u,
        ["descending"] = u => 1 - u,
        ["pyramid"] = u => 1 - Math.Abs(2 * u - 1),
        ["wave"] = u => (1 + Math.Sin(2 * Math.PI * u)) / 2,
    };

    /// <summary>Names of the shapes.</summary>
    public static IReadOnlyList<string> ShapeNames { get; } = [.. Shapes.Keys];

    /// <summary>The number of every layer; 0 where layers differ.</summary>
    public int Everywhere { get; init; }

    /// <summary>One number a layer; empty where a shape says it.</summary>
    public EquatableList<int> Counts { get; init; } = [];

    /// <summary>The shape, where neither of these says the numbers.</summary>
    [Key]
    public string Shape { get; init; } = "uniform";

    /// <summary>Fewest experts of the shape.</summary>
    [Key(Min = 1, Max = ExpertOptions.Most)]
    public int Min { get; init; } = 2;

    /// <summary>Most experts of the shape.</summary>
    [Key(Min = 1, Max = ExpertOptions.Most)]
    public int Max { get; init; } = 8;

    /// <summary>Whether a shape says the numbers, and they are alike.</summary>
    public bool IsUniformShape => Everywhere == 0 && Counts.Count == 0 && Shape == "uniform";

    /// <summary>The most experts any layer has.</summary>
    public int Largest => Everywhere > 0 ? Everywhere : Counts.Count > 0 ? Counts.Max() : Max;

    /// <summary>The fewest experts of a layer with a router.</summary>
    public int SmallestRouted =>
        Everywhere > 0 ? Everywhere
        : Counts.Count > 0 ? Counts.Where(count => count > 1).DefaultIfEmpty(1).Min()
        : Math.Max(2, Min);

    /// <summary>Experts of a layer.</summary>
    public int CountIn(int layer, int layers)
    {
        if (Everywhere > 0)
            return Everywhere;
        if (Counts.Count > 0)
            return Counts[layer];
        var u = layers > 1 ? (double)layer / (layers - 1) : 0;
        return Math.Max(1, (int)Math.Round(Min + (Max - Min) * Shapes[Shape](u), MidpointRounding.AwayFromZero));
    }

    /// <inheritdoc/>
    public static ExpertLayout Read(OptionReader reader, string key, ExpertLayout fallback)
    {
        switch (reader.Node(key))
        {
            case ConfigList:
                return new ExpertLayout { Counts = [.. reader.Integers(key, [], 1, ExpertOptions.Most)] };
            case ConfigMap:
                var section = reader.Section(key);
                section.Choice("shape", "uniform", ShapeNames);
                var layout = section.Bind(new ExpertLayout());
                if (layout.Min > layout.Max)
                    section.Fault(
                        "min", layout.Min.ToString(CultureInfo.InvariantCulture), $"up to max = {layout.Max}");
                return ShapeNames.Contains(layout.Shape) ? layout : layout with { Shape = "uniform" };
            default:
                return new ExpertLayout { Everywhere = reader.Integer(key, fallback.Largest, 1, ExpertOptions.Most) };
        }
    }

    /// <inheritdoc/>
    public JsonNode? ToJson() =>
        Everywhere > 0 ? JsonValue.Create(Everywhere)
        : Counts.Count > 0 ? new JsonArray([.. Counts.Select(count => (JsonNode)JsonValue.Create(count))])
        : Keys.ToJson(this);

    // Which quarter of the layers, 0 to 3.
    private static int Group(double u) => Math.Min(3, (int)(u * 4));
}
