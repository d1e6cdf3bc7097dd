using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// A base model's <c>config.json</c>, in the spellings of transformers 4 and 5. Missing and wrong values are collected
/// (a usable stand-in is returned) and told all at once by <see cref="ThrowIfFaulty"/>.
/// </summary>
public sealed class ModelConfigFile
{
    /// <summary>No real width, vocabulary or number of heads comes near; products of two fit into 64 bits.</summary>
    public const int LargestSize = 1 << 24;

    private ModelConfigFile(string path, ConfigMap map, string modelType)
    {
        Path = path;
        Map = map;
        ModelType = modelType;
        EosTokenIds = TokenIds.ReadList(map, "eos_token_id", Fault);
        BosTokenId = TokenIds.Read(map, "bos_token_id", Fault);
        PadTokenId = TokenIds.Read(map, "pad_token_id", Fault);
        TorchDtype = OptionalText("torch_dtype", "dtype")?.Replace("torch.", "", StringComparison.Ordinal);
        (Rope, WindowRope) = RopeReader.Read(this);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>All of its keys.</summary>
    public ConfigMap Map { get; }

    /// <summary>The architecture: <c>llama</c>, <c>qwen2</c>, ...</summary>
    public string ModelType { get; }

    /// <summary>Tokens that end a text; empty when the file names none.</summary>
    public IReadOnlyList<int> EosTokenIds { get; }

    /// <summary>The token that begins a text, if any.</summary>
    public int? BosTokenId { get; }

    /// <summary>The token for padding, if any.</summary>
    public int? PadTokenId { get; }

    /// <summary>
    /// <c>torch_dtype</c> (v4) or <c>dtype</c> (v5): <c>float32</c>, <c>bfloat16</c>, ...; null when absent.
    /// </summary>
    public string? TorchDtype { get; }

    /// <summary>Rotary embedding; the defaults of the family where the file says nothing.</summary>
    public RopeParameters Rope { get; }

    /// <summary>That of layers with a window, where the file tells it apart from the others'; else null.</summary>
    public RopeParameters? WindowRope { get; }

    internal Faults Faults { get; } = new();

    /// <summary>Reads <c>config.json</c> in a model directory.</summary>
    /// <exception cref="UserException">There is no such file, or it names no architecture.</exception>
    /// <exception cref="UserException">It is not JSON.</exception>
    public static ModelConfigFile Read(string directory)
    {
        var path = System.IO.Path.Combine(directory, "config.json");
        if (!File.Exists(path))
            throw NoConfig(directory);
        var map = ConfigJson.ReadFile(path);
        if (map["model_type"] is ConfigScalar { IsQuoted: true, Text.Length: > 0 } modelType)
            return new ModelConfigFile(path, map, modelType.Text);
        throw UserException.At(path, "no model_type", "the name of an architecture, such as \"llama\"",
            "use a config.json written by transformers");
    }

    /// <summary>True when the key is here and not null.</summary>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>Whether one of these keys is here, or among those of the rotary embedding.</summary>
    public bool SaysAny(params string[] keys)
    {
        var maps = new[] { Map["rope_parameters"], Map["rope_scaling"] }.OfType<ConfigMap>().ToList();
        maps.AddRange([.. maps.SelectMany(map => map.Entries).Select(entry => entry.Value).OfType<ConfigMap>()]);
        return keys.Any(key => Has(key) || maps.Any(map => map.Keys.Contains(key)));
    }

    /// <summary>
    /// A size from 1 to <see cref="LargestSize"/> that must be there, under the key or one of its other spellings; 1
    /// after a fault.
    /// </summary>
    public int RequiredInt(string key, params string[] alternatives)
    {
        if (FirstPresent(key, alternatives) is { } present)
            return Whole(present, 1, LargestSize) ?? 1;
        var others = alternatives.Length == 0 ? "" : " under this key or " + Words.OneOf(alternatives);
        Fault(key, "missing", "a size" + others);
        return 1;
    }

    /// <summary>A whole number of at least 0, under the key or one of its other spellings.</summary>
    public int Int(string key, int fallback, params string[] alternatives) =>
        FirstPresent(key, alternatives) is { } present ? Whole(present, 0) ?? fallback : fallback;

    /// <summary>A whole number of at least 0, or null when absent.</summary>
    public int? OptionalInt(string key, params string[] alternatives) =>
        FirstPresent(key, alternatives) is { } present ? Whole(present, 0) : null;

    /// <summary>A finite number, under the key or one of its other spellings.</summary>
    public double Number(string key, double fallback, params string[] alternatives) =>
        OptionalNumber(key, alternatives) ?? fallback;

    /// <summary>A finite number, or null when absent.</summary>
    public double? OptionalNumber(string key, params string[] alternatives)
    {
        if (FirstPresent(key, alternatives) is not { } present)
            return null;
        if (Find(present) is ConfigScalar scalar && scalar.TryNumber(out var value))
            return value;
        Fault(present, Find(present)!.Describe(), "a number");
        return null;
    }

    /// <summary>true or false, under the key or one of its other spellings.</summary>
    public bool Bool(string key, bool fallback, params string[] alternatives)
    {
        if (FirstPresent(key, alternatives) is not { } present)
            return fallback;
        if (Find(present) is ConfigScalar scalar && scalar.TryBoolean(out var value))
            return value;
        Fault(present, Find(present)!.Describe(), "true or false");
        return fallback;
    }

    /// <summary>A text, under the key or one of its other spellings.</summary>
    public string Text(string key, string fallback, params string[] alternatives) =>
        OptionalText(key, alternatives) ?? fallback;

    /// <summary>A text, or null when absent.</summary>
    public string? OptionalText(string key, params string[] alternatives)
    {
        if (FirstPresent(key, alternatives) is not { } present)
            return null;
        if (Find(present) is ConfigScalar { IsQuoted: true } scalar)
            return scalar.Text;
        Fault(present, Find(present)!.Describe(), "a text");
        return null;
    }

    /// <summary>A list of texts, such as <c>layer_types</c> or <c>architectures</c>; empty when absent.</summary>
    public IReadOnlyList<string> Texts(string key)
    {
        var node = Find(key);
        if (node is ConfigList list && list.Items.All(item => item is ConfigScalar { IsQuoted: true }))
            return [.. list.Items.Select(item => ((ConfigScalar)item).Text!)];
        if (node is not null)
            Fault(key, node.Describe(), "a list of texts");
        return [];
    }

    /// <summary>A list of whole numbers of at least 0, such as <c>mlp_only_layers</c>; empty when absent.</summary>
    public IReadOnlyList<int> Wholes(string key)
    {
        var node = Find(key);
        if (node is ConfigList list && list.Items.All(item => item is ConfigScalar scalar
            && scalar.TryNumber(out var value) && value >= 0 && value <= LargestSize && Math.Floor(value) == value))
        {
            return [.. list.Items.Select(item => ((ConfigScalar)item).TryNumber(out var value) ? (int)value : 0)];
        }

        if (node is not null)
            Fault(key, node.Describe(), "a list of whole numbers of at least 0");
        return [];
    }

    /// <summary>A list of numbers of which 0 means no, such as <c>no_rope_layers</c>; null when absent.</summary>
    public IReadOnlyList<bool>? Flags(string key) =>
        Has(key) ? [.. Wholes(key).Select(number => number != 0)] : null;

    /// <summary>
    /// Notes a fault at a key; for the rules of a family, such as heads that do not divide the hidden size.
    /// </summary>
    public void Fault(string key, string found, string? expected = null, string? advice = null)
    {
        var line = Map[key] is { } node ? $"line {node.Line}  " : "";
        Faults.Add(line + key, found, expected, advice);
    }

    /// <summary>Does nothing when every value read so far was good.</summary>
    /// <exception cref="FaultsException">Some were missing or wrong; all are listed.</exception>
    public void ThrowIfFaulty() => Faults.ThrowIfAny(Path);

    private ConfigNode? Find(string key) => Map[key] is { } node and not ConfigScalar { IsNull: true } ? node : null;

    private string? FirstPresent(string key, string[] alternatives) =>
        Has(key) ? key : alternatives.FirstOrDefault(Has);

    private int? Whole(string key, int min, int max = int.MaxValue)
    {
        // Some writers turn whole numbers into 8.0.
        if (Find(key) is ConfigScalar scalar && scalar.TryNumber(out var value)
            && value >= min && value <= max && Math.Floor(value) == value)
            return (int)value;
        var allowed = max == int.MaxValue ? $"of at least {min}" : $"from {min} to {max}";
        Fault(key, Find(key)!.Describe(), "a whole number " + allowed);
        return null;
    }

    private static UserException NoConfig(string directory)
    {
        if (!Directory.Exists(directory))
        {
            var isFile = File.Exists(directory);
            return UserException.At(
                directory, isFile ? "is a file, not a directory" : "no such directory", null,
                isFile ? "check the path" : MissingPath.Advice(directory));
        }

        var isAdapter = File.Exists(System.IO.Path.Combine(directory, "adapter_config.json"));
        return UserException.At(directory,
            isAdapter ? "is an adapter, not a base model" : "no config.json",
            isAdapter ? null : "a base model's directory with config.json, tokenizer.json and model.safetensors",
            isAdapter ? "name the adapter with --adapter and its base model with --base" : "check the path");
    }
}
