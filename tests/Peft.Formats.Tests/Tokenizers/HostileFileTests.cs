using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class HostileFileTests
{
    private const string Model = """{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}""";

    [Theory]
    [InlineData("", "well-formed JSON")]
    [InlineData("[]", "no JSON object")]
    [InlineData("{\"model\":", "well-formed JSON")]
    [InlineData("{} {}", "well-formed JSON")]
    [InlineData("{}", "no \"model\"")]
    [InlineData("""{"model":{},"model":{}}""", "the key 'model' twice")]
    [InlineData("""{"model":null}""", "no \"model\" object")]
    [InlineData("""{"model":{"a":1,"a":2}}""", "the key 'model.a' twice")]
    [InlineData("""{"model":{"type":"BPE"}}""", "no \"vocab\"")]
    [InlineData("""{"model":{"type":"BPE","vocab":{}}}""", "no \"merges\"")]
    [InlineData("""{"model":{"type":7}}""", "model.type - '7' - a text")]
    [InlineData("""{"model":{"type":"Unigram","vocab":[]}}""", "'Unigram' - supported: BPE")]
    [InlineData("""{"model":{"type":"BPE","vocab":[],"merges":[]}}""", "model.vocab - no object")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}""", "model.vocab.'a' - the id '-1'")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}""", "the id '1.5'")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":"x"},"merges":[]}}""", "the id 'x'")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}}""", "a whole number from 0 to 2097151")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":2000000000},"merges":[]}}""", "a whole number from 0 to 2097151")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}""", "the id 0, which 'a' has already")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}""", "the same token before")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"\ud800":0},"merges":[]}}""", "not Unicode")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":{}}}""", "model.merges - no list")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}""", "model.merges[0] - 'a'")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a a"]}}""", "\"left right\"")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}""", "model.merges[0]")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}}""", "a list of more than two")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":[1]}}""", "model.merges[0]")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["a x"]}}""", "the token 'x', which is not in the vocabulary")]
    [InlineData("""{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}}""", "the token 'aa', which is not in the vocabulary")]
    [InlineData("""{"model":{"type":"BPE","unk_token":"u","vocab":{"a":0},"merges":[]}}""", "model.unk_token - 'u'")]
    [InlineData("""{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}""", "encoding at random")]
    [InlineData("""{"model":{"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0},"merges":[]}}""", "affixes are not supported")]
    [InlineData("""{"model":{"type":"BPE","fuse_unk":1,"vocab":{"a":0},"merges":[]}}""", "true or false")]
    [InlineData("""{"model":{"type":"WordPiece","vocab":{"a":0}}}""", "no \"unk_token\"")]
    [InlineData("""{"model":{"type":"WordPiece","unk_token":"u"}}""", "no \"vocab\"")]
    [InlineData("""{"model":{"type":"WordPiece","unk_token":"u","vocab":{"a":0}}}""", "model.unk_token - 'u' - a token of the vocabulary")]
    [InlineData("""{"model":{"type":"WordPiece","unk_token":"","vocab":{"":0}}}""", "model.unk_token - ''")]
    [InlineData("""{"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"a\nb":1}}}""", "a line break - tokens within a line")]
    [InlineData("""{"model":{"max_input_chars_per_word":1000000000,"unk_token":"u","vocab":{"u":0}}}""", "a whole number from 1 to 256")]
    public void A_bad_file_is_refused_with_a_typed_error(string json, string expected)
    {
        var error = Assert.Throws<TokenizerFileException>(() => TinyTokenizer.LoadText(json));
        Assert.Contains("tokenizer.json", error.Message, StringComparison.Ordinal);
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("normalizer", """{"type":"Precompiled"}""", "normalizer - 'Precompiled' - supported: NFC")]
    [InlineData("normalizer", """{"type":"Replace","pattern":{"String":""},"content":""}""", "an empty text")]
    [InlineData("normalizer", "[]", "an object")]
    [InlineData("pre_tokenizer", """{"type":"UnicodeScripts"}""", "'UnicodeScripts' - supported: ByteLevel, Split")]
    [InlineData("pre_tokenizer", """{"type":"Sequence","pretokenizers":[{"type":"Foo"}]}""", "pre_tokenizer.pretokenizers[0] - 'Foo'")]
    [InlineData("pre_tokenizer", """{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"}""", "pre_tokenizer.pattern - the pattern '(a'")]
    [InlineData("pre_tokenizer", """{"type":"Split","pattern":{"String":"a"},"behavior":"Sideways"}""", "'Sideways' - supported: Removed")]
    [InlineData("pre_tokenizer", """{"type":"Metaspace","prepend_scheme":"perhaps"}""", "'perhaps' - supported: always, first, never")]
    [InlineData("decoder", """{"type":"CTC"}""", "decoder - 'CTC' - supported: ByteLevel")]
    [InlineData("decoder", """{"type":"Strip","content":"ab","start":0,"stop":0}""", "one character")]
    [InlineData("decoder", """{"type":"Strip","content":"a","start":-1,"stop":0}""", "a whole number from 0")]
    [InlineData("post_processor", """{"type":"Foo"}""", "post_processor - 'Foo' - supported: ByteLevel, TemplateProcessing")]
    [InlineData("post_processor", """{"type":"BertProcessing","sep":["x",77],"cls":["y",0]}""", "the id 77")]
    [InlineData("post_processor", """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"pair":[],"special_tokens":{}}""", "a name listed in special_tokens")]
    [InlineData("post_processor", """{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}],"pair":[]}""", "the same text twice")]
    [InlineData("added_tokens", """[{"id":0,"content":"z"}]""", "'z' with id 0, which is 'a' in the vocabulary")]
    [InlineData("added_tokens", """[{"id":1,"content":"a"}]""", "its id in the vocabulary, 0")]
    [InlineData("added_tokens", """[{"id":7,"content":"z"},{"id":7,"content":"y"}]""", "added_tokens[1] - the id 7 a second time")]
    [InlineData("added_tokens", """[{"id":7,"content":"z"},{"id":8,"content":"z"}]""", "the token 'z' a second time")]
    [InlineData("added_tokens", """[{"id":-7,"content":"z"}]""", "added_tokens[0].id - '-7'")]
    [InlineData("added_tokens", """{"id":7}""", "a list")]
    public void A_bad_part_is_refused_by_its_place(string key, string part, string expected)
    {
        var file = new JsonObject { ["model"] = JsonNode.Parse(Model), [key] = JsonNode.Parse(part) };
        var error = Assert.Throws<TokenizerFileException>(() => TinyTokenizer.Load(file));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Deep_nesting_is_refused()
    {
        var deep = string.Concat(Enumerable.Repeat("""{"type":"Sequence","normalizers":[""", 500));
        var json = $$"""{"model":{{Model}},"normalizer":{{deep}}{{string.Concat(Enumerable.Repeat("]}", 500))}}}""";
        Assert.Throws<TokenizerFileException>(() => TinyTokenizer.LoadText(json));
    }

    [Fact]
    public void A_missing_file_says_what_to_give()
    {
        var error = Assert.Throws<TokenizerFileException>(() => HuggingFaceTokenizer.Load(Path.Combine(Path.GetTempPath(), "no-such-model")));
        Assert.Contains("a directory with tokenizer.json", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Begin_and_end_may_be_texts_or_objects()
    {
        var tokenizer = TinyTokenizer.LoadText(
            $$"""{"model":{{Model}}}""", """{"bos_token":"a","eos_token":{"content":"b"},"pad_token":null}""");
        Assert.Equal((0, 1, null), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
    }

    [Fact]
    public void A_pattern_of_great_length_is_refused()
    {
        var split = $$"""{"type":"Split","pattern":{"Regex":"{{new string('(', 100_000)}}"},"behavior":"Isolated"}""";
        var error = Assert.Throws<TokenizerFileException>(() => TinyTokenizer.LoadText($$"""{"model":{{Model}},"pre_tokenizer":{{split}}}"""));
        Assert.Contains("a pattern of 100,000 characters - at most 10,000", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("pre_tokenizer", "pretokenizers", """{"type":"ByteLevel"}""", 2, "pre_tokenizer - ByteLevel 2 times - once")]
    [InlineData("pre_tokenizer", "pretokenizers", """{"type":"Whitespace"}""", 65, "pre_tokenizer - 65 steps - at most 64")]
    [InlineData("pre_tokenizer", "pretokenizers", """{"type":"Metaspace","replacement":"  "}""", 1, "replacement - '  ' - one character")]
    [InlineData("normalizer", "normalizers", """{"type":"NFC"}""", 65, "normalizer - 65 steps - at most 64")]
    [InlineData("decoder", "decoders", """{"type":"Fuse"}""", 65, "decoder - 65 steps - at most 64")]
    [InlineData("normalizer", "normalizers", """{"type":"Replace","pattern":{"String":"a"},"content":"aa"}""", 40, "steps that make a text 1.1E+12 times as long")]
    [InlineData("normalizer", "normalizers", """{"type":"Replace","pattern":{"Regex":"a"},"content":"aa"}""", 11, "2048 times as long - at most 1024 times")]
    [InlineData("decoder", "decoders", """{"type":"Replace","pattern":{"String":"ab"},"content":"abab"}""", 11, "2048 times as long - at most 1024 times")]
    public void A_chain_that_could_multiply_a_text_is_refused(string key, string list, string step, int times, string expected)
    {
        var steps = string.Join(',', Enumerable.Repeat(step, times));
        var json = $$$"""{"model":{{{Model}}},"{{{key}}}":{"type":"Sequence","{{{list}}}":[{{{steps}}}]}}""";
        Assert.Contains(expected, Assert.Throws<TokenizerFileException>(() => TinyTokenizer.LoadText(json)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_long_prefix_is_refused()
    {
        var json = $$$"""{"model":{{{Model}}},"normalizer":{"type":"Prepend","prepend":"{{{new string('x', 257)}}}"}}""";
        Assert.Contains("prepend - 257 characters - at most 256", Assert.Throws<TokenizerFileException>(() => TinyTokenizer.LoadText(json)).Message, StringComparison.Ordinal);
    }
}
