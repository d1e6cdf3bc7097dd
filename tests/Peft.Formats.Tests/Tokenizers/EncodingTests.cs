using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class EncodingTests
{
    [Fact]
    public void Merges_apply_by_rank_and_leftmost_first()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel("b c", "a b", "a a"));
        Assert.Equal("a|bc", tokenizer.Tokens("abc"));
        Assert.Equal("aa|a", tokenizer.Tokens("aaa"));
        Assert.Equal("ab|Ġ|ab", tokenizer.Tokens("ab ab"));
        Assert.Equal("", tokenizer.Tokens(""));
    }

    [Fact]
    public void A_word_in_the_vocabulary_is_taken_whole_where_merges_are_ignored()
    {
        var file = TinyTokenizer.ByteLevel("a b", "c d");
        file["model"]!["vocab"]!["abc"] = 258;
        Assert.Equal("ab|c", TinyTokenizer.Load(file).Tokens("abc"));
        file["model"]!["ignore_merges"] = true;
        Assert.Equal("abc", TinyTokenizer.Load(file).Tokens("abc"));
    }

    // PreTrainedTokenizerFast.__init__ adds them in the order of their ids; the library gives one that is in no
    // vocabulary the next free id.
    [Fact]
    public void Tokens_that_only_the_config_names_are_added_as_transformers_adds_them()
    {
        var file = TinyTokenizer.ByteLevel("a b");
        file["added_tokens"] = new JsonArray(TinyTokenizer.Added(257, "<|a|>"));
        const string Config = """
            {"added_tokens_decoder":{"259":{"content":"<|c|>","special":true},"258":{"content":"<|b|>","lstrip":true},
            "257":{"content":"<|a|>","special":true},"256":{"content":"ab"}},"eos_token":"<|c|>"}
            """;

        var tokenizer = TinyTokenizer.LoadText(file.ToJsonString(), Config);

        Assert.Equal("ab|<|a|>|x|<|b|>|y|<|c|>|ab", tokenizer.Tokens("ab<|a|>x <|b|>y<|c|>ab"));
        Assert.Equal((260, 259), (tokenizer.EndId, tokenizer.EosId));
        Assert.Equal((false, true), (tokenizer.IsSpecial(258), tokenizer.IsSpecial(259)));
        Assert.Equal("ab<|a|>x<|b|>y<|c|>ab", tokenizer.Decode(tokenizer.EncodeToIds("ab<|a|>x <|b|>y<|c|>ab")));
    }

    [Fact]
    public void A_long_word_merges_like_a_short_one()
    {
        string[] merges = ["a b", "b a", "a a", "b b", "ab ab", "ba ba", "aa b", "abab a", "bb bb"];
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel(merges));
        var random = new Random(5);
        for (var round = 0; round < 50; round++)
        {
            var text = string.Concat(Enumerable.Range(0, random.Next(40, 400)).Select(_ => "ab"[random.Next(2)]));
            Assert.Equal(string.Join('|', MergeByHand(text, merges)), tokenizer.Tokens(text));
        }
    }

    [Fact]
    public void A_word_of_a_million_letters_is_encoded()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel("a a", "aa aa"));
        Assert.Equal(250_000, tokenizer.CountTokens(new string('a', 1_000_000)));
        var sentencePiece = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: false, "a a", "aa aa"));
        Assert.Equal(250_001, sentencePiece.CountTokens(new string('a', 1_000_000)));
    }

    [Fact]
    public void Unknown_characters_become_bytes_or_one_unknown_token()
    {
        var withBytes = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: true, "▁ a"));
        Assert.Equal("▁a|<0xC3>|<0xA9>|b|<0x0A>", withBytes.Tokens("aéb\n"));
        Assert.Equal("▁|<0xF0>|<0x9F>|<0x98>|<0x80>", withBytes.Tokens("😀"));
        var without = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: false, "▁ a"));
        Assert.Equal("▁a|<unk>|b|<unk>", without.Tokens("aéèb😀"));
        var file = TinyTokenizer.SentencePiece("▁ab", bytes: false, "▁ a");
        file["model"]!["fuse_unk"] = false;
        Assert.Equal("▁a|<unk>|<unk>|b", TinyTokenizer.Load(file).Tokens("aéèb"));
        file["model"]!["unk_token"] = null;
        Assert.Equal("▁a|b", TinyTokenizer.Load(file).Tokens("aéèb"));
    }

    [Fact]
    public void Cutting_at_word_marks_changes_nothing_even_where_a_merge_crosses_them()
    {
        var crossing = TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: false, "b ▁", "b▁ a"));
        Assert.Equal("▁|a|b▁a|b▁|b", crossing.Tokens("ab ab b"));
    }

    [Fact]
    public void Merges_may_be_lists_and_a_merge_given_twice_counts_the_second_time()
    {
        var file = TinyTokenizer.ByteLevel("a b", "b c");
        file["model"]!["merges"] = TinyTokenizer.Parse("""[["a","b"],["b","c"],["a","b"]]""");
        Assert.Equal("a|bc", TinyTokenizer.Load(file).Tokens("abc"));
    }

    [Fact]
    public void Added_tokens_are_found_before_anything_else_the_longest_first()
    {
        var file = TinyTokenizer.ByteLevel("a b");
        file["added_tokens"] = TinyTokenizer.Parse("[]");
        file["added_tokens"]!.AsArray().Add((System.Text.Json.Nodes.JsonNode)TinyTokenizer.Added(257, "<x>"));
        file["added_tokens"]!.AsArray().Add(
            (System.Text.Json.Nodes.JsonNode)TinyTokenizer.Added(258, "<x><y>", special: false));
        var tokenizer = TinyTokenizer.Load(file);
        Assert.Equal("ab|<x>|ab|<x><y>|<|x", tokenizer.Tokens("ab<x>ab<x><y><x"));
        Assert.Equal(259, tokenizer.VocabularySize);
        Assert.Equal((true, false), (tokenizer.IsSpecial(257), tokenizer.IsSpecial(258)));
        Assert.Equal("abab<x><y>", tokenizer.Decode(tokenizer.EncodeToIds("ab<x>ab<x><y>"), skipSpecialTokens: true));
        Assert.Equal("ab<x>", tokenizer.Decode(tokenizer.EncodeToIds("ab<x>")));
    }

    [Theory]
    [InlineData("lstrip", "a  <x>b", "a|<x>|b")]
    [InlineData("rstrip", "a<x> \n b", "a|<x>|b")]
    [InlineData("single_word", "a<x> <x> <x>", "a|<|x|>|Ġ|<x>|Ġ|<x>")]
    public void Flags_of_added_tokens_are_kept(string flag, string text, string expected)
    {
        var file = TinyTokenizer.ByteLevel();
        var token = TinyTokenizer.Added(256, "<x>");
        token[flag] = true;
        file["added_tokens"] = new System.Text.Json.Nodes.JsonArray(token);
        Assert.Equal(expected, TinyTokenizer.Load(file).Tokens(text));
    }

    [Fact]
    public void A_normalized_added_token_is_looked_for_in_the_normalized_text()
    {
        var file = TinyTokenizer.SentencePiece("▁ab<s>/", bytes: false);
        file["added_tokens"]![1]!["normalized"] = true;
        var tokenizer = TinyTokenizer.Load(file);
        Assert.Equal("▁|a|<|s|>", tokenizer.Tokens("a<s>"));
        Assert.Equal("▁|a|<s>", tokenizer.Tokens("a <s>"));
        Assert.Equal("▁|a|</s>|▁|b", tokenizer.Tokens("a</s>b"));
    }

    [Theory]
    [InlineData("""{"type":"BertProcessing","sep":["b",1],"cls":["a",0]}""", "0,7,1", "0,7,1,8,1")]
    [InlineData(
        """{"type":"RobertaProcessing","sep":["b",1],"cls":["a",0],"trim_offsets":true}""", "0,7,1", "0,7,1,1,8,1")]
    [InlineData("""{"type":"Sequence","processors":[{"type":"ByteLevel"}]}""", "7", "7,8")]
    [InlineData(
        """
        {"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
        "pair":[{"Sequence":{"id":"B","type_id":0}},{"SpecialToken":{"id":"x","type_id":0}},
        {"Sequence":{"id":"A","type_id":0}}],
        "special_tokens":{"x":{"id":"x","ids":[3,4],"tokens":["c","d"]}}}
        """,
        "3,4,7", "8,3,4,7")]
    public void Post_processors_add_their_tokens(string processor, string single, string pair)
    {
        var file = TinyTokenizer.ByteLevel();
        file["post_processor"] = TinyTokenizer.Parse(processor);
        var tokenizer = TinyTokenizer.Load(file);
        Assert.Equal(single, string.Join(',', tokenizer.EncodeToIds("(")));
        Assert.Equal(pair, string.Join(',', tokenizer.EncodeToIds("(", ")", addSpecialTokens: true)));
        Assert.Equal("7", string.Join(',', tokenizer.EncodeToIds("(", addSpecialTokens: false)));
    }

    [Fact]
    public void Several_threads_get_the_same_ids()
    {
        var tokenizer = TinyTokenizer.Load(TinyTokenizer.ByteLevel("a b", "ab ab", "Ġ c"));
        var texts = Enumerable.Range(0, 500).Select(i => $"abab cab {i} abc" + new string('a', i % 50)).ToArray();
        var expected = texts.Select(tokenizer.Tokens).ToArray();
        Assert.Equal(expected, texts.AsParallel().AsOrdered().Select(tokenizer.Tokens).ToArray());
    }

    private static List<string> MergeByHand(string text, string[] merges)
    {
        var symbols = text.Select(c => c.ToString()).ToList();
        while (true)
        {
            var best = (Rank: int.MaxValue, At: 0);
            for (var i = 0; i + 1 < symbols.Count; i++)
            {
                var rank = Array.IndexOf(merges, $"{symbols[i]} {symbols[i + 1]}");
                if (rank >= 0 && rank < best.Rank)
                    best = (rank, i);
            }

            if (best.Rank == int.MaxValue)
                return symbols;
            symbols[best.At] += symbols[best.At + 1];
            symbols.RemoveAt(best.At + 1);
        }
    }
}
