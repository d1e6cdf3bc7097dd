using System.Text.Json.Nodes;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Bundles;

/// <summary>An adapter that went into a merge.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="Sha256">Hash of its tensors' file.</param>
/// <param name="Weight">Its weight.</param>
public sealed record MergedAdapter(string Name, string Sha256, double Weight);

/// <summary>How a bundle was merged (section <c>merge</c> of bundle.json).</summary>
/// <param name="Method">The method's name.</param>
/// <param name="Adapters">What went in, in order.</param>
/// <param name="Settings">The method's settings, as text.</param>
public sealed record MergeRecord(
    string Method, IReadOnlyList<MergedAdapter> Adapters, IReadOnlyList<KeyValuePair<string, string>> Settings)
{
    /// <summary>Reads the section; faults go to the reader.</summary>
    public static MergeRecord Read(OptionReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        var settings = reader.Section("settings");
        return new MergeRecord(
            reader.RequiredText("method"),
            [.. reader.Sections("adapters").Select(adapter => new MergedAdapter(
                adapter.RequiredText("name"), adapter.RequiredText("sha256"), adapter.Number("weight", 1)))],
            reader.Node("settings") is ConfigMap map
                ? [.. map.Keys.Select(key => KeyValuePair.Create(key, settings.RequiredText(key)))]
                : []);
    }

    /// <summary>The section as JSON.</summary>
    public JsonObject ToJson() => new()
    {
        ["method"] = Method,
        ["settings"] = new JsonObject(Settings.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)JsonValue.Create(pair.Value)))),
        ["adapters"] = new JsonArray([.. Adapters.Select(adapter => (JsonNode)new JsonObject
        {
            ["name"] = adapter.Name, ["sha256"] = adapter.Sha256, ["weight"] = adapter.Weight,
        })]),
    };
}
