using System.Text.Json;
using System.Text.Unicode;
using Peft.Formats.Files;

namespace Peft.Formats.Tokenizers;

/// <summary>Builds a tokenizer from its files.</summary>
internal static class TokenizerReader
{
    private const string FileName = "tokenizer.json";
    private const long LargestFile = 512L << 20;

    public static HuggingFaceTokenizer Load(string directoryOrFile)
    {
        var path = Directory.Exists(directoryOrFile) ? Path.Combine(directoryOrFile, FileName) : directoryOrFile;
        var directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!File.Exists(path))
        {
            var sentencePiece = File.Exists(Path.Combine(directory, "tokenizer.model"));
            throw UserException.At(
                path,
                sentencePiece ? "no such file, only tokenizer.model (SentencePiece)" : "no such file",
                "a directory with tokenizer.json",
                sentencePiece
                    ? "write it with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
                    : "give the directory of a Hugging Face model");
        }

        var bytes = BoundedFile.ReadAllBytes(path, LargestFile);
        var json = bytes.AsMemory(bytes.AsSpan().StartsWith("\uFEFF"u8) ? 3 : 0);
        if (!Utf8.IsValid(json.Span))
            throw UserException.At(path, "bytes that are not UTF-8", "a JSON file in UTF-8");
        return Read(json, path, directory, new(() => Sha256.OfBytes(bytes)));
    }

    private static HuggingFaceTokenizer Read(
        ReadOnlyMemory<byte> json, string path, string directory, Lazy<string> hash)
    {
        var parts = JsonSlices.Of(json, path, "model");
        JsonPart? Part(string key) =>
            parts.TryGetValue(key, out var slice) && JsonPart.Parse(slice, $"{path} {key}") is { IsNull: false } part
                ? part
                : null;
        if (!parts.TryGetValue("model", out var modelJson) || modelJson.Span[0] != (byte)'{')
        {
            throw UserException.At(
                path, "no \"model\" object", "a tokenizer.json of Hugging Face tokenizers", "download the file again");
        }

        var model = ModelReader.Read(ModelParts(parts), $"{path} model");
        var added = Part("added_tokens") is { } addedTokens ? ReadAddedTokens(addedTokens, model.Vocabulary) : [];
        var postProcessor = Part("post_processor") is { } post ? PostProcessorReader.Read(post) : PostProcessor.None;
        var beside = SpecialTokenReader.FilesIn(directory);
        foreach (var file in beside)
            AddTokensOf(file.Root, added, model.Vocabulary);
        CheckIds(postProcessor, model.Vocabulary, added, $"{path} post_processor");
        var special = SpecialTokenReader.Read(beside);
        int? Find(string content) => added.FirstOrDefault(token => token.Content == content)?.Id
            ?? (model.Vocabulary.Find(content) is >= 0 and var id ? id : null);
        int? IdOf(string key) => special.GetValueOrDefault(key) is { } token ? Find(token.Content) : null;
        RequireKnown(special, content => Find(content) is not null, path);
        var pipeline = new TextPipeline(
            model,
            Part("normalizer") is { } normalizer ? NormalizerReader.Read(normalizer) : null,
            Part("pre_tokenizer") is { } preTokenizer ? PreTokenizerReader.Read(preTokenizer) : [],
            postProcessor,
            added);
        var decoders = Part("decoder") is { } decoder ? DecoderReader.Read(decoder) : [];
        return new HuggingFaceTokenizer(model, pipeline, decoders, added)
        {
            BosId = IdOf("bos_token"), EosId = IdOf("eos_token"), PadId = IdOf("pad_token"), Hash = hash,
        };
    }

    // transformers would add such a token with the next free id: texts would be encoded otherwise there than here, and
    // an end be learned and waited for that the model has no trained row for. Padding is never seen.
    private static void RequireKnown(
        Dictionary<string, (string Content, string File)> special, Func<string, bool> isKnown, string path)
    {
        var faults = new Faults();
        foreach (var (key, (content, file)) in special)
        {
            if (key == SpecialTokenReader.Padding || isKnown(content))
                continue;
            faults.Add(
                $"{file} {key}", $"{Quote.Of(content)}, which {FileName} does not have",
                "one of the tokenizer's tokens",
                "correct it, or write null: transformers would add the token, and the model was not trained on it");
        }

        faults.ThrowIfAny(path);
    }

    private static Dictionary<string, ReadOnlyMemory<byte>> ModelParts(Dictionary<string, ReadOnlyMemory<byte>> parts)
    {
        const string Prefix = "model.";
        return parts.Where(part => part.Key.StartsWith(Prefix, StringComparison.Ordinal))
            .ToDictionary(part => part.Key[Prefix.Length..], part => part.Value);
    }

    private static List<AddedToken> ReadAddedTokens(JsonPart list, TokenVocabulary vocabulary)
    {
        var tokens = new AddedTokenList(vocabulary);
        foreach (var part in list.Items())
            tokens.Add(part, part.Required("id").Integer(0, TokenVocabulary.HighestAllowedId));
        return tokens.Tokens;
    }

    // Tokens that only added_tokens_decoder names are added as transformers does it: with the vocabulary's id, or the
    // next free one. It does so whatever id the file gives, so another one there is a contradiction. What
    // tokenizer.json says of a token of its own stands.
    private static void AddTokensOf(JsonPart config, List<AddedToken> added, TokenVocabulary vocabulary)
    {
        const string Key = "added_tokens_decoder";
        if (config.Optional(Key) is not { } decoder)
            return;
        var tokens = new AddedTokenList(vocabulary, added);
        foreach (var (id, part) in decoder.Members().Select(member => (member.Part.Id(member.Name), member.Part))
            .OrderBy(member => member.Item1))
        {
            var content = part.Required("content").Text();
            if (content.Length > 0 && tokens.IdOf(content) is var theirs && theirs != id)
            {
                throw part.Fault(
                    $"{Quote.Of(content)} with id {id}",
                    $"{theirs}, the id that transformers gives it beside {FileName}",
                    "save the tokenizer again with transformers, which writes both files");
            }

            if (content.Length > 0 && !tokens.Contains(content))
                tokens.Add(part, id);
        }
    }

    private static void CheckIds(
        PostProcessor postProcessor, TokenVocabulary vocabulary, List<AddedToken> added, string place)
    {
        foreach (var id in postProcessor.Single.Concat(postProcessor.Pair).SelectMany(piece => piece.Ids).Distinct())
        {
            if (!vocabulary.Contains(id) && !added.Exists(token => token.Id == id))
            {
                throw UserException.At(place, $"the id {id}", "an id of the vocabulary or of an added token");
            }
        }
    }
}

/// <summary>Added tokens that contradict neither each other nor the vocabulary.</summary>
internal sealed class AddedTokenList(TokenVocabulary vocabulary, List<AddedToken>? known = null)
{
    private readonly HashSet<int> _used = [.. (known ?? []).Select(token => token.Id)];
    private readonly Dictionary<string, int> _ids =
        (known ?? []).ToDictionary(token => token.Content, token => token.Id);

    public List<AddedToken> Tokens { get; } = known ?? [];

    /// <summary>The id of the next token that is in no vocabulary, as the library tokenizers counts.</summary>
    public int NextId { get; private set; } =
        Math.Max(vocabulary.Count, (known ?? []).Select(token => token.Id + 1).DefaultIfEmpty().Max());

    /// <summary>The id that a token has or, as transformers adds it, will have.</summary>
    public int IdOf(string content) =>
        _ids.TryGetValue(content, out var id) ? id
        : vocabulary.Find(content) is >= 0 and var own ? own
        : NextId;

    /// <summary>Whether a token is among them.</summary>
    public bool Contains(string content) => _ids.ContainsKey(content);

    /// <summary>Reads a token and adds it.</summary>
    /// <exception cref="UserException">It contradicts another one.</exception>
    public void Add(JsonPart part, int id)
    {
        var isSpecial = part.Boolean("special", false);
        var token = new AddedToken(
            id,
            part.Required("content").Text(),
            isSpecial,
            part.Boolean("lstrip", false),
            part.Boolean("rstrip", false),
            part.Boolean("single_word", false),
            part.Boolean("normalized", !isSpecial));
        if (!_used.Add(token.Id))
            throw part.Fault($"the id {token.Id} is used twice", "every id once");
        if (!_ids.TryAdd(token.Content, token.Id))
            throw part.Fault($"the token {Quote.Of(token.Content)} is listed twice", "every token once");
        var own = vocabulary.Find(token.Content);
        if (own >= 0 && own != token.Id)
            throw part.Fault($"{Quote.Of(token.Content)} with id {token.Id}", $"its id in the vocabulary, {own}");
        if (own < 0 && vocabulary.Contains(token.Id))
        {
            throw part.Fault(
                $"{Quote.Of(token.Content)} with id {token.Id}, "
                    + $"which is {Quote.Of(vocabulary.TextOf(token.Id))} in the vocabulary",
                "an unused id");
        }

        Tokens.Add(token);
        NextId = Math.Max(NextId, token.Id + 1);
    }
}

/// <summary>
/// Finds which tokens begin, end and pad a text and stand for what is unknown: tokenizer_config.json, else
/// special_tokens_map.json.
/// </summary>
internal static class SpecialTokenReader
{
    /// <summary>The key of the padding token.</summary>
    public const string Padding = "pad_token";

    private const long LargestFile = 64L << 20;
    private static readonly string[] Keys = ["bos_token", "eos_token", Padding, "unk_token"];

    /// <summary>What stands beside tokenizer.json, in the order in which it counts.</summary>
    public static IReadOnlyList<(string Name, JsonPart Root)> FilesIn(string directory) =>
    [
        .. from file in new[] { "tokenizer_config.json", "special_tokens_map.json" }
           let path = Path.Combine(directory, file)
           where File.Exists(path)
           select (file, JsonPart.Parse(BoundedFile.ReadAllBytes(path, LargestFile), path)),
    ];

    /// <summary>The token's text by key, with the file's name; a key that no file sets is left out.</summary>
    public static Dictionary<string, (string Content, string File)> Read(
        IReadOnlyList<(string Name, JsonPart Root)> files)
    {
        var found = new Dictionary<string, (string, string)>();
        foreach (var (file, root) in files)
        {
            foreach (var key in Keys)
            {
                if (root.Optional(key) is not { } token)
                    continue;
                // Written as a text, or as an added token with its content.
                var content = token.Element.ValueKind == JsonValueKind.Object ? token.Required("content") : token;
                found.TryAdd(key, (content.Text(), file));
            }
        }

        return found;
    }
}
