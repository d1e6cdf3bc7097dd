using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class HostileFileTests
{
    private const string Model = """{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}""";

    [Theory]
    [InlineData(
        "",
        "tokenizer.json: line 1: there is no JSON; expected well-formed JSON. Download the file again.")]
    [InlineData("[]", "tokenizer.json: not a JSON object; expected an object in braces.")]
    [InlineData(
        "{\"model\":",
        "tokenizer.json: line 1: an object or list is not closed; expected well-formed JSON. Download the file again.")]
    [InlineData(
        "{} {}",
        "tokenizer.json: line 1: something follows the end of the JSON; expected well-formed JSON. "
            + "Download the file again.")]
    [InlineData(
        "{}",
        "tokenizer.json: no \"model\" object; expected a tokenizer.json of Hugging Face tokenizers. Download the "
            + "file again.")]
    [InlineData(
        """{"model":{},"model":{}}""", "tokenizer.json: the key 'model' occurs twice; expected every key once.")]
    [InlineData(
        """{"model":null}""",
        "tokenizer.json: no \"model\" object; expected a tokenizer.json of Hugging Face tokenizers. Download the "
            + "file again.")]
    [InlineData(
        """{"model":{"a":1,"a":2}}""", "tokenizer.json: the key 'model.a' occurs twice; expected every key once.")]
    [InlineData(
        """{"model":{"type":"BPE"}}""",
        "tokenizer.json model: no \"vocab\"; expected a BPE model with vocab and merges.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{}}}""",
        "tokenizer.json model: no \"merges\"; expected a BPE model with vocab and merges.")]
    [InlineData("""{"model":{"type":7}}""", "tokenizer.json model.type: '7'; expected a string.")]
    [InlineData(
        """{"model":{"type":"WordLevel","vocab":[]}}""",
        "tokenizer.json model.type: 'WordLevel' is not supported; expected BPE (byte-level as in GPT-2, Llama 3 and "
            + "Qwen, or with byte fallback as in Llama 2 and Mistral), Unigram (as in T5) or WordPiece (as in BERT). "
            + "Choose a base model with such a tokenizer.")]
    [InlineData(
        """{"model":{"type":"Unigram","vocab":[]}}""",
        "tokenizer.json model: no \"unk_id\"; expected a Unigram model with vocab and unk_id.")]
    [InlineData(
        """{"model":{"type":"Unigram","vocab":[],"unk_id":0}}""",
        "tokenizer.json model.vocab: no tokens; expected a list of [token, score].")]
    [InlineData(
        """{"model":{"type":"Unigram","vocab":[["a",0],["b"]],"unk_id":0}}""",
        "tokenizer.json model.vocab[1]: not a token with a score; expected [token, number].")]
    [InlineData(
        """{"model":{"type":"Unigram","vocab":[["a",0],["a",-1]],"unk_id":0}}""",
        "tokenizer.json model.vocab[1]: 'a' is listed twice; expected every token once.")]
    [InlineData(
        """{"model":{"type":"Unigram","vocab":[["a",0]],"unk_id":1}}""",
        "tokenizer.json model.unk_id: '1'; expected a whole number from 0 to 0.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":[],"merges":[]}}""",
        "tokenizer.json model.vocab: not an object; expected an object of tokens and their ids.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the id '-1'; expected a whole number from 0 to 2097151.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":1.5},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the id '1.5'; expected a whole number from 0 to 2097151.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":"x"},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the id 'x'; expected a whole number from 0 to 2097151.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":99999999999},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the id '99999999999'; expected a whole number from 0 to 2097151.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":2000000000},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the id '2000000000'; expected a whole number from 0 to 2097151.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}}""",
        "tokenizer.json model.vocab.'b': the id 0, which 'a' already has; expected every token and every id once.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}}""",
        "tokenizer.json model.vocab.'a': the token is listed twice; expected every token and every id once.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"\ud800":0},"merges":[]}}""",
        "tokenizer.json model.vocab: a string that is not Unicode at byte 1; expected paired surrogates.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":{}}}""",
        "tokenizer.json model.merges: not a list; expected a list of merges.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a"]}}""",
        "tokenizer.json model.merges[0]: 'a'; expected \"left right\" or [\"left\", \"right\"].")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a a"]}}""",
        "tokenizer.json model.merges[0]: 'a a a'; expected \"left right\" or [\"left\", \"right\"].")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a"]]}}""",
        "tokenizer.json model.merges[0]: a list without two strings; expected \"left right\" or [\"left\", "
            + "\"right\"].")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}}""",
        "tokenizer.json model.merges[0]: a list of more than two; expected \"left right\" or [\"left\", \"right\"].")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":[1]}}""",
        "tokenizer.json model.merges[0]: neither a string nor a list; expected \"left right\" or [\"left\", "
            + "\"right\"].")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a x"]}}""",
        "tokenizer.json model.merges[0]: the token 'x', which is not in the vocabulary. Download the file again.")]
    [InlineData(
        """{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a"]}}""",
        "tokenizer.json model.merges[0]: the token 'aa', which is not in the vocabulary. Download the file again.")]
    [InlineData(
        """{"model":{"type":"BPE","unk_token":"u","vocab":{"a":0},"merges":[]}}""",
        "tokenizer.json model.unk_token: 'u'; expected a token of the vocabulary or null.")]
    [InlineData(
        """{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}""",
        "tokenizer.json model.dropout: '0.1', and BPE dropout is not supported; expected null or 0.")]
    [InlineData(
        """{"model":{"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0},"merges":[]}}""",
        "tokenizer.json model.end_of_word_suffix: '</w>', and affixes are not supported; expected null or an empty "
            + "string.")]
    [InlineData(
        """{"model":{"type":"BPE","fuse_unk":1,"vocab":{"a":0},"merges":[]}}""",
        "tokenizer.json model.fuse_unk: '1'; expected true or false.")]
    [InlineData(
        """{"model":{"type":"WordPiece","vocab":{"a":0}}}""",
        "tokenizer.json model: no \"unk_token\"; expected a WordPiece model with vocab and unk_token.")]
    [InlineData(
        """{"model":{"type":"WordPiece","unk_token":"u"}}""",
        "tokenizer.json model: no \"vocab\"; expected a WordPiece model with vocab and unk_token.")]
    [InlineData(
        """{"model":{"type":"WordPiece","unk_token":"u","vocab":{"a":0}}}""",
        "tokenizer.json model.unk_token: 'u'; expected a token of the vocabulary.")]
    [InlineData(
        """{"model":{"type":"WordPiece","unk_token":"","vocab":{"":0}}}""",
        "tokenizer.json model.unk_token: ''; expected a token of the vocabulary.")]
    [InlineData(
        """{"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"a\nb":1}}}""",
        "tokenizer.json model.vocab.'a\\u000ab': a line break; expected tokens without line breaks.")]
    [InlineData(
        """{"model":{"max_input_chars_per_word":1000000000,"unk_token":"u","vocab":{"u":0}}}""",
        "tokenizer.json model.max_input_chars_per_word: '1000000000'; expected a whole number from 1 to 256.")]
    public void A_bad_file_is_refused_by_name(string json, string expected)
    {
        AssertRefused(expected, () => TinyTokenizer.LoadText(json));
    }

    [Theory]
    [InlineData(
        "normalizer", """{"type":"Nmt"}""",
        "tokenizer.json normalizer: 'Nmt' is not supported; expected NFC, NFD, NFKC, NFKD, Lowercase, "
            + "Prepend, Replace, Strip, StripAccents, BertNormalizer, Precompiled or Sequence. Choose a base model "
            + "whose tokenizer does without it.")]
    [InlineData(
        "normalizer", """{"type":"Replace","pattern":{"String":""},"content":""}""",
        "tokenizer.json normalizer.pattern: an empty pattern; expected a pattern of at least one character.")]
    [InlineData("normalizer", "[]", "tokenizer.json normalizer: '[]'; expected an object.")]
    [InlineData(
        "pre_tokenizer", """{"type":"UnicodeScripts"}""",
        "tokenizer.json pre_tokenizer: 'UnicodeScripts' is not supported; expected ByteLevel, Split, Metaspace, "
            + "Digits, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer or Sequence. Choose a base model "
            + "whose tokenizer does without it.")]
    [InlineData(
        "pre_tokenizer", """{"type":"Sequence","pretokenizers":[{"type":"Foo"}]}""",
        "tokenizer.json pre_tokenizer.pretokenizers[0]: 'Foo' is not supported; expected ByteLevel, Split, "
            + "Metaspace, Digits, Whitespace, WhitespaceSplit, Punctuation, BertPreTokenizer or Sequence. Choose a "
            + "base model whose tokenizer does without it.")]
    [InlineData(
        "pre_tokenizer", """{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"}""",
        "tokenizer.json pre_tokenizer.pattern: the pattern '(a' (Invalid pattern '(a' at offset 2. Not enough )'s); "
            + "expected a regular expression that .NET can run.")]
    [InlineData(
        "pre_tokenizer", """{"type":"Split","pattern":{"String":"a"},"behavior":"Sideways"}""",
        "tokenizer.json pre_tokenizer.behavior: 'Sideways'; expected Removed, Isolated, MergedWithPrevious, "
            + "MergedWithNext or Contiguous.")]
    [InlineData(
        "pre_tokenizer", """{"type":"Metaspace","prepend_scheme":"perhaps"}""",
        "tokenizer.json pre_tokenizer.prepend_scheme: 'perhaps'; expected always, first or never.")]
    [InlineData(
        "decoder", """{"type":"CTC"}""",
        "tokenizer.json decoder: 'CTC' is not supported; expected ByteLevel, ByteFallback, Fuse, Replace, Strip, "
            + "Metaspace, WordPiece or Sequence. Choose a base model whose tokenizer does without it.")]
    [InlineData(
        "decoder", """{"type":"Strip","content":"ab","start":0,"stop":0}""",
        "tokenizer.json decoder.content: 'ab'; expected one character.")]
    [InlineData(
        "decoder", """{"type":"Strip","content":"a","start":-1,"stop":0}""",
        "tokenizer.json decoder.start: '-1'; expected a whole number from 0 to 1048576.")]
    [InlineData(
        "post_processor", """{"type":"Foo"}""",
        "tokenizer.json post_processor: 'Foo' is not supported; expected ByteLevel, TemplateProcessing, "
            + "BertProcessing, RobertaProcessing or Sequence. Choose a base model whose tokenizer does without it.")]
    [InlineData(
        "post_processor", """{"type":"BertProcessing","sep":["x",77],"cls":["y",0]}""",
        "tokenizer.json post_processor: the id 77; expected an id of the vocabulary or of an added token.")]
    [InlineData(
        "post_processor",
        """{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],"pair":[],"special_tokens":{}}""",
        "tokenizer.json post_processor.single[0].SpecialToken.id: 'x'; expected a name listed in special_tokens.")]
    [InlineData(
        "post_processor",
        """{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A"}},{"Sequence":{"id":"A"}}],"pair":[]}""",
        "tokenizer.json post_processor: the same text twice; expected every text at most once in a template.")]
    [InlineData(
        "added_tokens", """[{"id":0,"content":"z"}]""",
        "tokenizer.json added_tokens[0]: 'z' with id 0, which is 'a' in the vocabulary; expected an unused id.")]
    [InlineData(
        "added_tokens", """[{"id":1,"content":"a"}]""",
        "tokenizer.json added_tokens[0]: 'a' with id 1; expected its id in the vocabulary, 0.")]
    [InlineData(
        "added_tokens", """[{"id":7,"content":"z"},{"id":7,"content":"y"}]""",
        "tokenizer.json added_tokens[1]: the id 7 is used twice; expected every id once.")]
    [InlineData(
        "added_tokens", """[{"id":7,"content":"z"},{"id":8,"content":"z"}]""",
        "tokenizer.json added_tokens[1]: the token 'z' is listed twice; expected every token once.")]
    [InlineData(
        "added_tokens", """[{"id":-7,"content":"z"}]""",
        "tokenizer.json added_tokens[0].id: '-7'; expected a whole number from 0 to 2097151.")]
    [InlineData("added_tokens", """{"id":7}""", "tokenizer.json added_tokens: '{\"id\":7}'; expected a list.")]
    public void A_bad_part_is_refused_by_its_place(string key, string part, string expected)
    {
        var file = new JsonObject { ["model"] = JsonNode.Parse(Model), [key] = JsonNode.Parse(part) };
        AssertRefused(expected, () => TinyTokenizer.Load(file));
    }

    [Fact]
    public void A_tokenizer_config_that_is_another_value_and_not_Unicode_is_refused()
    {
        using var folder = new TempFolder();
        folder.Put("tokenizer.json", TinyTokenizer.ByteLevel().ToJsonString());
        folder.Put("tokenizer_config.json", [.. "\"[h"u8, 0xD7, .. "brw]\""u8]);
        Assert.Equal(
            "DIR/tokenizer_config.json: a value that is not Unicode; expected an object.",
            folder.Message<UserException>(() => HuggingFaceTokenizer.Load(folder.Path)));
    }

    [Fact]
    public void Deep_nesting_is_refused()
    {
        var deep = string.Concat(Enumerable.Repeat("""{"type":"Sequence","normalizers":[""", 500));
        var json = $$"""{"model":{{Model}},"normalizer":{{deep}}{{string.Concat(Enumerable.Repeat("]}", 500))}}}""";
        AssertRefused(
            "tokenizer.json: line 1: objects and lists are nested too deeply; expected well-formed JSON. "
                + "Download the file again.",
            () => TinyTokenizer.LoadText(json));
    }

    [Fact]
    public void A_missing_file_says_what_to_give()
    {
        var path = Path.Combine(Path.GetTempPath(), "no-such-model");
        var error = Assert.Throws<UserException>(() => HuggingFaceTokenizer.Load(path));
        Assert.Equal(
            $"{path}: no such file; expected a directory with tokenizer.json. "
                + "Give the directory of a Hugging Face model.",
            error.Message);
    }

    [Fact]
    public void Begin_and_end_may_be_texts_or_objects()
    {
        var tokenizer = TinyTokenizer.LoadText(
            $$"""{"model":{{Model}}}""", """{"bos_token":"a","eos_token":{"content":"b"},"pad_token":null}""");
        Assert.Equal((0, 1, null), (tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
    }

    [Fact]
    public void A_special_token_that_the_tokenizer_lacks_is_refused_and_a_padding_token_does_no_harm()
    {
        var error = Assert.Throws<FaultsException>(() => TinyTokenizer.LoadText(
            $$"""{"model":{{Model}}}""",
            """{"bos_token":"<s>","eos_token":{"content":"<|end|>"},"pad_token":"[PAD]","unk_token":"a"}"""));
        const string Advice = "Correct it, or write null: transformers would add the token, and the model was not"
            + " trained on it.";
        Assert.EndsWith(
            $"""
             has 2 faults:
              tokenizer_config.json bos_token  '<s>', which tokenizer.json does not have; expected one of the tokenizer's tokens. {Advice}
              tokenizer_config.json eos_token  '<|end|>', which tokenizer.json does not have; expected one of the tokenizer's tokens. {Advice}
            """, error.Message);
        Assert.Null(TinyTokenizer.LoadText($$"""{"model":{{Model}}}""", """{"pad_token":"[PAD]"}""").PadId);
    }

    [Theory]
    [InlineData("3", "<x>", "3 (no fault)")]
    [InlineData(
        "7", "<x>", "'<x>' with id 7; expected 3, the id that transformers gives it beside tokenizer.json. "
            + "Save the tokenizer again with transformers, which writes both files.")]
    [InlineData(
        "2", "a", "'a' with id 2; expected 0, the id that transformers gives it beside tokenizer.json. "
            + "Save the tokenizer again with transformers, which writes both files.")]
    [InlineData("-1", "<x>", "the key '-1'; expected an id from 0 to 2097151.")]
    [InlineData("9999999999", "<x>", "the key '9999999999'; expected an id from 0 to 2097151.")]
    public void A_token_of_the_config_has_the_id_that_transformers_would_give_it(
        string id, string content, string expected)
    {
        string Load()
        {
            try
            {
                var config = "{\"added_tokens_decoder\":{" + $$"""
                    "{{id}}":{"content":"{{content}}"}
                    """ + "}}";
                return $"{TinyTokenizer.LoadText($$"""{"model":{{Model}}}""", config).EndId - 1} (no fault)";
            }
            catch (UserException fault)
            {
                return fault.Message[(fault.Message.IndexOf(": ", StringComparison.Ordinal) + 2)..];
            }
        }

        Assert.Equal(expected, Load());
    }

    [Fact]
    public void A_pattern_of_great_length_is_refused()
    {
        var split = $$"""{"type":"Split","pattern":{"Regex":"{{new string('(', 100_000)}}"},"behavior":"Isolated"}""";
        AssertRefused(
            "tokenizer.json pre_tokenizer.pattern: a pattern of 100,000 characters; expected at most 10,000.",
            () => TinyTokenizer.LoadText($$"""{"model":{{Model}},"pre_tokenizer":{{split}}}"""));
    }

    [Theory]
    [InlineData(
        "pre_tokenizer", "pretokenizers", """{"type":"ByteLevel"}""", 2,
        "tokenizer.json pre_tokenizer: ByteLevel 2 times; expected at most one.")]
    [InlineData(
        "pre_tokenizer", "pretokenizers", """{"type":"Whitespace"}""", 65,
        "tokenizer.json pre_tokenizer: 65 steps; expected at most 64.")]
    [InlineData(
        "pre_tokenizer", "pretokenizers", """{"type":"Metaspace","replacement":"  "}""", 1,
        "tokenizer.json pre_tokenizer.pretokenizers[0].replacement: '  '; expected one character.")]
    [InlineData(
        "normalizer", "normalizers", """{"type":"NFC"}""", 65,
        "tokenizer.json normalizer: 65 steps; expected at most 64.")]
    [InlineData(
        "decoder", "decoders", """{"type":"Fuse"}""", 65, "tokenizer.json decoder: 65 steps; expected at most 64.")]
    [InlineData(
        "normalizer", "normalizers", """{"type":"Replace","pattern":{"String":"a"},"content":"aa"}""", 40,
        "tokenizer.json normalizer: steps that make a text 1.1E+12 times as long; expected at most 1024 times as "
            + "long.")]
    [InlineData(
        "normalizer", "normalizers", """{"type":"Replace","pattern":{"Regex":"a"},"content":"aa"}""", 11,
        "tokenizer.json normalizer: steps that make a text 2048 times as long; expected at most 1024 times as long.")]
    [InlineData(
        "decoder", "decoders", """{"type":"Replace","pattern":{"String":"ab"},"content":"abab"}""", 11,
        "tokenizer.json decoder: steps that make a text 2048 times as long; expected at most 1024 times as long.")]
    public void A_chain_that_could_multiply_a_text_is_refused(
        string key, string list, string step, int times, string expected)
    {
        var steps = string.Join(',', Enumerable.Repeat(step, times));
        var json = $$$"""{"model":{{{Model}}},"{{{key}}}":{"type":"Sequence","{{{list}}}":[{{{steps}}}]}}""";
        AssertRefused(expected, () => TinyTokenizer.LoadText(json));
    }

    [Fact]
    public void A_long_prefix_is_refused()
    {
        var prefix = new string('x', 257);
        var json = $$$"""{"model":{{{Model}}},"normalizer":{"type":"Prepend","prepend":"{{{prefix}}}"}}""";
        AssertRefused(
            "tokenizer.json normalizer.prepend: 257 characters; expected at most 256.",
            () => TinyTokenizer.LoadText(json));
    }

    // The folder before the file's name is a temporary one.
    private static void AssertRefused(string expected, Action load)
    {
        var message = Assert.Throws<UserException>(load).Message;
        Assert.Equal(expected, message[message.IndexOf("tokenizer.json", StringComparison.Ordinal)..]);
    }
}
