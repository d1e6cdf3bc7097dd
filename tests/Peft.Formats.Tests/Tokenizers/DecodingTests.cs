using System.Text;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class DecodingTests
{
    [Fact]
    public void A_character_split_over_tokens_comes_when_it_is_complete()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel());
        var stream = tokenizer.NewDecoder(skipSpecialTokens: false);
        var pieces = tokenizer.EncodeToIds("a😀é").Select(stream.Append).Append(stream.Flush());
        Assert.Equal(["a", "", "", "", "😀", "", "é", ""], pieces);
    }

    [Fact]
    public void Half_a_character_at_the_end_becomes_a_replacement_character()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel());
        var stream = tokenizer.NewDecoder(skipSpecialTokens: false);
        var ids = tokenizer.EncodeToIds("😀").Take(3).ToArray();
        Assert.All(ids, id => Assert.Equal("", stream.Append(id)));
        Assert.Equal("\uFFFD", stream.Flush());
        Assert.Equal("\uFFFD", tokenizer.Decode(ids));
    }

    [Fact]
    public void A_run_of_byte_tokens_is_text_only_as_a_whole()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: true, "▁ a"));
        Assert.Equal("aéb", tokenizer.Decode(tokenizer.EncodeToIds("aéb")));
        // C3 alone, then an "a": one replacement for each byte of the run.
        Assert.Equal("\uFFFD\uFFFDa", tokenizer.Decode([3 + 0xC3, 3 + 0x41, tokenizer.TokenToId("a")!.Value]));
        var stream = tokenizer.NewDecoder(skipSpecialTokens: true);
        var pieces = tokenizer.EncodeToIds("aéb a").Select(stream.Append).Append(stream.Flush());
        Assert.Equal(["a", "", "", "éb", " a", ""], pieces);
    }

    [Fact]
    public void Streams_add_up_to_the_whole_for_any_ids()
    {
        var random = new Random(3);
        foreach (var tokenizer in new[]
        {
            TinyTokenizer.Load(TinyTokenizer.ByteLevel("a b")),
            TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: true, "▁ a")),
        })
        {
            for (var round = 0; round < 500; round++)
            {
                var ids = Enumerable.Range(0, random.Next(30)).Select(_ => random.Next(tokenizer.EndId + 2)).ToArray();
                var stream = tokenizer.NewDecoder(skipSpecialTokens: false);
                var text = string.Concat(ids.Select(stream.Append).ToArray()) + stream.Flush();
                Assert.Equal(tokenizer.Decode(ids), text);
            }
        }
    }

    [Theory]
    [InlineData("null", "▁a|b|▁", "▁a b ▁")]
    [InlineData("""{"type":"Fuse"}""", "▁a|b", "▁ab")]
    [InlineData("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}""", "▁a|▁|b", "a b")]
    [InlineData("""{"type":"Metaspace","replacement":"▁","prepend_scheme":"never"}""", "▁a|b", " ab")]
    [InlineData("""{"type":"Strip","content":"a","start":0,"stop":1}""", "▁a|b|a|a", "▁b")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":"[ab]"},"content":"x"}""", "▁a|b", "▁xx")]
    [InlineData(
        """{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":"a","start":1,"stop":2}]}""",
        "a|a|b|▁a|a|a", "ab▁a")]
    [InlineData(
        """
        {"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Replace","pattern":{"String":"ab"},"content":"-"}]}
        """,
        "a|b|a", "-a")]
    public void Decoders_do_as_the_originals(string decoder, string tokens, string expected)
    {
        var file = TinyTokenizer.SentencePiece("▁ab", bytes: true, "▁ a");
        file["decoder"] = decoder == "null" ? null : TinyTokenizer.Parse(decoder);
        var tokenizer = TinyTokenizer.Load(file);
        var ids = tokens.Split('|').Select(token => tokenizer.TokenToId(token)!.Value).ToArray();
        Assert.Equal(expected, tokenizer.Decode(ids));
        var stream = tokenizer.NewDecoder(skipSpecialTokens: false);
        var text = new StringBuilder();
        foreach (var id in ids)
            text.Append(stream.Append(id));
        Assert.Equal(expected, text.Append(stream.Flush()).ToString());
    }

    [Theory]
    [InlineData(true, "it's a word. don't do!")]
    [InlineData(false, "it 's a word . do n't do !")]
    public void Word_pieces_join_and_spaces_before_punctuation_go(bool cleansUp, string expected)
    {
        var file = TinyTokenizer.WordPiece("it", "'s", "a", "wo", "##rd", ".", "do", "n't", "!");
        file["decoder"]!["cleanup"] = cleansUp;
        var tokenizer = TinyTokenizer.Load(file);
        var ids = "it 's a wo ##rd . do n't do !".Split(' ').Select(token => tokenizer.TokenToId(token)!.Value);
        Assert.Equal(expected, tokenizer.Decode(ids));
    }

    [Fact]
    public void Special_tokens_can_be_left_out_and_unknown_ids_add_nothing()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: false, "▁ a"));
        int[] ids = [1, .. tokenizer.EncodeToIds("a b"), 2, 9999, -1];
        Assert.Equal("a b", tokenizer.Decode(ids, skipSpecialTokens: true));
        Assert.Equal("<s> a b</s>", tokenizer.Decode(ids));
        Assert.Null(tokenizer.IdToToken(9999));
        Assert.Null(tokenizer.TokenToId("nothing"));
    }
}
