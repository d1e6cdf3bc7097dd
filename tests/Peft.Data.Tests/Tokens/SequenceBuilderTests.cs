using Peft.Data.Batches;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;

namespace Peft.Data.Tests.Tokens;

public class SequenceBuilderTests
{
    private static readonly DataOptions Eight = new() { MaxLength = 8 };

    [Theory]
    [InlineData("ab", "cd", "<abcd>", "...cd>", 0)]
    [InlineData("abcd", "ef", "<abcdef>", ".....ef>", 0)]
    [InlineData("abcdefgh", "ij", "<efghij>", ".....ij>", 4)]
    [InlineData("abc", "uvwxyz", "<uvwxyz>", ".uvwxyz>", 3)]
    public void Only_the_answer_is_learned_and_the_prompt_is_cut_from_the_left(
        string prompt, string answer, string ids, string learned, int cut) =>
        Check(Build(Eight, Given.Characters, prompt, answer), ids, learned, cut);

    [Fact]
    public void Train_on_prompt_learns_all_but_the_first_token() =>
        Check(Build(Eight with { TrainOnPrompt = true }, Given.Characters, "ab", "cd"), "<abcd>", ".abcd>", 0);

    [Fact]
    public void Text_learns_all_but_the_first_token()
    {
        Check(Build(Eight, Given.Characters, "", "abc", isText: true), "<abc>", ".abc>", 0);
        Check(Build(Eight, Given.NoSpecials, "", "abc", isText: true), "abc>", ".bc>", 0);
    }

    [Fact]
    public void Without_add_eos_there_is_none() =>
        Check(Build(Eight with { AddEos = false }, Given.Characters, "ab", "cd"), "<abcd", "...cd", 0);

    [Fact]
    public void Without_a_prefix_one_token_of_the_prompt_stays_for_the_answer_to_be_predicted_from() =>
        Check(Build(Eight, Given.NoSpecials, "abc", "uvwxyz"), "cuvwxyz>", ".uvwxyz>", 2);

    [Fact]
    public void A_long_answer_is_an_error_that_names_the_row()
    {
        var error = Assert.Throws<DataRowException>(() => Build(Eight, Given.Characters, "a", "uvwxyz0"));
        Assert.Equal(
            "t.csv, row 5: the answer has 8 tokens (with end-of-text); expected at most 7 of max_length 8."
            + " Raise `max_length`, or set `on_long_answer: skip` or `cut`.",
            error.Message);
        error = Assert.Throws<DataRowException>(() => Build(Eight, Given.Characters, "", "uvwxyz0", isText: true));
        Assert.EndsWith("or `packing: true`.", error.Message);
    }

    [Fact]
    public void A_long_answer_can_be_skipped() =>
        Assert.Null(Build(Eight with { OnLongAnswer = LongAnswerPolicy.Skip }, Given.Characters, "a", "uvwxyz0"));

    [Fact]
    public void A_long_answer_can_be_cut_and_then_no_end_is_learned()
    {
        var cut = Eight with { OnLongAnswer = LongAnswerPolicy.Cut };
        Check(Build(cut, Given.Characters, "ab", "uvwxyz0123"), "<uvwxyz0", ".uvwxyz0", 5);
        Check(Build(cut, Given.NoSpecials, "ab", "uvwxyz0123"), "buvwxyz0", ".uvwxyz0", 4);
    }

    [Fact]
    public void A_long_text_goes_on_in_further_sequences_where_they_are_packed()
    {
        var packing = Eight with { Packing = true, OnLongAnswer = LongAnswerPolicy.Skip };
        var pieces = Pieces(packing, Given.Characters, "", "abcdefghijkl", isText: true);
        Assert.Equal(["<abcdefg", "<hijkl>"], pieces.Select(piece => Given.Text(piece.Ids)));
        Assert.All(pieces, piece => Assert.Equal((1, 0), (piece.Learned[0].Start, piece.CutTokens)));
        // Without a prefix a last piece of one token cannot be learned: it is counted as cut.
        pieces = Pieces(packing, Given.NoSpecials, "", "abcdefgh", isText: true);
        Assert.Equal(("abcdefgh", 1), (Given.Text(Assert.Single(pieces).Ids), pieces[0].CutTokens));
        Assert.Empty(Pieces(packing, Given.Characters, "a", "abcdefghi", isText: false));
    }

    [Fact]
    public void A_single_token_has_nothing_to_be_predicted_from()
    {
        var error = Assert.Throws<DataRowException>(
            () => Build(Eight with { AddEos = false }, Given.NoSpecials, "", "a", isText: true));
        Assert.StartsWith(
            "t.csv, row 5: a single token, which nothing can predict; expected at least two tokens. Set `add_eos:"
                + " true`",
            error.Message);
    }

    // "cd" is one token wherever it stands.
    private static readonly TextEncoder Pairing = Given.Characters with
    {
        Encode = text => [.. text.Replace("cd", "Z", StringComparison.Ordinal).Select(c => (int)c)],
    };

    [Fact]
    public void Prompt_and_answer_have_the_ids_of_the_whole_text_and_a_token_across_the_border_is_learned()
    {
        Check(Build(Eight, Pairing, "ab", "cde"), "<abZe>", "...Ze>", 0);
        Check(Build(Eight, Pairing, "abc", "de"), "<abZe>", "...Ze>", 0);
        Check(Build(Eight, Pairing, "abcd", "e"), "<abZe>", "....e>", 0);
        Check(Build(Eight with { TrainOnPrompt = true }, Pairing, "abc", "de"), "<abZe>", ".abZe>", 0);
    }

    [Fact]
    public void An_answer_learns_no_space_that_a_tokenizer_puts_before_a_text()
    {
        var spacing = Given.Characters with
        {
            Encode = text => text.Length == 0 ? [] : [.. ("_" + text).Select(c => (int)c)],
        };
        Check(Build(Eight, spacing, "ab", "cd"), "<_abcd>", "....cd>", 0);
        Check(Build(Eight, spacing, "", "cd"), "<_cd>", "._cd>", 0);
    }

    [Fact]
    public void A_begin_or_end_that_a_template_spells_out_stands_once()
    {
        Check(Build(Eight, Given.Characters, "\u0001ab", "cd\u0002"), "<abcd>", "...cd>", 0);
        Check(Build(Eight, Given.Characters, "\u0001", "cd"), "<cd>", ".cd>", 0);
        Check(Build(Eight, Given.Characters, "", "\u0001cd\u0002", isText: true), "<cd>", ".cd>", 0);
        // The prompt's own end is not the answer's.
        Check(Build(Eight, Given.Characters, "ab\u0002", "cd"), "<ab>cd>", "....cd>", 0);
        Check(Build(Eight, Given.Characters, "ab\u0002", ""), "<ab>>", "....>", 0);
        // The begin stays where the prompt is cut.
        Check(Build(Eight, Given.Characters, "\u0001abcdefgh", "ij\u0002"), "<efghij>", ".....ij>", 4);
        // Any end that the model knows ends an answer.
        var others = Given.Characters with { Ends = [Given.Eos, 'x'] };
        Check(Build(Eight, others, "ab", "cdx"), "<abcdx", "...cdx", 0);
    }

    private static TokenSequence? Build(
        DataOptions options, TextEncoder encoder, string prompt, string answer, bool isText = false) =>
        Pieces(options, encoder, prompt, answer, isText) is [var one] ? one : null;

    private static IReadOnlyList<TokenSequence> Pieces(
        DataOptions options, TextEncoder encoder, string prompt, string answer, bool isText) =>
        new SequenceBuilder(encoder, options).Build(
            new Example(prompt, answer, null, new RowId("t.csv", 5)), isText, 0);

    private static void Check(TokenSequence? built, string ids, string learned, int cut)
    {
        var sequence = built;
        Assert.NotNull(sequence);
        Assert.Equal(ids, Given.Text(sequence.Ids));
        Assert.Equal(
            learned, Given.Text(sequence.Ids.Select((id, at) => sequence.IsLearned(at) ? id : TokenBatch.Ignored)));
        Assert.Equal(cut, sequence.CutTokens);
    }
}
