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
    [Key(Required = true, Min = 1, Max = CurrentFormatVersion)]
    public int FormatVersion { get; init; } = CurrentFormatVersion;

    /// <summary>Method, ranks, targets, experts and every router setting.</summary>
    [Key]
    public required AdapterOptions Adapter { get; init; }

    /// <summary>The base model.</summary>
    [Key(Name = "base_model")]
    public required BaseIdentity Base { get; init; }

    /// <summary>The data files.</summary>
    [Key]
    public IReadOnlyList<DataIdentity> Data { get; init; } = [];

    /// <summary>Names of the tasks in the order of their ids, where the router goes by task; else empty.</summary>
    [Key(Silent = true)]
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>Seed of the run.</summary>
    [Key]
    public long Seed { get; init; }

    /// <summary>Versions of the programs that made it, by name.</summary>
    [Key(Silent = true)]
    public IReadOnlyList<KeyValuePair<string, string>> Versions { get; init; } = [];

    /// <summary>Number of trainable parameters.</summary>
    [Key(Min = 0)]
    public long TrainableParameters { get; init; }

    /// <summary>Matrices that a projection has of another one, by name (<c>PATH.lora_A</c>), and the path of the
    /// other.</summary>
    [Key(Silent = true)]
    public IReadOnlyList<KeyValuePair<string, string>> SharedFactors { get; init; } = [];

    /// <summary>How it was merged from other adapters; null where it was trained.</summary>
    [Key(Silent = true)]
    public MergeRecord? Merge { get; init; }

    /// <summary>SHA-256 of each file, by name.</summary>
    [Key(Silent = true)]
    public IReadOnlyList<KeyValuePair<string, string>> Files { get; init; } = [];

    /// <summary>Reads bundle.json; all faults at once.</summary>
    /// <exception cref="UserException">The file is not a manifest this program reads.</exception>
    public static BundleManifest Read(string path)
    {
        var faults = new Faults();
        var map = ConfigJson.ReadFile(path);
        var version = new OptionReader(map, "", new Faults()).Integer("format_version", 0);
        if (version > CurrentFormatVersion)
            throw UserException.At(
                path, $"format_version {version}", $"at most {CurrentFormatVersion}",
                "use a newer version of this program");
        var reader = new OptionReader(map, "", faults);
        var manifest = reader.Bind(new BundleManifest { Adapter = new AdapterOptions(), Base = new BaseIdentity() });
        reader.Finish();
        faults.ThrowIfAny(path);
        return manifest;
    }

    /// <summary>The file's text, keys in a fixed order.</summary>
    public string ToJson()
    {
        var json = Keys.ToJson(this);
        if (Merge is null)
            json.Remove("merge");
        if (Tasks.Count == 0)
            json.Remove("tasks");
        if (SharedFactors.Count == 0)
            json.Remove("shared_factors");
        return json.ToJsonString(Indented) + "\n";
    }
}

/// <summary>The base model an adapter was trained on.</summary>
/// <param name="Name">Hub id or path, as the user gave it.</param>
/// <param name="Fingerprint">SHA-256 over the base's tensors and config essentials
/// (<c>ModelLoader.Fingerprint</c>).</param>
public sealed record BaseIdentity(
    [property: Key(Required = true)] string Name, [property: Key(Required = true)] string Fingerprint)
{
    /// <summary>A base that is still to be read.</summary>
    public BaseIdentity()
        : this("", "")
    {
    }
}

/// <summary>A data file that went into the training.</summary>
/// <param name="Name">File name as the recipe gives it.</param>
/// <param name="Sha256">SHA-256 of the file.</param>
public sealed record DataIdentity(
    [property: Key(Required = true)] string Name, [property: Key(Required = true)] string Sha256)
{
    /// <summary>A file that is still to be read.</summary>
    public DataIdentity()
        : this("", "")
    {
    }
}

/// <summary>An adapter that went into a merge.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="Sha256">Hash of its tensors' file.</param>
/// <param name="Weight">Its weight.</param>
public sealed record MergedAdapter(
    [property: Key(Required = true)] string Name, [property: Key(Required = true)] string Sha256, [
        property: Key] double Weight)
{
    /// <summary>An adapter that is still to be read.</summary>
    public MergedAdapter()
        : this("", "", 1)
    {
    }
}

/// <summary>How a bundle was merged (section <c>merge</c> of bundle.json).</summary>
public sealed record MergeRecord
{
    /// <summary>The method's name.</summary>
    [Key(Required = true)]
    public string Method { get; init; } = "";

    /// <summary>The method's settings, as text.</summary>
    [Key]
    public IReadOnlyList<KeyValuePair<string, string>> Settings { get; init; } = [];

    /// <summary>What went in, in order.</summary>
    [Key]
    public IReadOnlyList<MergedAdapter> Adapters { get; init; } = [];
}
