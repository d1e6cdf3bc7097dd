using Peft.Prepare.Texts;

namespace Peft.Prepare.Tests.Texts;

public sealed class PassagesTests
{
    [Fact]
    public void Paragraphs_are_lines_that_are_not_empty_with_white_space_collapsed() =>
        Assert.Equal(["a b", "c"], Passages.ParagraphsOf("  a \t b\r\n\r\n \nc"));

    [Fact]
    public void Paragraphs_are_packed_as_long_as_they_fit()
    {
        var (half, rest) = (new string('a', 1000), new string('b', 999));
        Assert.Equal([$"{half} {rest}", "c"], Passages.Of([half, rest, "c"], " "));
        Assert.Equal([half, half], Passages.Of([half, half], " "));
        Assert.Equal([$"{half}\n{rest}", "c"], Passages.Packed([half, rest, "c"], "\n"));
    }

    [Fact]
    public void A_long_paragraph_is_cut_behind_the_last_sentence_that_fits()
    {
        var first = new string('a', 1500) + "! b;";
        Assert.Equal([first, "x " + new string('c', 1000)], Passages.Of([$"{first} x {new string('c', 1000)}"], "\n"));
    }

    [Fact]
    public void Without_a_sentence_in_the_second_half_it_is_cut_between_words_or_in_the_middle()
    {
        var (first, second) = ("a. " + new string('b', 1200), new string('c', 900));
        Assert.Equal([first, second], Passages.Of([$"{first} {second}"], "\n"));
        Assert.Equal([1000, 1500], Passages.Of([new string('a', 2500)], "\n").Select(passage => passage.Length));
    }

    [Fact]
    public void Numbers_in_names_are_ordered_by_their_value() =>
        Assert.Equal(
            ["chapter_1", "chapter_02", "chapter_9", "chapter_10", "chapter_10a", "contents", "extracts"],
            new[] { "extracts", "chapter_10a", "chapter_10", "chapter_9", "contents", "chapter_02", "chapter_1" }
                .Order(NaturalOrder.Instance));
}
