using Peft.Formats.Configuration;

namespace Peft.Formats.HuggingFace;

/// <summary>
/// Reads <c>bos_token_id</c>, <c>eos_token_id</c> and <c>pad_token_id</c>; -1 means none in older files.
/// </summary>
internal static class TokenIds
{
    public delegate void OnFault(string key, string found, string allowed, string? advice = null);

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
