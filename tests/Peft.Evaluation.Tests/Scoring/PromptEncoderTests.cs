using Peft.Evaluation.Scoring;
using Peft.Formats;
using Peft.Formats.Tokenizers;
using Peft.Tests;

namespace Peft.Evaluation.Tests.Scoring;

public sealed class PromptEncoderTests
{
    private readonly PromptEncoder _encoder = new(TextEncoder.Of(NumberTokenizer.Of(64, bos: 1), [2]), 8);

    [Fact]
    public void A_continuation_is_what_the_whole_text_has_beyond_the_context()
    {
        var pair = _encoder.Pair("5 6", " 7 8");
        Assert.Equal([1, 5, 6, 7, 8], pair.Ids);
        Assert.Equal((3, false), (pair.From, pair.IsTruncated));
    }

    [Fact]
    public void White_space_at_the_contexts_end_belongs_to_the_continuation()
    {
        // Were the texts encoded apart, "Q: " would end in a token of its own that no training text has there.
        using var letters = new Letters();
        var encoder = new PromptEncoder(TextEncoder.Of(letters.Tokenizer), 100);
        var (apart, joined) = (encoder.Pair("ab ", "ab"), encoder.Pair("ab", " ab"));
        Assert.Equal(joined.Ids, apart.Ids);
        Assert.Equal(joined.From, apart.From);
    }

    [Fact]
    public void A_token_across_the_border_is_scored_and_not_lost()
    {
        // "ab" is one token: nothing of the whole text lies beyond the context "a".
        using var letters = new Letters();
        var encoder = new PromptEncoder(TextEncoder.Of(letters.Tokenizer, [0]), 100);
        var whole = letters.Tokenizer.EncodeToIds("cab", addSpecialTokens: false);
        Assert.Equal(letters.Tokenizer.EncodeToIds("ca", addSpecialTokens: false).Count, whole.Count);

        var pair = encoder.Pair("ca", "b");
        Assert.Equal(whole, pair.Ids);
        Assert.Equal(whole.Count - 1, pair.From);
    }

    [Fact]
    public void A_token_across_the_border_is_scored_whole_where_more_tokens_follow_it()
    {
        // The harness would score what stands behind as many tokens as the context has alone: "ca" and then "c" without
        // the "b".
        using var letters = new Letters();
        var encoder = new PromptEncoder(TextEncoder.Of(letters.Tokenizer, [0]), 100);
        var whole = letters.Tokenizer.EncodeToIds("cabcc", addSpecialTokens: false);
        var pair = encoder.Pair("ca", "bcc");
        Assert.Equal(whole, pair.Ids);
        Assert.Equal(1, pair.From);
        Assert.Equal("ab", letters.Tokenizer.IdToToken(pair.Ids[1]));
    }

    [Theory]
    [InlineData("1 5 6", " 7")]
    [InlineData("5 6", " 7")]
    public void A_begin_that_a_prompt_spells_out_stands_once(string context, string continuation)
    {
        Assert.Equal([1, 5, 6, 7], _encoder.Pair(context, continuation).Ids);
        Assert.Equal(3, _encoder.Pair(context, continuation).From);
        Assert.Equal([1, 5, 6], _encoder.Prompt(context, 2).Prompt.Ids);
        Assert.Equal([1, 5, 6], _encoder.Windows(context).Single().Ids);
    }

    [Fact]
    public void What_the_model_lacks_or_has_no_room_for_is_refused()
    {
        var encoder = new PromptEncoder(TextEncoder.Of(NumberTokenizer.Of(64, bos: 1), [2], 60), 8);
        Assert.Equal([1, 5, 59], encoder.Pair("5", " 59").Ids);
        Assert.Equal(
            "a text to be scored: a token with id 60; expected ids below the model's vocab_size 60. "
            + "Use the tokenizer of the base model.",
            Assert.Throws<UserException>(() => encoder.Pair("5", " 60")).Message);
        Assert.StartsWith(
            "the text '5 60': a token with id 60;",
            Assert.Throws<UserException>(() => encoder.Prompt("5 60", 2)).Message, StringComparison.Ordinal);

        Assert.Equal([1, 6], encoder.Prompt("5 6", 6).Prompt.Ids);
        Assert.Equal(
            "max_new_tokens: 7; expected at most 6 in a context of 8 tokens.",
            Assert.Throws<UserException>(() => encoder.Prompt("5 6", 7)).Message);
    }

    [Fact]
    public void A_first_token_that_nothing_stands_before_counts_as_cut_off()
    {
        var encoder = new PromptEncoder(TextEncoder.Of(NumberTokenizer.Of(64)), 4);
        var fits = encoder.Pair("5", " 6 7 8 9");
        Assert.Equal((1, false), (fits.From, fits.IsTruncated));
        var lost = encoder.Pair("5", " 6 7 8 9 10");
        Assert.Equal([6, 7, 8, 9, 10], lost.Ids);
        Assert.Equal((1, true), (lost.From, lost.IsTruncated));
    }

    [Fact]
    public void Without_a_context_the_first_token_follows_the_beginning_or_the_end_of_a_text()
    {
        Assert.Equal([1, 7], _encoder.Pair("", "7").Ids);
        Assert.Equal(1, _encoder.Pair("", "7").From);
        var plain = new PromptEncoder(TextEncoder.Of(NumberTokenizer.Of(64), [2]), 8).Pair(" ", "7 8");
        Assert.Equal([2, 7, 8], plain.Ids);
        Assert.Equal(1, plain.From);
        Assert.Equal([2], new PromptEncoder(TextEncoder.Of(NumberTokenizer.Of(64), [2]), 8).Prompt("", 3).Prompt.Ids);
    }

    [Fact]
    public void What_is_too_long_loses_its_beginning_and_says_so()
    {
        // 8 tokens go in; the last token scored is never an input.
        var pair = _encoder.Pair("11 12 13 14 15 16 17 18", " 19 20");
        Assert.Equal([1, 13, 14, 15, 16, 17, 18, 19, 20], pair.Ids);
        Assert.Equal((7, true), (pair.From, pair.IsTruncated));
        Assert.False(_encoder.Pair("11 12 13 14 15 16", " 19 20").IsTruncated);

        var answer = _encoder.Pair("5", string.Concat(Enumerable.Range(10, 12).Select(i => $" {i}")));
        Assert.Equal((9, 1, true), (answer.Ids.Count, answer.From, answer.IsTruncated));

        var cut = _encoder.Prompt("11 12 13 14 15 16", 4);
        Assert.Equal([1, 14, 15, 16], cut.Prompt.Ids);
        Assert.True(cut.IsTruncated);
        var whole = _encoder.Prompt("11 12 13", 4);
        Assert.Equal([1, 11, 12, 13], whole.Prompt.Ids);
        Assert.False(whole.IsTruncated);
    }

    [Fact]
    public void Windows_score_every_token_of_a_text_once()
    {
        var text = Enumerable.Range(3, 21).ToList();
        var windows = _encoder.Windows(string.Join(' ', text));
        Assert.Equal([(9, 1), (9, 1), (9, 4)], windows.Select(window => (window.Ids.Count, window.From)));
        Assert.Equal(text, windows.SelectMany(window => window.Ids.Skip(window.From)));
        Assert.Equal([1, 10, 15], windows.Select(window => window.Ids[0]));
        Assert.Empty(_encoder.Windows(""));
    }

    [Fact]
    public void Windows_are_those_of_the_harness_own_example()
    {
        // lm-evaluation-harness 0.4.9, lm_eval/api/model.py, loglikelihood_rolling: tokens 0 to 9, at most 4; here each
        // is 10 more.
        var windows = new PromptEncoder(TextEncoder.Of(NumberTokenizer.Of(64, bos: 1), [2]), 4)
            .Windows("10 11 12 13 14 15 16 17 18 19");
        Assert.Equal(
            [[1, 10, 11, 12, 13], [13, 14, 15, 16, 17], [15, 16, 17, 18, 19]], windows.Select(window => window.Ids));
        Assert.Equal([1, 1, 3], windows.Select(window => window.From));
    }

    /// <summary>A byte-level tokenizer that has learned "ab".</summary>
    private sealed class Letters : IDisposable
    {
        private readonly TempFolder _folder = new();

        public Letters()
        {
            BpeTrainer.Train(
                ["ab ab ab ab"], new BpeTrainerOptions { VocabSize = 258, EosToken = "<|endoftext|>" }, _folder.Path);
            Tokenizer = HuggingFaceTokenizer.Load(_folder.Path);
        }

        public HuggingFaceTokenizer Tokenizer { get; }

        public void Dispose() => _folder.Dispose();
    }
}
