using System.Text.Json.Nodes;
using Peft.Formats.Tokenizers;

namespace Peft.Formats.Tests.Tokenizers;

public sealed class TextEncoderTests
{
    // "The cat:" is three tokens everywhere.
    [SharedTheory]
    [InlineData("llama2", "The cat:", " yes", "450 6635 29901", "4874")]
    [InlineData("llama2", "The cat:", "yes", "450 6635 29901", "3582")]
    [InlineData("llama2", "The cat:", "\nyes", "450 6635 29901", "13 3582")]
    [InlineData("llama2", "The cat: ", "yes", "450 6635 29901", "4874")]
    [InlineData("llama2", "The cat: ", "7", "450 6635 29901 29871", "29955")]
    [InlineData("llama2", "The cat:\n", "yes", "450 6635 29901 13", "3582")]
    [InlineData("llama2", "", "yes", "", "4874")]
    [InlineData("mistral-v0.1", "The cat:", " yes", "415 5255 28747", "5081")]
    [InlineData("mistral-v0.1", "The cat:", "yes", "415 5255 28747", "9780")]
    [InlineData("mistral-v0.1", "The cat: ", "yes", "415 5255 28747", "5081")]
    [InlineData("gpt2", "The cat:", " yes", "464 3797 25", "3763")]
    [InlineData("gpt2", "The cat:", "yes", "464 3797 25", "8505")]
    [InlineData("gpt2", "The cat: ", "yes", "464 3797 25", "3763")]
    [InlineData("llama3", "The cat:", "yes", "791 8415 25", "9891")]
    [InlineData("llama3", "The cat:", "\nyes", "791 8415", "512 9891")]
    [InlineData("llama3", "The cat:\n", "yes", "791 8415 512", "9891")]
    [InlineData("qwen3", "The cat:", "\nyes", "785 8251", "510 9693")]
    public void A_continuation_has_the_ids_that_it_has_in_the_whole_text(
        string name, string prompt, string answer, string given, string learned)
    {
        var tokenizer = HuggingFaceTokenizer.Load(SharedAssets.Path("tokenizers", name));
        var (whole, from) = TextEncoder.Of(tokenizer).Pair(prompt, answer);
        Assert.Equal(given, string.Join(' ', whole.Take(from)));
        Assert.Equal(learned, string.Join(' ', whole.Skip(from)));
        Assert.Equal(tokenizer.EncodeToIds(prompt + answer, addSpecialTokens: false), whole);
    }

    [SharedTheory]
    [InlineData("llama2", "The cat: ", "1 450 6635 29901", " ")]
    [InlineData("llama2", "The cat:  ", "1 450 6635 29901", "  ")]
    [InlineData("llama2", "The cat:", "1 450 6635 29901", "")]
    [InlineData("llama2", "The cat:\n", "1 450 6635 29901 13", "")]
    [InlineData("llama2", "", "1", "")]
    [InlineData("mistral-v0.1", "<s>The cat: ", "1 415 5255 28747", " ")]
    [InlineData("gpt2", "The cat: ", "464 3797 25", " ")]
    [InlineData("gpt2", " ", "220", "")]
    [InlineData("llama3", "The cat: ", "128000 791 8415 25", " ")]
    [InlineData("llama3", "The cat:\n", "128000 791 8415 512", "")]
    [InlineData("qwen3", "The cat:\n\n", "785 8251 1447", "")]
    public void White_space_that_the_next_words_token_begins_with_is_held_back_from_a_prompt(
        string name, string prompt, string ids, string held)
    {
        var encoded = TextEncoder.Of(HuggingFaceTokenizer.Load(SharedAssets.Path("tokenizers", name))).Prompt(prompt);
        Assert.Equal((ids, held), (string.Join(' ', encoded.Ids), encoded.HeldBack));
    }

    [Fact]
    public void A_space_before_every_text_is_put_before_the_whole_text_alone()
    {
        foreach (var scheme in new[] { "first", "always" })
        {
            var file = TinyTokenizer.SentencePiece("▁abc:", bytes: true, "▁ a", "▁ b");
            file["normalizer"] = null;
            file["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Metaspace", ["replacement"] = "▁", ["prepend_scheme"] = scheme, ["split"] = false,
            };
            Assert.Equal(("▁a|:", "b"), Tokens(file, "a:", "b"));
            Assert.Equal(("▁a|:", "▁b"), Tokens(file, "a:", " b"));
        }

        var bytes = TinyTokenizer.ByteLevel("Ġ a", "Ġ b");
        bytes["pre_tokenizer"]!["add_prefix_space"] = true;
        Assert.Equal(("Ġa|:", "b"), Tokens(bytes, "a:", "b"));
        Assert.Equal(("Ġa|:", "Ġb"), Tokens(bytes, "a:", " b"));
    }

    [Fact]
    public void A_prefix_or_an_end_that_a_text_spells_out_is_not_added_again()
    {
        var encoder = Encoder(prefix: [1], ends: [2, 9]);
        Assert.Equal([5, 6], encoder.Text("1 5 6"));
        Assert.Equal([5, 1, 6], encoder.Text("5 1 6"));
        Assert.Equal([1, 5, 6], encoder.Prompt("1 5 6").Ids);
        Assert.Equal([1, 5, 6], encoder.Prompt("5 6").Ids);
        Assert.Equal([1], encoder.Prompt("1").Ids);
        var pair = encoder.Pair("1 5", " 6 2");
        Assert.Equal([5, 6, 2], pair.Whole);
        Assert.Equal(1, pair.From);

        Assert.Equal([2], encoder.EndOf([5, 6]));
        Assert.Equal([2], encoder.EndOf([]));
        Assert.Empty(encoder.EndOf([5, 2]));
        Assert.Empty(encoder.EndOf([5, 9]));
        Assert.Equal([2], encoder.EndOf([2, 5]));
        Assert.Empty(Encoder([], []).EndOf([5]));
    }

    [Fact]
    public void A_text_ends_at_the_tokenizers_end_and_at_all_of_the_models()
    {
        var tokenizer = TinyTokenizer.LoadText(
            TinyTokenizer.SentencePiece(
                "▁ab", bytes: false).ToJsonString(), """{"eos_token":"</s>","pad_token":"<unk>"}""");
        var encoder = TextEncoder.Of(tokenizer, [4, 2, 5], 6);
        Assert.Equal([2, 4, 5], encoder.Ends);
        Assert.Equal((2, 0), (encoder.EndId, encoder.PadId));

        // A tokenizer that names none.
        encoder = TextEncoder.Of(TinyTokenizer.Load(TinyTokenizer.SentencePiece("▁ab", bytes: false)), [4, 5]);
        Assert.Equal([4, 5], encoder.Ends);
        Assert.Equal((4, 4), (encoder.EndId, encoder.PadId));
        Assert.Equal([4], encoder.Start);
    }

    [Fact]
    public void Ids_that_the_model_lacks_are_refused_where_they_are_needed_alone()
    {
        var json = TinyTokenizer.SentencePiece("▁ab", bytes: false).ToJsonString();
        // Ids 0 to 5; padding is never seen, and nothing here uses 5.
        var encoder = TextEncoder.Of(TinyTokenizer.LoadText(json, """{"eos_token":"</s>","pad_token":"b"}"""), [2], 5);
        Assert.Equal(2, encoder.PadId);
        Assert.Null(encoder.UnknownIn(encoder.Text("a"), "row 1"));
        Assert.Equal(
            "row 1: a token with id 5; expected ids below the model's vocab_size 5. "
                + "Use the tokenizer of the base model.",
            encoder.UnknownIn(encoder.Text("b"), "row 1")?.ToString());

        var tokenizer = TinyTokenizer.LoadText(json, """{"eos_token":"b"}""");
        var error = Assert.Throws<FaultsException>(() => TextEncoder.Of(tokenizer, [2, 7], 5));
        const string Expected = "expected an id below the model's vocab_size 5.";
        Assert.Equal(
            $"""
            the model's tokenizer has 2 faults:
              tokenizer     'b' with id 5; {Expected} Use the tokenizer of the base model.
              eos_token_id  7; {Expected} Correct config.json or generation_config.json.
            """,
            error.Message);
    }

    [Fact]
    public void A_continuation_does_not_repeat_the_white_space_that_was_held_back()
    {
        var prompt = new EncodedPrompt([1], "  ");
        Assert.Equal("yes", prompt.Continuation("  yes"));
        Assert.Equal(" yes", prompt.Continuation("   yes"));
        Assert.Equal("\nyes", prompt.Continuation(" \nyes"));
        Assert.Equal("yes", prompt.Continuation("yes"));

        var held = prompt.HeldBack;
        Assert.Equal("", EncodedPrompt.Continuation(" ", ref held));
        Assert.Equal("", EncodedPrompt.Continuation("", ref held));
        Assert.Equal("yes", EncodedPrompt.Continuation(" yes", ref held));
        Assert.Equal(" no", EncodedPrompt.Continuation(" no", ref held));
    }

    private static (string Given, string Learned) Tokens(JsonObject file, string prompt, string answer)
    {
        var tokenizer = TinyTokenizer.Load(file);
        var (whole, from) = TextEncoder.Of(tokenizer).Pair(prompt, answer);
        var tokens = whole.Select(id => tokenizer.IdToToken(id));
        return (string.Join('|', tokens.Take(from)), string.Join('|', tokens.Skip(from)));
    }

    // Texts are ids written out.
    private static TextEncoder Encoder(int[] prefix, int[] ends) => new(
        text => [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)], prefix, ends, 0);
}
