using System.Text.Json;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>
/// Finds which tokens begin, end and pad a text: tokenizer_config.json, else special_tokens_map.json.
/// </summary>
internal static class SpecialTokenReader
{
    private const long LargestFile = 64L << 20;
    private static readonly string[] Keys = ["bos_token", "eos_token", "pad_token"];

    /// <summary>The token's text by key; a key that no file sets is left out.</summary>
    public static Dictionary<string, string> Read(string directory)
    {
        var found = new Dictionary<string, string>();
        foreach (var file in new[] { "tokenizer_config.json", "special_tokens_map.json" })
        {
            var path = Path.Combine(directory, file);
            if (!File.Exists(path))
                continue;
            var root = JsonPart.Parse(BoundedFile.ReadAllBytes(path, LargestFile), path);
            foreach (var key in Keys)
            {
                if (root.Optional(key) is not { } token)
                    continue;
                // Written as a text, or as an added token with its content.
                var content = token.Element.ValueKind == JsonValueKind.Object ? token.Required("content") : token;
                found.TryAdd(key, content.Text());
            }
        }

        return found;
    }
}
