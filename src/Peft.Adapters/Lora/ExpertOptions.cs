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
        ArgumentNullException.ThrowIfNull(reader);
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
