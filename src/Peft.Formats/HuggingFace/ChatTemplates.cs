using System.Text;
using System.Text.Json;
using Peft.Formats.Configuration;
using Peft.Formats.Files;

namespace Peft.Formats.HuggingFace;

/// <summary>The chat templates of a tokenizer's directory, and the special tokens that they name.</summary>
/// <remarks>
/// Source: transformers, tokenization_utils_base.py: <c>chat_template.jinja</c> and <c>additional_chat_templates/</c>
/// before the
/// <c>chat_template</c> of <c>tokenizer_config.json</c>, which is one template or a list of them by name.
/// </remarks>
public sealed class ChatTemplates
{
    /// <summary>The name of a template that has none.</summary>
    public const string Default = "default";

    private const string ToolUse = "tool_use";
    private const long LargestFile = 16L << 20;
    private const string ConfigFile = "tokenizer_config.json";

    private static readonly string[] TokenNames =
    [
        "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
    ];

    private ChatTemplates(
        string directory, IReadOnlyDictionary<string, string> byName,
        IReadOnlyDictionary<string, string> specialTokens) =>
        (Directory, ByName, SpecialTokens) = (directory, byName, specialTokens);

    /// <summary>The directory.</summary>
    public string Directory { get; }

    /// <summary>The templates; empty when the directory has none.</summary>
    public IReadOnlyDictionary<string, string> ByName { get; }

    /// <summary>The special tokens that are set, such as <c>bos_token</c>; templates see them under these
    /// names.</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; }

    /// <summary>Reads a directory.</summary>
    /// <exception cref="UserException">It does not exist, or a file in it is not what it should be.</exception>
    public static ChatTemplates Read(string directory)
    {
        if (!System.IO.Directory.Exists(directory))
            throw UserException.At(
                directory, "no such directory", "a directory that holds a tokenizer", "check the path");
        var templates = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var tokens = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var name in new[] { ConfigFile, "special_tokens_map.json" })
        {
            var path = Path.Combine(directory, name);
            if (File.Exists(path))
                ReadConfig(path, templates, tokens);
        }

        ReadFiles(directory, templates);
        return new ChatTemplates(directory, templates, tokens);
    }

    /// <summary>The same with a special token that the files may leave to tokenizer.json.</summary>
    public ChatTemplates WithToken(string name, string? token) => token is null || SpecialTokens.ContainsKey(name)
        ? this
        : new ChatTemplates(
            Directory, ByName,
            new Dictionary<string, string>(SpecialTokens, StringComparer.Ordinal) { [name] = token });

    /// <summary>The same with this default template; one that is the default already keeps the others beside
    /// it.</summary>
    public ChatTemplates WithDefault(string template) => ByName.GetValueOrDefault(Default) == template
        ? this
        : new(Directory, new Dictionary<string, string> { [Default] = template }, SpecialTokens);

    /// <summary>A template file.</summary>
    /// <exception cref="UserException">It is missing, too large or not UTF-8.</exception>
    public static string ReadFile(string path)
    {
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true)
                .GetString(BoundedFile.ReadAllBytes(path, LargestFile)).TrimStart('\uFEFF');
        }
        catch (DecoderFallbackException error)
        {
            throw UserException.At(path, "bytes that are not UTF-8", "a template in UTF-8", null, error);
        }
    }

    /// <summary>The template of a name; without one <c>tool_use</c> where tools are given and there is such a template,
    /// else the default.</summary>
    /// <exception cref="UserException">There is none of that name, or none at all.</exception>
    public string Choose(string? name, bool hasTools)
    {
        var chosen = name ?? (hasTools && ByName.ContainsKey(ToolUse) ? ToolUse : Default);
        if (ByName.TryGetValue(chosen, out var template))
            return template;
        if (ByName.Count == 0)
        {
            throw UserException.At(
                Directory, "no chat template", "chat_template.jinja, or chat_template in tokenizer_config.json",
                "name a template of your own");
        }

        throw UserException.At(
            Directory, $"no chat template {Quote.Of(chosen)}", Words.OneOf([.. ByName.Keys]),
            name is null ? "name the template to be used" : null);
    }

    private static void ReadConfig(
        string path, SortedDictionary<string, string> templates, Dictionary<string, string> tokens)
    {
        var root = JsonFile.Read<JsonElement>(
            path, LargestFile, new JsonSerializerOptions { MaxDepth = 64 }, "a JSON object");
        if (root.ValueKind != JsonValueKind.Object)
            throw UserException.At(path, "no JSON object", "an object in braces");
        foreach (var name in TokenNames)
        {
            if (root.TryGetProperty(name, out var token) && TextOf(token) is { } text)
                tokens.TryAdd(name, text);
        }

        if (!root.TryGetProperty("chat_template", out var template) || template.ValueKind == JsonValueKind.Null)
            return;
        if (template.ValueKind == JsonValueKind.String)
        {
            templates[Default] = template.GetString()!;
            return;
        }

        var entries = template.ValueKind == JsonValueKind.Array ? template.EnumerateArray().ToList() : [];
        if (entries.Count == 0 || !entries.TrueForAll(IsNamed))
            throw UserException.At(
                $"{path}, chat_template", "neither a text nor a list of names and templates", "one of these");
        foreach (var entry in entries)
            templates[entry.GetProperty("name").GetString()!] = entry.GetProperty("template").GetString()!;
    }

    private static bool IsNamed(JsonElement entry) => entry.ValueKind == JsonValueKind.Object
        && entry.TryGetProperty("name", out var name) && name.ValueKind == JsonValueKind.String
        && entry.TryGetProperty("template", out var template) && template.ValueKind == JsonValueKind.String;

    private static void ReadFiles(string directory, SortedDictionary<string, string> templates)
    {
        var own = Path.Combine(directory, "chat_template.jinja");
        var more = Path.Combine(directory, "additional_chat_templates");
        string[] others = System.IO.Directory.Exists(more)
            ? System.IO.Directory.GetFiles(more, "*.jinja") : [];
        // Files stand for all templates of the configuration, not for those of their names alone.
        if (File.Exists(own) || others.Length > 0)
            templates.Clear();
        if (File.Exists(own))
            templates[Default] = ReadFile(own);
        foreach (var file in others)
            templates[Path.GetFileNameWithoutExtension(file)] = ReadFile(file);
    }

    // A token is written as its text or as an object that describes it.
    private static string? TextOf(JsonElement token) => token.ValueKind switch
    {
        JsonValueKind.String => token.GetString(),
        JsonValueKind.Object when token.TryGetProperty("content", out var content)
            && content.ValueKind == JsonValueKind.String =>
            content.GetString(),
        _ => null,
    };
}
