using System.Buffers;
using System.Text.Json.Nodes;
using Microsoft.ML.Tokenizers;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

/// <summary>Ours taken as the library's <see cref="Tokenizer"/>, by one who knows no other type.</summary>
public sealed class LibraryTests
{
    private static readonly Tokenizer ByteLevel = TinyTokenizer.Load(TinyTokenizer.ByteLevel("Ġ c", "a b"));
    private static readonly Tokenizer SentencePiece = MakeSentencePiece();

    [Fact]
    public void Ids_counts_and_texts_are_those_of_all_steps_with_special_tokens()
    {
        var ids = SentencePiece.EncodeToIds("ab <s>b");
        Assert.Equal("<s>|▁a|b|▁|<s>|▁|b", Values(SentencePiece, "ab <s>b"));
        Assert.Equal(ids, SentencePiece.EncodeToIds("ab <s>b".AsSpan()));
        Assert.Equal(ids.Count, SentencePiece.CountTokens("ab <s>b"));
        Assert.Equal(ids.Count, SentencePiece.CountTokens("ab <s>b".AsSpan()));
        Assert.Equal(ids, SentencePiece.EncodeToTokens("ab <s>b".AsSpan(), out _).Select(token => token.Id));
        Assert.Equal("<s> ab <s> b", SentencePiece.Decode(ids));
        Assert.Equal([1], SentencePiece.EncodeToIds(""));
    }

    [Fact]
    public void Offsets_are_in_the_text_that_was_given_whatever_was_made_of_it()
    {
        Assert.Equal("<s>@0..0 ▁a@0..1 <0xC3>@1..2 <0xA9>@1..2 ▁@2..3 <s>@3..6 ▁@6..7 b@6..7", Offsets(
            SentencePiece, "aé <s>b"));
        Assert.Null(SentencePiece.Normalizer);
        SentencePiece.EncodeToTokens("a b", out var normalized);
        Assert.Null(normalized);
    }

    [Fact]
    public void Tokens_of_one_character_share_its_place()
    {
        Assert.Equal("ab@0..2 Ã@2..3 ©@2..3 Ġc@3..5 ð@5..7 Ł@5..7 ĺ@5..7 Ģ@5..7", Offsets(ByteLevel, "abé c😀"));
        Assert.Equal("a@0..1 ï@1..2 ¿@1..2 ½@1..2 b@2..3", Offsets(ByteLevel, "a\ud83db"));
    }

    [Theory]
    [InlineData("""{"type":"NFC"}""", "e\u0301ab", "Ã@0..2 ©@0..2 ab@2..4")]
    [InlineData("""{"type":"NFC"}""", "e\u0301\u0327ab", "È@0..3 ©@0..3 Ì@1..3 ģ@1..3 ab@3..5")]
    [InlineData("""{"type":"NFD"}""", "éa", "e@0..1 Ì@0..1 ģ@0..1 a@1..2")]
    [InlineData("""{"type":"Replace","pattern":{"String":"--"},"content":"a"}""", "--b--", "ab@0..3 a@3..5")]
    [InlineData("""{"type":"Replace","pattern":{"Regex":"-+"},"content":""}""", "a---b", "ab@0..5")]
    [InlineData("""{"type":"Lowercase"}""", "İA", "i@0..1 Ì@0..1 ĩ@0..1 a@1..2")]
    [InlineData("""{"type":"Strip"}""", "  ab ", "ab@2..4")]
    [InlineData(
        """{"type":"Sequence","normalizers":[{"type":"NFD"},{"type":"StripAccents"}]}""", "xáb", "x@0..1 ab@1..3")]
    public void Normalizers_keep_the_places(string normalizer, string text, string expected)
    {
        var file = TinyTokenizer.ByteLevel("a b");
        file["normalizer"] = TinyTokenizer.Parse(normalizer);
        Assert.Equal(expected, Offsets(TinyTokenizer.Load(file), text));
    }

    [Theory]
    [InlineData("""{"type":"ByteLevel","add_prefix_space":true}""", "c ab", "Ġc@0..1 Ġ@1..2 ab@2..4")]
    [InlineData(
        """
        {"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"ByteLevel","add_prefix_space":false}]}
        """,
        "a  ab", "a@0..1 ab@3..5")]
    [InlineData(
        """{"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false},{"type":"Digits"}]}""",
        "ab1é", "ab@0..2 1@2..3 Ã@3..4 ©@3..4")]
    public void Pre_tokenizers_keep_the_places(string preTokenizer, string text, string expected)
    {
        var file = TinyTokenizer.ByteLevel("Ġ c", "a b");
        file["pre_tokenizer"] = TinyTokenizer.Parse(preTokenizer);
        Assert.Equal(expected, Offsets(TinyTokenizer.Load(file), text));
    }

    [Fact]
    public void Unknown_characters_have_their_places()
    {
        var file = TinyTokenizer.SentencePiece("▁ab", bytes: false, "▁ a");
        Assert.Equal("▁a@0..1 <unk>@1..3 b@3..4 <unk>@4..6", Offsets(TinyTokenizer.Load(file), "aéèb😀"));
        file["model"]!["unk_token"] = null;
        Assert.Equal("▁a@0..1 b@3..4", Offsets(TinyTokenizer.Load(file), "aéèb😀"));
        Assert.Equal(
            "[CLS]@0..0 a@0..1 ##b@1..2 [UNK]@3..5 ,@5..6 [SEP]@7..7",
            Offsets(TinyTokenizer.Load(TinyTokenizer.WordPiece("a", "##b", ",")), "Áb xy, "));
    }

    [Fact]
    public void Steps_can_be_left_out()
    {
        Assert.Equal(
            ["<s>", "a", "<unk>", "b"],
            TinyTokenizer.Load(WithoutBytes()).EncodeToTokens(
                "a b", out _, considerNormalization: false).Select(token => token.Value));
        // As one word: no space is cut off.
        var file = TinyTokenizer.ByteLevel("b Ġ", "a bĠ");
        Tokenizer tokenizer = TinyTokenizer.Load(file);
        Assert.Equal("a|b|Ġ|c", Values(tokenizer, "ab c"));
        Assert.Equal("abĠ|c", string.Join(
            '|', tokenizer.EncodeToTokens("ab c", out _, considerPreTokenization: false).Select(token => token.Value)));
        Assert.Equal(2, tokenizer.CountTokens("ab c", considerPreTokenization: false));
    }

    // <s>, ab, the two bytes of é, " c": by how many at most, where the cut is and how many there are.
    [Theory]
    [InlineData(1, 0, 1, 3, 1)]
    [InlineData(2, 2, 2, 3, 1)]
    [InlineData(3, 2, 2, 2, 3)]
    [InlineData(4, 3, 4, 0, 4)]
    [InlineData(5, 5, 5, 0, 5)]
    [InlineData(9, 5, 5, 0, 5)]
    public void A_cut_by_count_never_parts_a_character(int most, int index, int count, int fromEnd, int countFromEnd)
    {
        var file = TinyTokenizer.ByteLevel("Ġ c", "a b");
        file["added_tokens"] = new JsonArray(TinyTokenizer.Added(1, "\""));
        file["post_processor"] = Template();
        Tokenizer tokenizer = TinyTokenizer.Load(file);
        const string Text = "abé c";
        Assert.Equal("\"|ab|Ã|©|Ġc", Values(tokenizer, Text));
        Assert.Equal(index, tokenizer.GetIndexByTokenCount(Text, most, out var normalized, out var tokens));
        Assert.Equal((count, null), (tokens, normalized));
        Assert.Equal(fromEnd, tokenizer.GetIndexByTokenCountFromEnd(Text, most, out _, out tokens));
        Assert.Equal(countFromEnd, tokens);
        var ids = tokenizer.EncodeToIds(Text, most, out _, out var consumed);
        Assert.Equal((count, index), (ids.Count, consumed));
    }

    [Fact]
    public void The_most_tokens_asked_for_are_kept()
    {
        var ids = ByteLevel.EncodeToIds("ab cab", 2, out _, out var consumed);
        Assert.Equal((2, 4), (ids.Count, consumed));
        Assert.Throws<ArgumentOutOfRangeException>(() => ByteLevel.EncodeToIds("ab", 0, out _, out _));
        Assert.Equal(4, ByteLevel.GetIndexByTokenCountFromEnd("ab cab", 1, out _, out var count));
        Assert.Equal(1, count);
    }

    [Fact]
    public void Tokens_of_any_text_are_its_ids_in_order_and_within_it()
    {
        var file = TinyTokenizer.ByteLevel("Ġ c", "a b");
        file["normalizer"] = TinyTokenizer.Parse("""{"type":"NFKD"}""");
        Tokenizer decomposing = TinyTokenizer.Load(file);
        file["normalizer"] = TinyTokenizer.Parse("""{"type":"NFC"}""");
        Tokenizer[] all = [ByteLevel, SentencePiece, decomposing, TinyTokenizer.Load(
            file), TinyTokenizer.Load(TinyTokenizer.WordPiece("a", "##b", "c"))];
        const string Signs = "aabbc  \n\u0301\u0327\u0308é한\u1100\u1161\u11a8ﬁ\u2167\ud83d\ude00\udc00▁Ġ\u200b\u4e00İ.";
        var random = new Random(2);
        for (var round = 0; round < 2000; round++)
        {
            var text = string.Concat(
                Enumerable.Range(0, random.Next(20)).Select(_ => Signs[random.Next(Signs.Length)]));
            foreach (var tokenizer in all)
            {
                var tokens = tokenizer.EncodeToTokens(text, out _);
                Assert.Equal(tokenizer.EncodeToIds(text), tokens.Select(token => token.Id));
                var places = tokens.Select(
                    token => (Start: token.Offset.Start.Value, End: token.Offset.End.Value)).ToArray();
                Assert.All(places, place => Assert.True(place.Start <= place.End && place.End <= text.Length));
                Assert.Equal(places.Select(place => place.Start).Order(), places.Select(place => place.Start));
                Assert.Equal(places.Select(place => place.End).Order(), places.Select(place => place.End));
            }
        }
    }

    [Fact]
    public void Text_is_written_as_far_as_there_is_room()
    {
        var ids = ByteLevel.EncodeToIds("abé c");
        var room = new char[5];
        Assert.Equal(OperationStatus.Done, ByteLevel.Decode(ids, room, out var consumed, out var written));
        Assert.Equal((ids.Count, "abé c"), (consumed, new string(room, 0, written)));
        Assert.Equal(
            OperationStatus.DestinationTooSmall, ByteLevel.Decode(ids, room.AsSpan(0, 2), out consumed, out written));
        Assert.Equal((1, 2), (consumed, written));
        Assert.Equal(
            OperationStatus.DestinationTooSmall, ByteLevel.Decode(ids, room.AsSpan(0, 4), out consumed, out written));
        Assert.Equal((3, 3), (consumed, written));
        Assert.Equal(OperationStatus.Done, SentencePiece.Decode([], [], out consumed, out written));
        Assert.Equal((0, 0), (consumed, written));
    }

    private static JsonObject WithoutBytes()
    {
        var file = TinyTokenizer.SentencePiece("▁ab", bytes: false, "▁ a");
        file["post_processor"] = Template();
        return file;
    }

    private static HuggingFaceTokenizer MakeSentencePiece()
    {
        var file = TinyTokenizer.SentencePiece("▁ab", bytes: true, "▁ a");
        file["post_processor"] = Template();
        return TinyTokenizer.Load(file);
    }

    private static JsonNode Template() => TinyTokenizer.Parse(
        """
        {"type":"TemplateProcessing","pair":[],
        "single":[{"SpecialToken":{"id":"s","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "special_tokens":{"s":{"id":"s","ids":[1],"tokens":["<s>"]}}}
        """);

    private static string Values(Tokenizer tokenizer, string text) =>
        string.Join('|', tokenizer.EncodeToTokens(text, out _).Select(token => token.Value));

    private static string Offsets(Tokenizer tokenizer, string text) =>
        string.Join(' ', tokenizer.EncodeToTokens(text, out _).Select(token => $"{token.Value}@{token.Offset}"));
}
