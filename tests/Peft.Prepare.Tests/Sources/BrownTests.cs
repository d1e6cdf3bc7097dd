using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.Sources;

public sealed class BrownTests
{
    [Theory]
    [InlineData("nn", "noun")]
    [InlineData("NP$-TL", "noun")]
    [InlineData("nrs", "noun")]
    [InlineData("bedz*", "verb")]
    [InlineData("md", "verb")]
    [InlineData("jjr-hl", "adjective")]
    [InlineData("ap", "adjective")]
    [InlineData("*", "adverb")]
    [InlineData("wrb", "adverb")]
    [InlineData("pp$", "determiner")]
    [InlineData("at-tl-hl", "determiner")]
    [InlineData("abn", "determiner")]
    [InlineData("pp$$", "pronoun")]
    [InlineData("ppss", "pronoun")]
    [InlineData("wps", "pronoun")]
    [InlineData("in-nc", "preposition")]
    [InlineData("cs", "conjunction")]
    [InlineData("cd-tl", "number")]
    [InlineData("to", "particle")]
    [InlineData("rp", "particle")]
    [InlineData("dt$", null)]
    [InlineData("inn", null)]
    [InlineData("ppss+hvz", null)]
    [InlineData("fw-nn", null)]
    [InlineData("uh", null)]
    [InlineData(".", null)]
    public void A_tag_becomes_one_of_ten_parts_of_speech_or_none(string tag, string? expected) =>
        Assert.Equal(expected, BrownTags.PartOfSpeech(tag));

    [Fact]
    public void A_word_ends_at_its_last_slash_and_doubled_marks_are_read_once() =>
        Assert.Equal(
            [new("1/2", "number"), new("here", "adverb"), new("?", null), new(".", null), new(".", null)],
            Brown.Tokens("1/2/cd  here/rb /nn nothing ?/. ?/. ./. ./."));

    [Fact]
    public void A_sentence_is_put_together_as_print_has_it() =>
        Assert.Equal(
            "\"No\", he said (to her): \"go\"!",
            Brown.Joined(
                Brown.Tokens(
                "``/`` No/rb ''/'' ,/, he/pps said/vbd (/( to/in her/ppo )/) :/: ``/`` go/vb ''/'' !/. !/.")));

    [Fact]
    public void Only_the_texts_of_the_corpus_are_read()
    {
        using var packages = new SmallPackages().Npm(
            Brown.Package, "1",
            ("ca01", "\n\ta/at  dog/nn ./.\n\n/x\n"), ("ca02x", "b/nn"), ("cats.txt", "c/nn"), ("cs01", "d/nn"));
        var sentence = Assert.Single(Brown.Sentences(packages.Packages));
        Assert.Equal(("ca01", "a dog."), (sentence.Document, sentence.Text));
        Assert.Equal([new("a", "determiner"), new("dog", "noun")], sentence.Words);
        Assert.Equal(["a dog."], Assert.Single(Brown.Texts(packages.Packages)).Paragraphs);
    }
}
