using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Attach;

/// <summary>The experts of a mixture (recipe key <c>adapter.experts</c>).</summary>
public sealed record ExpertOptions
{
    /// <summary>The most experts a mixture may have.</summary>
    public const int Most = 4096;

    /// <summary>How many experts every wrapped projection has.</summary>
    /// <value>Default 4 for a mixture, 1 for plain LoRA; from 1 to 4096. Parameters grow linearly with it.</value>
    public int Count { get; init; } = 1;

    /// <summary>Names of the experts, in order, for reports.</summary>
    /// <value>Default expert_0, expert_1, …; distinct, one for each expert.</value>
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Whether the experts learn; off leaves only the router to train.</summary>
    /// <value>Default true.</value>
    public bool Train { get; init; } = true;

    /// <summary>The name of an expert.</summary>
    public string NameOf(int expert) =>
        Names.Count > 0 ? Names[expert] : "expert_" + expert.ToString(CultureInfo.InvariantCulture);

    /// <summary>Reads the section; faults go to the reader.</summary>
    public static ExpertOptions Read(OptionReader reader, bool isMixture)
    {
        ArgumentNullException.ThrowIfNull(reader);
        var names = reader.Texts("names", []);
        var fallback = names.Count > 0 ? names.Count : isMixture ? 4 : 1;
        var options = new ExpertOptions
        {
            Count = reader.Integer("count", fallback, 1, Most),
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
        var json = new JsonObject { ["count"] = Count };
        if (Names.Count > 0)
            json["names"] = new JsonArray([.. Names.Select(name => (JsonNode)JsonValue.Create(name)!)]);
        json["train"] = Train;
        return json;
    }
}
