using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Lora;

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
        ArgumentNullException.ThrowIfNull(reader);
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
