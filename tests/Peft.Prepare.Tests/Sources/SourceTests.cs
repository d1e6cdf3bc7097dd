using System.Text.Json;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.Sources;

public sealed class SourceTests
{
    [Fact]
    public void Of_a_word_the_first_pronunciation_is_taken()
    {
        const string Dictionary =
            ";;; remark\nA.B  EY1 B IY0\r\nREAD  R EH1 D\nREAD(1)  R IY1 D\nREAD  R IY1 D\n'TIS  T IH1 Z\n";
        using var packages = new SmallPackages().Npm(CmuDict.Package, "1", ("data/dict.txt", Dictionary));
        Assert.Equal(
            [new("a.b", "EY1 B IY0"), new("read", "R EH1 D")],
            CmuDict.Read(packages.Packages));
    }

    [Theory]
    [InlineData("B AH0 N AE1 N AH0", "B AH N AE N AH", "0 1 0", 3, "AE N AH")]
    [InlineData("T EH1 L AH0 F OW2 N", "T EH L AH F OW N", "1 0 2", 3, "OW N")]
    [InlineData("AY1", "AY", "1", 1, "AY")]
    [InlineData("G AH0 M", "G AH M", "0", 1, null)]
    public void A_rhyme_begins_with_the_last_stressed_vowel_and_each_vowel_is_a_syllable(
        string stressed, string phonemes, string stress, int syllables, string? rhyme)
    {
        var word = new Pronunciation("word", stressed);
        Assert.Equal(
            (phonemes, stress, syllables, rhyme), (word.Phonemes, word.Stress, word.Syllables, word.Rhyme));
    }

    [Fact]
    public void A_synset_is_its_first_word_and_its_definition_without_examples()
    {
        const string Nouns = """
              1 This is the licence.
            00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which  exists; "an entity; a thing", "more"
            00001741 04 n 02 break_dance 0 x 0 000 | a dance : "break dancing"  
            00001742 04 n 01 other 0 000 | a dance
            00001743 04 n 01 short 0 000 | tiny
            """;
        const string Adjectives = "00001740 00 a 01 galore(ip) 0 000 | in great numbers  \n";
        using var packages = new SmallPackages().Npm(
            WordNet.Package, "1", ("dict/data.noun", Nouns), ("dict/data.verb", ""), ("dict/data.adj", Adjectives),
            ("dict/data.adv", ""));
        Assert.Equal(
            [
                new("n00001740", "entity", "that which exists",
                    "that which exists; \"an entity; a thing\", \"more\"", "noun", "noun.Tops"),
                new("n00001741", "break dance", "a dance", "a dance : \"break dancing\"", "noun", "noun.act"),
                new("a00001740", "galore", "in great numbers", "in great numbers", "adjective", "adj.all"),
            ],
            WordNet.Synsets(packages.Packages));
    }

    [Fact]
    public void A_synset_points_at_others_from_all_of_its_words_or_from_one()
    {
        const string Adjectives = """
            00001740 00 a 01 able(p) 0 002 ! 00002098 a 0101 = 05207437 n 0000 | having power
            00002098 00 s 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 un_able 0 001 ! 00001740 s 0a01 | not able
            """;
        using var packages = new SmallPackages().Npm(
            WordNet.Package, "1", ("dict/data.noun", ""), ("dict/data.verb", ""), ("dict/data.adj", Adjectives),
            ("dict/data.adv", ""));
        var links = WordNet.Links(packages.Packages).ToList();
        Assert.Equal(["a00001740", "a00002098"], links.Select(link => link.Id));
        Assert.Equal(["able"], links[0].Words);
        Assert.Equal([new("!", "a00002098", 1, 1), new("=", "n05207437", 0, 0)], links[0].Pointers);
        Assert.Equal(["a", "b", "c", "d", "e", "f", "g", "h", "i", "un able"], links[1].Words);
        Assert.Equal([new("!", "a00001740", 10, 1)], links[1].Pointers);
        Assert.Equal("adjective", links[1].PartOfSpeech);
    }

    [Fact]
    public void Irregular_forms_come_once_for_each_part_of_speech_with_their_first_lemma()
    {
        using var packages = new SmallPackages().Exceptions(
            ("noun.exc",
                "mice mouse\nmice mus\naide-de-camps aide-de-camp other\nsame same\nalone\nfeet_first foot_first\n"),
            ("verb.exc", "mice mouse\n"));
        Assert.Equal(
            [
                new("mice", "mouse", "noun"), new("aide-de-camps", "aide-de-camp", "noun"),
                new("feet first", "foot first", "noun"), new("mice", "mouse", "verb"),
            ],
            WordNet.IrregularForms(packages.Packages));
    }

    [Fact]
    public void Mails_that_are_short_or_repeated_are_left_out()
    {
        static string Json(string text) => JsonSerializer.Serialize(new { text });
        var long1 = Json("Subject: a\n\nthis text is long enough");
        using var packages = new SmallPackages().Npm(
            SpamAssassin.Package, "1",
            ("data/easy-ham-1/1.json", long1), ("data/easy-ham-1/1.txt", "no mail"), ("data/easy-ham-2/1.json", long1),
            ("data/hard-ham-1/1.json", Json("Subject: b\n\nshort")),
            ("data/spam-1/1.json", Json("Subject: c\n\nthis text is long enough")), ("data/spam-2/none.txt", ""));
        var mails = SpamAssassin.Read(packages.Packages).Select(entry => (entry.Mail.Subject, entry.Label));
        Assert.Equal([("a", "ham"), ("c", "spam")], mails);
    }

    [Fact]
    public void Loose_sentences_are_lines_of_passages_named_by_file_and_number()
    {
        var sentences = new[] { " a \n b ", "", new string('c', 1999), new string('d', 2001) };
        using var packages = new SmallPackages().Npm(
            RunningText.NlpCorpusPackage, "1",
            ("builds/doc-10.json", """["z"]"""), ("builds/doc-9.json", JsonSerializer.Serialize(sentences)));
        Assert.Equal(
            [("doc-9-0", "a b"), ("doc-9-1", new string('c', 1999)), ("doc-10-0", "z")],
            RunningText.LooseSentences(packages.Packages).Select(
                document => (document.Name, Assert.Single(document.Paragraphs))));
    }
}
