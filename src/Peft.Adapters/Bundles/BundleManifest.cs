using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Bundles;

/// <summary>What <c>bundle.json</c> holds. No time stamps: equal training gives equal bytes.</summary>
public sealed record BundleManifest
{
    /// <summary>The format this program writes and the newest it reads.</summary>
    public const int CurrentFormatVersion = 1;

    /// <summary>How the text is written: two spaces, and no escapes that people cannot read.</summary>
    internal static JsonSerializerOptions Indented { get; } = new()
    {
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Format of the bundle.</summary>
    public int FormatVersion { get; init; } = CurrentFormatVersion;

    /// <summary>Method, ranks, targets, experts and every router setting.</summary>
    public required AdapterOptions Adapter { get; init; }

    /// <summary>The base model.</summary>
    public required BaseIdentity Base { get; init; }

    /// <summary>The data files.</summary>
    public IReadOnlyList<DataIdentity> Data { get; init; } = [];

    /// <summary>Seed of the run.</summary>
    public long Seed { get; init; }

    /// <summary>Versions of the programs that made it, by name.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Versions { get; init; } = [];

    /// <summary>Number of trained values.</summary>
    public long TrainableParameters { get; init; }

    /// <summary>How it was merged from other adapters; null where it was trained.</summary>
    public MergeRecord? Merge { get; init; }

    /// <summary>SHA-256 of each file, by name.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> Files { get; init; } = [];

    /// <summary>Reads bundle.json; all faults at once.</summary>
    /// <exception cref="UserException">The file is not a manifest this program reads.</exception>
    public static BundleManifest Read(string path)
    {
        var faults = new Faults();
        var map = ConfigJson.ReadFile(path);
        var version = new OptionReader(map, "", new Faults()).Integer("format_version", 0);
        if (version > CurrentFormatVersion)
            throw new UserException(
                $"{path}: format_version = {version}; this program reads up to {CurrentFormatVersion}; use a newer peft");
        var reader = new OptionReader(map, "", faults);
        var baseModel = reader.Section("base_model");
        var manifest = new BundleManifest
        {
            FormatVersion = reader.Integer("format_version", 0, 1, CurrentFormatVersion),
            Adapter = AdapterOptions.Read(reader.Section("adapter")),
            Base = new BaseIdentity(baseModel.RequiredText("name"), baseModel.RequiredText("fingerprint")),
            Data = [.. reader.Sections("data").Select(d => new DataIdentity(d.RequiredText("name"), d.RequiredText("sha256")))],
            Seed = reader.Long("seed", 0),
            Versions = ReadTexts(reader, "versions"),
            TrainableParameters = reader.Long("trainable_parameters", 0, 0),
            Merge = reader.Has("merge") ? MergeRecord.Read(reader.Section("merge")) : null,
            Files = ReadTexts(reader, "files"),
        };
        if (!reader.Has("format_version"))
            reader.Fault("format_version", "missing", $"1 to {CurrentFormatVersion}");
        reader.Finish();
        faults.ThrowIfAny(path);
        return manifest;
    }

    /// <summary>The file's text, keys in a fixed order.</summary>
    public string ToJson()
    {
        var json = new JsonObject
        {
            ["format_version"] = FormatVersion,
            ["adapter"] = Adapter.ToJson(),
            ["base_model"] = new JsonObject { ["name"] = Base.Name, ["fingerprint"] = Base.Fingerprint },
            ["data"] = new JsonArray([.. Data.Select(d => (JsonNode)new JsonObject { ["name"] = d.Name, ["sha256"] = d.Sha256 })]),
            ["seed"] = Seed,
            ["versions"] = Texts(Versions),
            ["trainable_parameters"] = TrainableParameters,
        };
        if (Merge is not null)
            json["merge"] = Merge.ToJson();
        json["files"] = Texts(Files);
        return json.ToJsonString(Indented) + "\n";
    }

    private static JsonObject Texts(IEnumerable<KeyValuePair<string, string>> pairs) =>
        new(pairs.Select(pair => KeyValuePair.Create(pair.Key, (JsonNode?)JsonValue.Create(pair.Value))));

    private static List<KeyValuePair<string, string>> ReadTexts(OptionReader reader, string key)
    {
        if (reader.Node(key) is not ConfigMap map)
            return [];
        var section = reader.Section(key);
        return [.. map.Keys.Select(name => KeyValuePair.Create(name, section.RequiredText(name)))];
    }
}

/// <summary>The base model an adapter was trained on.</summary>
/// <param name="Name">Hub id or path, as the user gave it.</param>
/// <param name="Fingerprint">SHA-256 over the base's tensors and config essentials (<c>ModelLoader.Fingerprint</c>).</param>
public sealed record BaseIdentity(string Name, string Fingerprint);

/// <summary>A data file that went into the training.</summary>
/// <param name="Name">File name as the recipe gives it.</param>
/// <param name="Sha256">SHA-256 of the file.</param>
public sealed record DataIdentity(string Name, string Sha256);

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
