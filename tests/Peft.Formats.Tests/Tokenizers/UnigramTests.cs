using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

/// <summary>Unigram by hand, and the tokenizer of Gemma: BPE over whole texts with byte fallback.</summary>
public sealed class UnigramTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    // The likeliest cut, not the longest token.
    [InlineData("abc", "ab c")]
    [InlineData("abcd", "abcd")]
    // Two cuts of one score: the one found first, whose last token begins first.
    [InlineData("xyz", "x yz")]
    // Characters that no token has are unknown together.
    [InlineData("aé日b", "a <unk> b")]
    [InlineData("", "")]
    public void The_likeliest_cut_is_found(string text, string tokens)
    {
        var tokenizer = Load(false);
        Assert.Equal(tokens, string.Join(' ', tokenizer.EncodeToTokens(text, false).Select(token => token.Value)));
    }

    [Fact]
    public void Tokens_know_where_they_lie_and_unknown_ones_become_their_bytes()
    {
        var tokenizer = Load(true);
        var tokens = tokenizer.EncodeToTokens("a😀b", false);
        Assert.Equal(
            "a <0xF0> <0x9F> <0x98> <0x80> b", string.Join(' ', tokens.Select(token => token.Value)));
        Assert.Equal([0..1, 1..3, 1..3, 1..3, 1..3, 3..4], tokens.Select(token => token.Offset));
        Assert.Equal("a😀b", tokenizer.Decode([.. tokens.Select(token => token.Id)]));
    }

    [Fact]
    public void Gemmas_way_keeps_spaces_and_falls_back_to_bytes()
    {
        var file = TinyTokenizer.SentencePiece("▁ab\n", bytes: true, "a b", "▁ ab", "▁ ▁");
        file["normalizer"] = JsonNode.Parse("""{"type":"Replace","pattern":{"String":" "},"content":"▁"}""");
        file["pre_tokenizer"] = JsonNode.Parse(
            """{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}""");
        file["decoder"] = JsonNode.Parse("""
            {"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},
            {"type":"ByteFallback"},{"type":"Fuse"}]}
            """);
        var tokenizer = Load(file);
        const string Text = "ab ab  b\né";
        var tokens = tokenizer.EncodeToTokens(Text, false);
        Assert.Equal("ab|▁ab|▁▁|b|\n|<0xC3>|<0xA9>", string.Join('|', tokens.Select(token => token.Value)));
        int[] ids = [.. tokens.Select(token => token.Id)];
        Assert.Equal(Text, tokenizer.Decode(ids));
        var stream = tokenizer.NewDecoder(skipSpecialTokens: true);
        Assert.Equal(Text, string.Concat(ids.Select(stream.Append)) + stream.Flush());
    }

    [Theory]
    [InlineData("\"!\"", "not a table of replacements")]
    [InlineData("\"CAAAAAAAAAA=\"", "a double array of 8 bytes in a table of 8")]
    public void A_damaged_table_is_refused(string table, string found)
    {
        var file = File(false);
        file["normalizer"] = JsonNode.Parse($$"""{"type":"Precompiled","precompiled_charsmap":{{table}}}""");
        var error = Assert.Throws<UserException>(() => Load(file));
        Assert.Equal(
            $"{_folder.At("tokenizer.json")} normalizer.precompiled_charsmap: {found}; expected the base-64 text of a "
            + "double array and its replacements.", error.Message);
    }

    private HuggingFaceTokenizer Load(bool bytes) => Load(File(bytes));

    private HuggingFaceTokenizer Load(JsonObject file)
    {
        System.IO.File.WriteAllText(_folder.At("tokenizer.json"), file.ToJsonString());
        return HuggingFaceTokenizer.Load(_folder.Path);
    }

    private static JsonObject File(bool bytes)
    {
        var tokens = new List<(string Token, double Score)>
        {
            ("<unk>", 0), ("a", -3), ("b", -3), ("c", -1), ("ab", -2), ("bc", -4), ("abc", -6), ("abcd", -7), ("x", -2),
            ("y", -2), ("z", -2), ("xy", -3), ("yz", -3),
        };
        if (bytes)
            tokens.AddRange(Enumerable.Range(0, 256).Select(value => ($"<0x{value:X2}>", -20.0)));
        var model = new JsonObject
        {
            ["type"] = "Unigram", ["unk_id"] = 0, ["byte_fallback"] = bytes,
            ["vocab"] = new JsonArray([.. tokens.Select(token => (JsonNode)new JsonArray(token.Token, token.Score))]),
        };
        return new JsonObject
        {
            ["version"] = "1.0", ["model"] = model, ["added_tokens"] = new JsonArray(),
            ["decoder"] = JsonNode.Parse(
                """{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]}"""),
        };
    }
}
