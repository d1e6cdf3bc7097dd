using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Lora;

/// <summary>The experts of a mixture (recipe key <c>adapter.experts</c>).</summary>
public sealed record ExpertOptions
{
    /// <summary>The most experts a mixture may have.</summary>
    public const int Most = 4096;

    /// <summary>How many experts every wrapped projection has; the most any has where <see cref="Layout"/> differs by layer.</summary>
    /// <value>Default 4 for a mixture, 1 for plain LoRA; from 1 to 4096. Parameters grow linearly with it.</value>
    public int Count { get; init; } = 1;

    /// <summary>Numbers that differ by layer (recipe key <c>count</c> as a list or as shape, min and max); null: all layers alike.</summary>
    public ExpertLayout? Layout { get; init; }

    /// <summary>The layers with a router; the others get plain LoRA. Empty: all.</summary>
    /// <value>Default empty. Post-MoE (arXiv:2410.10626) routes in the last two.</value>
    public EquatableList<int> Layers { get; init; } = [];

    /// <summary>Names of the experts, in order, for reports.</summary>
    /// <value>Default expert_0, expert_1, …; distinct, one for each expert.</value>
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Whether the experts learn; off leaves only the router to train.</summary>
    /// <value>Default true.</value>
    public bool Train { get; init; } = true;

    /// <summary>The fewest experts of a layer with a router.</summary>
    public int SmallestRouted => Layout?.SmallestRouted ?? Count;

    /// <summary>Experts of a layer; of a projection outside the layers where it is null.</summary>
    public int CountIn(int? layer, int layers) =>
        layer is not { } number ? Count
        : Layers.Count > 0 && !Layers.Contains(number) ? 1
        : Layout?.CountIn(number, layers) ?? Count;

    /// <summary>The name of an expert.</summary>
    public string NameOf(int expert) =>
        Names.Count > 0 ? Names[expert] : "expert_" + expert.ToString(CultureInfo.InvariantCulture);

    /// <summary>Reads the section; faults go to the reader.</summary>
    /// <param name="reader">The section.</param>
    /// <param name="isMixture">Whether the method is a mixture.</param>
    /// <param name="fewest">The default number of experts of a mixture.</param>
    public static ExpertOptions Read(OptionReader reader, bool isMixture, int fewest = 4)
    {
        var names = reader.Texts("names", []);
        var fallback = names.Count > 0 ? names.Count : isMixture ? fewest : 1;
        var layout = ExpertLayout.Read(reader);
        var options = new ExpertOptions
        {
            Count = layout?.Largest ?? reader.Integer("count", fallback, 1, Most),
            Layout = layout,
            Layers = [.. reader.Integers("layers", [])],
            Names = names,
            Train = reader.Boolean("train", true),
        };
        if (names.Count > 0 && names.Count != options.Count)
            reader.Fault("names", $"{names.Count} names", $"one for each of the {options.Count} experts", "or leave names out");
        if (names.Distinct().Count() != names.Count)
            reader.Fault("names", string.Join(", ", names), "distinct names");
        if (!isMixture && options.Count != 1)
            reader.Fault("count", options.Count.ToString(CultureInfo.InvariantCulture), "1 for method: lora", "write method: mixture");
        return options;
    }

    /// <summary>The section as JSON.</summary>
    public JsonObject ToJson()
    {
        var json = new JsonObject { ["count"] = Layout is null ? JsonValue.Create(Count) : Layout.ToJson() };
        if (Layers.Count > 0)
            json["layers"] = new JsonArray([.. Layers.Select(layer => (JsonNode)JsonValue.Create(layer))]);
        if (Names.Count > 0)
            json["names"] = new JsonArray([.. Names.Select(name => (JsonNode)JsonValue.Create(name)!)]);
        json["train"] = Train;
        return json;
    }
}

/// <summary>Numbers of experts that differ from layer to layer; a layer with one expert has plain LoRA and no router.</summary>
/// <remarks>
/// Source of the shapes: MoLA, arXiv:2402.08562, four equal groups of layers (its 2-4-6-8, 8-6-4-2, 8-2-2-8 and 5-5-5-5 are min 2,
/// max 8); DynaMoE, arXiv:2603.01697, whose formulas are not published: here linear in u = l / (L − 1), rounded, at least 1.
/// </remarks>
public sealed record ExpertLayout
{
    private static readonly IReadOnlyDictionary<string, Func<double, double>> Shapes = new Dictionary<string, Func<double, double>>
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

    /// <summary>One number a layer; empty where a shape says it.</summary>
    public EquatableList<int> Counts { get; init; } = [];

    /// <summary>The shape, where <see cref="Counts"/> is empty.</summary>
    public string Shape { get; init; } = "uniform";

    /// <summary>Fewest experts of the shape.</summary>
    public int Min { get; init; } = 2;

    /// <summary>Most experts of the shape.</summary>
    public int Max { get; init; } = 8;

    /// <summary>The most experts any layer has.</summary>
    public int Largest => Counts.Count > 0 ? Counts.Max() : Max;

    /// <summary>The fewest experts of a layer with a router.</summary>
    public int SmallestRouted => Counts.Count > 0 ? Counts.Where(count => count > 1).DefaultIfEmpty(1).Min() : Math.Max(2, Min);

    /// <summary>Experts of a layer.</summary>
    public int CountIn(int layer, int layers)
    {
        if (Counts.Count > 0)
            return Counts[layer];
        var u = layers > 1 ? (double)layer / (layers - 1) : 0;
        return Math.Max(1, (int)Math.Round(Min + (Max - Min) * Shapes[Shape](u), MidpointRounding.AwayFromZero));
    }

    /// <summary>Reads <c>experts.count</c> where it is a list or a map; null for a number. Faults go to the reader.</summary>
    public static ExpertLayout? Read(OptionReader reader)
    {
        switch (reader.Node("count"))
        {
            case ConfigList:
                return new ExpertLayout { Counts = [.. reader.Integers("count", [], 1, ExpertOptions.Most)] };
            case ConfigMap:
                var section = reader.Section("count");
                var layout = new ExpertLayout
                {
                    Shape = section.Choice("shape", "uniform", ShapeNames),
                    Min = section.Integer("min", 2, 1, ExpertOptions.Most),
                    Max = section.Integer("max", 8, 1, ExpertOptions.Most),
                };
                if (layout.Min > layout.Max)
                    section.Fault("min", layout.Min.ToString(CultureInfo.InvariantCulture), $"up to max = {layout.Max}");
                return layout;
            default:
                return null;
        }
    }

    /// <summary>The value of <c>experts.count</c> as JSON.</summary>
    public JsonNode ToJson() => Counts.Count > 0
        ? new JsonArray([.. Counts.Select(count => (JsonNode)JsonValue.Create(count))])
        : new JsonObject { ["shape"] = Shape, ["min"] = Min, ["max"] = Max };

    // Which quarter of the layers, 0 to 3.
    private static int Group(double u) => Math.Min(3, (int)(u * 4));
}
