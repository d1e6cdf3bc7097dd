using Peft.Formats.Configuration;

namespace Peft.Formats.HuggingFace;

/// <summary>The defaults for generating text that a model's <c>generation_config.json</c> carries.</summary>
/// <param name="EosTokenIds">Tokens that end a text; empty when none are named.</param>
/// <param name="BosTokenId">The token that begins a text.</param>
/// <param name="PadTokenId">The token for padding.</param>
/// <param name="Temperature">Divides the logits.</param>
/// <param name="TopP">Keeps the likeliest tokens up to this probability in all, 0 to 1.</param>
/// <param name="TopK">Keeps this many of the likeliest tokens.</param>
/// <param name="MaxNewTokens">Tokens to generate at most.</param>
/// <param name="DoSample">Draw tokens instead of taking the likeliest.</param>
public sealed record GenerationConfig(
    IReadOnlyList<int> EosTokenIds,
    int? BosTokenId,
    int? PadTokenId,
    double? Temperature,
    double? TopP,
    int? TopK,
    int? MaxNewTokens,
    bool DoSample)
{
    /// <summary>Reads the file in a model directory; null when there is none.</summary>
    /// <exception cref="UserException">It is not JSON.</exception>
    /// <exception cref="FaultsException">Some values are wrong; all are listed.</exception>
    public static GenerationConfig? Read(string directory)
    {
        var path = Path.Combine(directory, "generation_config.json");
        if (!File.Exists(path))
            return null;
        var map = ConfigJson.ReadFile(path);
        var reader = new OptionReader(map, "", new Faults());
        var config = new GenerationConfig(
            TokenIds.ReadList(map, "eos_token_id", reader.Fault),
            TokenIds.Read(map, "bos_token_id", reader.Fault),
            TokenIds.Read(map, "pad_token_id", reader.Fault),
            reader.OptionalNumber("temperature", 0),
            reader.OptionalNumber("top_p", 0, 1),
            reader.OptionalInteger("top_k", 0),
            reader.OptionalInteger("max_new_tokens", 1),
            reader.Boolean("do_sample", false));
        reader.Faults.ThrowIfAny(path);
        return config;
    }
}

/// <summary>
/// Reads <c>bos_token_id</c>, <c>eos_token_id</c> and <c>pad_token_id</c>; -1 means none in older files.
/// </summary>
internal static class TokenIds
{
    public delegate void OnFault(string key, string found, string? expected = null, string? advice = null);

    public static int? Read(ConfigMap map, string key, OnFault fault)
    {
        var ids = ReadList(map, key, fault);
        return ids.Count == 0 ? null : ids[0];
    }

    public static IReadOnlyList<int> ReadList(ConfigMap map, string key, OnFault fault)
    {
        var node = map[key];
        IReadOnlyList<ConfigNode> items = node switch
        {
            null or ConfigScalar { IsNull: true } => [],
            ConfigList list => list.Items,
            _ => [node],
        };
        var ids = new List<int>();
        foreach (var item in items)
        {
            if (item is ConfigScalar scalar && scalar.TryInteger(out var id) && id is >= -1 and <= int.MaxValue)
                ids.Add((int)id);
            else
                fault(key, item.Describe(), "a token id or a list of them");
        }

        ids.RemoveAll(id => id < 0);
        return ids;
    }
}
