using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

/// <summary>Tokenizer files small enough to reason about by hand.</summary>
internal static class TinyTokenizer
{
    /// <summary>Byte-level: ids 0-255 are the byte characters in order, then one token per merge.</summary>
    public static JsonObject ByteLevel(params string[] merges)
    {
        var tokens = ByteAlphabet.InOrder.Select(c => c.ToString()).ToList();
        tokens.AddRange(merges.Select(merge => merge.Replace(" ", "", StringComparison.Ordinal)));
        return File(
            Model(tokens, merges),
            preTokenizer: Parse(
                """{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"""),
            decoder: Parse("""{"type":"ByteLevel"}"""));
    }

    /// <summary>
    /// SentencePiece's way: &lt;unk&gt; &lt;s&gt; &lt;/s&gt;, the bytes if asked, the characters, then one token per
    /// merge.
    /// </summary>
    public static JsonObject SentencePiece(string characters, bool bytes, params string[] merges)
    {
        List<string> tokens = ["<unk>", "<s>", "</s>"];
        if (bytes)
            tokens.AddRange(Enumerable.Range(0, 256).Select(value => $"<0x{value:X2}>"));
        tokens.AddRange(characters.Select(c => c.ToString()));
        tokens.AddRange(merges.Select(merge => merge.Replace(" ", "", StringComparison.Ordinal)));
        var model = Model(tokens, merges);
        model["unk_token"] = "<unk>";
        model["fuse_unk"] = true;
        model["byte_fallback"] = bytes;
        var file = File(model, decoder: Parse("""
            {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},
            {"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}
            """));
        file["normalizer"] = Parse("""
            {"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]}
            """);
        file["added_tokens"] = new JsonArray(Added(0, "<unk>"), Added(1, "<s>"), Added(2, "</s>"));
        return file;
    }

    /// <summary>BERT's way: [UNK] [CLS] [SEP], then the given tokens.</summary>
    public static JsonObject WordPiece(params string[] tokens)
    {
        var vocabulary = new JsonObject();
        foreach (var token in tokens.Prepend("[SEP]").Prepend("[CLS]").Prepend("[UNK]"))
            vocabulary[token] = vocabulary.Count;
        var model = new JsonObject { ["type"] = "WordPiece", ["vocab"] = vocabulary, ["unk_token"] = "[UNK]" };
        var file = File(model, Parse("""{"type":"BertPreTokenizer"}"""), Parse("""{"type":"WordPiece"}"""));
        file["normalizer"] = Parse("""{"type":"BertNormalizer"}""");
        file["post_processor"] = Parse("""{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]}""");
        file["added_tokens"] = new JsonArray(Added(0, "[UNK]"), Added(1, "[CLS]"), Added(2, "[SEP]"));
        return file;
    }

    public static JsonObject Added(int id, string content, bool special = true, bool normalized = false) => new()
    {
        ["id"] = id, ["content"] = content, ["single_word"] = false, ["lstrip"] = false, ["rstrip"] = false,
        ["normalized"] = normalized, ["special"] = special,
    };

    public static JsonNode Parse(string json) => JsonNode.Parse(json)!;

    public static HuggingFaceTokenizer Load(JsonObject file) => LoadText(file.ToJsonString());

    /// <summary>Loads it and lets the library merge, so that the tests are about that.</summary>
    public static HuggingFaceTokenizer LoadText(string json, string? config = null)
    {
        var directory = Directory.CreateTempSubdirectory("peft-tokenizer-");
        try
        {
            System.IO.File.WriteAllText(Path.Combine(directory.FullName, "tokenizer.json"), json);
            if (config is not null)
                System.IO.File.WriteAllText(Path.Combine(directory.FullName, "tokenizer_config.json"), config);
            var tokenizer = HuggingFaceTokenizer.Load(directory.FullName);
            tokenizer.StartLibrary();
            return tokenizer;
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    /// <summary>The token texts of an encoding, between bars.</summary>
    public static string Tokens(this HuggingFaceTokenizer tokenizer, string text) =>
        string.Join('|', tokenizer.EncodeToIds(text).Select(tokenizer.IdToToken));

    private static JsonObject Model(List<string> tokens, string[] merges)
    {
        var vocabulary = new JsonObject();
        foreach (var token in tokens.Distinct())
            vocabulary[token] = vocabulary.Count;
        return new JsonObject
        {
            ["type"] = "BPE",
            ["vocab"] = vocabulary,
            ["merges"] = JsonSerializer.SerializeToNode(merges),
        };
    }

    private static JsonObject File(JsonObject model, JsonNode? preTokenizer = null, JsonNode? decoder = null) => new()
    {
        ["version"] = "1.0", ["added_tokens"] = new JsonArray(), ["normalizer"] = null,
        ["pre_tokenizer"] = preTokenizer,
        ["post_processor"] = null, ["decoder"] = decoder, ["model"] = model,
    };
}
