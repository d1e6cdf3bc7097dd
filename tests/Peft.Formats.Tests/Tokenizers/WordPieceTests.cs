using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class WordPieceTests
{
    private static readonly string[] Tokens =
        ["a", "ab", "##b", "##bc", "##c", ",", "e", "\u4e00", "##😀", "\ufffd", "d", "##d"];

    [Theory]
    [InlineData("abc", "ab|##c")]
    [InlineData("abbc", "ab|##bc")]
    [InlineData("abx a", "[UNK]|a")]
    [InlineData("ÁB,é", "ab|,|e")]
    [InlineData("a\u4e00a", "a|\u4e00|a")]
    [InlineData("a😀 😀a", "a|##😀|[UNK]")]
    [InlineData(" \t\n", "")]
    [InlineData("a[SEP]b[CLS]", "a|[SEP]|[UNK]|[CLS]")]
    [InlineData("a\ud800b\u200b", "ab")]
    public void The_longest_piece_comes_first(string text, string expected) =>
        Assert.Equal($"[CLS]|{expected}|[SEP]".Replace(
            "||", "|", StringComparison.Ordinal), TinyTokenizer.Load(TinyTokenizer.WordPiece(Tokens)).Tokens(text));

    [Fact]
    public void A_word_too_long_in_characters_is_unknown()
    {
        var file = TinyTokenizer.WordPiece(Tokens);
        Assert.Equal("[UNK]", Words(TinyTokenizer.Load(file), "a" + new string('b', 100)));
        Assert.Equal(
            99, TinyTokenizer.Load(file).EncodeToIds("a" + new string('b', 99), addSpecialTokens: false).Count);
        file["model"]!["max_input_chars_per_word"] = 3;
        var tokenizer = TinyTokenizer.Load(file);
        Assert.Equal("a|##😀|##😀", Words(tokenizer, "a😀😀"));
        Assert.Equal("[UNK]", Words(tokenizer, "a😀😀😀"));
        Assert.Equal("ab|##c", Words(tokenizer, "abc"));
        Assert.Equal("[UNK]", Words(tokenizer, "abcc"));
    }

    [Fact]
    public void A_lone_surrogate_is_a_replacement_character()
    {
        var file = TinyTokenizer.WordPiece(Tokens);
        file["normalizer"] = null;
        Assert.Equal("\ufffd|##d", Words(TinyTokenizer.Load(file), "\ud800d"));
    }

    [Fact]
    public void Ids_need_not_be_dense_and_the_prefix_may_be_another()
    {
        var tokenizer = TinyTokenizer.LoadText(
            """
            {"model":{"type":"WordPiece","unk_token":"u","continuing_subword_prefix":"@",
            "vocab":{"u":7,"\ufeffa":0,"@b":900}}}
            """);
        Assert.Equal([0, 900, 900], tokenizer.EncodeToIds("\ufeffabb"));
        Assert.Equal([7], tokenizer.EncodeToIds("a"));
    }

    [Fact]
    public void Pieces_are_those_of_a_search_by_hand()
    {
        var random = new Random(11);
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.WordPiece(Tokens));
        for (var round = 0; round < 500; round++)
        {
            var word = string.Concat(Enumerable.Range(0, random.Next(1, 30)).Select(_ => "abcd"[random.Next(4)]));
            Assert.Equal((word, ByHand(word)), (word, Words(tokenizer, word)));
        }
    }

    private static string ByHand(string word)
    {
        var pieces = new List<string>();
        for (var at = 0; at < word.Length;)
        {
            var mark = at == 0 ? "" : "##";
            var end = word.Length;
            while (end > at && !Tokens.Contains(mark + word[at..end]))
                end--;
            if (end == at)
                return "[UNK]";
            pieces.Add(mark + word[at..end]);
            at = end;
        }

        return string.Join('|', pieces);
    }

    private static string Words(HuggingFaceTokenizer tokenizer, string text) =>
        string.Join('|', tokenizer.EncodeToIds(text, addSpecialTokens: false).Select(tokenizer.IdToToken));
}
