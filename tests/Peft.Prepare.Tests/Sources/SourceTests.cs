using System.Text.Json;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.Sources;

public sealed class SourceTests
{
    [Fact]
    public void Of_a_word_the_first_pronunciation_is_taken_without_stress()
    {
        const string Dictionary =
            ";;; remark\nA.B  EY1 B IY0\r\nREAD  R EH1 D\nREAD(1)  R IY1 D\nREAD  R IY1 D\n'TIS  T IH1 Z\n";
        using var packages = new SmallPackages().Npm(CmuDict.Package, "1", ("data/dict.txt", Dictionary));
        Assert.Equal([new("a.b", "EY B IY"), new("read", "R EH D")], CmuDict.Read(packages.Packages));
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
                new("entity", "that which exists", "that which exists; \"an entity; a thing\", \"more\"", "noun",
                    "noun.Tops"),
                new("break dance", "a dance", "a dance : \"break dancing\"", "noun", "noun.act"),
                new("galore", "in great numbers", "in great numbers", "adjective", "adj.all"),
            ],
            WordNet.Synsets(packages.Packages));
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
