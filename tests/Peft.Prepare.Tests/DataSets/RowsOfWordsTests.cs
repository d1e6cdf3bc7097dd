using Peft.Prepare.DataSets;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.DataSets;

/// <summary>The data sets that are made of words others hold out.</summary>
public sealed class RowsOfWordsTests
{
    // Keys below 100 percent are all in validation: every word is of one split.
    private static readonly Split OneSplit = new(100, 0);

    [Fact]
    public void A_word_has_its_stress_and_its_syllables()
    {
        using var packages = Dictionary("BANANA  B AH0 N AE1 N AH0\nOX  AA1 K S\n");
        Assert.Equal(["banana|banana|0 1 0|3", "ox|ox|1|1"], Lines(Catalog.Prosody.Read(packages.Packages)));
    }

    [Fact]
    public void Words_rhyme_from_the_last_stressed_vowel_unless_they_sound_the_same()
    {
        using var packages = Dictionary(
            "COUGH  K AO1 F\nOFF  AO1 F\nDOUGH  D OW1\nDOE  D OW1\nLOW  L OW1\nCOW  K AW1\nNOW  N AW1\n"
            + "ZEBRA  Z IY1 B R AH0\nO'DOH  OW1\nGMBH  G AH0 M\n");
        var sounds = CmuDict.Read(packages.Packages).ToDictionary(entry => entry.Word);
        var rows = RhymingWords.Read(packages.Packages, OneSplit).ToList();
        Assert.Equal(
            ["cough", "cow", "doe", "dough", "low", "now", "off"], rows.Select(row => row.Key).Order());
        Assert.All(rows, row =>
        {
            var (one, other) = (sounds[row.Values[0]], sounds[row.Values[1]]);
            Assert.Equal(row.Key, one.Word);
            Assert.Equal(row.Values[2] == "yes", one.Rhyme == other.Rhyme);
            Assert.NotEqual(one.Phonemes, other.Phonemes);
        });
        Assert.Equal(2, rows.Select(row => row.Values[2]).Distinct().Count());
    }

    [Fact]
    public void A_hypernym_stands_among_three_others_of_its_field_that_are_no_kind_above_it()
    {
        const string Nouns = """
            00000001 05 n 01 thing 0 000 | all that is there
            00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a thing that lives
            00000003 05 n 01 dog 0 001 @ 00000002 n 0000 | an animal that barks
            00000004 05 n 01 spaniel 0 001 @ 00000003 n 0000 | a dog that swims
            00000005 05 n 01 fish 0 001 @ 00000002 n 0000 | an animal in water
            00000006 05 n 01 cod 0 001 @ 00000005 n 0000 | a fish of the sea
            00000007 05 n 01 bird 0 001 @ 00000002 n 0000 | an animal that flies
            00000008 05 n 01 owl 0 001 @ 00000007 n 0000 | a bird at night
            00000009 05 n 01 snake 0 001 @ 00000002 n 0000 | an animal without legs
            00000010 05 n 01 adder 0 001 @ 00000009 n 0000 | a snake that bites
            00000011 05 n 01 fido 0 001 @ 00000003 n 0000 | a dog here of which more is said than any row has room for at all
            00000012 05 n 01 rex 0 001 @i 00000003 n 0000 | the dog next door
            """;
        using var packages = WordNetOf(Nouns);
        var rows = Kinds.Read(packages.Packages).ToDictionary(row => row.Key, row => row.Values);
        Assert.Equal(["adder", "animal", "bird", "cod", "dog", "fish", "owl", "snake", "spaniel"],
            rows.Keys.Order());
        Assert.Equal(["spaniel", "a dog that swims"], rows["spaniel"][..2]);
        Assert.Equal(["bird", "dog", "fish", "snake"], rows["spaniel"][2..6].Order());
        Assert.Equal("dog", rows["spaniel"][7]);
        Assert.All(rows.Values, row => Assert.Equal(row[7], row[2 + (row[6][0] - 'A')]));
        Assert.All(rows.Values, row => Assert.Equal(4, row[2..6].Distinct().Count()));
        Assert.DoesNotContain("animal", rows["spaniel"]);
    }

    [Fact]
    public void Antonyms_synonyms_and_unrelated_words_are_equally_many_and_no_pair_comes_twice()
    {
        const string Adjectives = """
            00000001 00 a 02 hot 0 torrid 0 001 ! 00000002 a 0101 | of much heat
            00000002 00 a 02 cold 0 gelid 0 001 ! 00000001 a 0101 | of little heat
            00000003 00 a 02 big 0 large 0 001 ! 00000004 a 0101 | of much size
            00000004 00 a 02 small 0 Little 0 001 ! 00000003 a 0101 | of little size
            00000005 00 a 02 red 0 ruddy 0 000 | of a colour
            """;
        using var packages = WordNetOf("", Adjectives);
        var rows = RelatedWords.Read(packages.Packages, OneSplit).ToList();
        var pairs = rows.ToLookup(
            row => row.Values[2], row => string.Join(' ', row.Values[..2].Order(StringComparer.Ordinal)));
        Assert.Equal(["big small", "cold hot"], pairs["antonym"].Order());
        Assert.Equal(2, pairs["synonym"].Count());
        Assert.Empty(pairs["synonym"].Except(["hot torrid", "cold gelid", "big large"]));
        Assert.Equal(2, pairs["unrelated"].Count());
        // One word of heat and one of size.
        Assert.All(
            pairs["unrelated"],
            pair => Assert.Single(pair.Split(' '), word => word is "hot" or "cold" or "torrid" or "gelid"));
        Assert.Equal(6, pairs.SelectMany(group => group).Distinct().Count());
    }

    [Fact]
    public void Forms_are_asked_for_by_what_they_are_where_the_lists_leave_no_doubt()
    {
        using var packages = new SmallPackages().Exceptions(
            ("noun.exc", "mice mouse\nfeet_first foot_first\ncacti cactus\ncactuses cactus\n"),
            ("verb.exc",
                "took take\ntaken take\nsang sing\nsung sing\ndubbed dub\ndubbing dub\nbeaten beat\ncame come\n"
                + "gan gin\nginned gin\nwas be\nbeen be\nsmit smite\nsmitten smite\nsmote smite\n"),
            ("adj.exc", "better good\nbest good\nworse bad\nhalfways halfway\n"),
            ("adv.exc", "better good\nfurther far\nfarther far\n"));
        Assert.Equal(
            [
                "bad comparative worse", "be participle been", "beat participle beaten", "come past came",
                "dub gerund dubbing", "dub past dubbed", "good comparative better", "good superlative best",
                "mouse plural mice", "sing participle sung", "sing past sang", "take participle taken",
                "take past took",
            ],
            Inflections.Read(packages.Packages).Select(row => string.Join(' ', row.Values)).Order(
                StringComparer.Ordinal));
    }

    [InstalledPackagesFact]
    public void A_word_that_one_data_set_holds_out_is_in_no_train_row_of_its_kin()
    {
        AssertWords(Catalog.Prosody, Catalog.G2p, row => row[..1]);
        AssertWords(Catalog.Rhyme, Catalog.G2p, row => row[..2]);
        AssertWords(Catalog.Hypernym, Catalog.GlossPos, row => row[..1]);
        AssertWords(Catalog.Inflect, Catalog.Lemma, row => row[..1]);
        var synonyms = Catalog.Synonym.Build(Installed.Packages);
        foreach (var (name, rows) in synonyms)
        {
            Assert.All(rows, row =>
            {
                string[] splits = [.. row[..2].Select(Catalog.GlossPos.Split.Of)];
                Assert.Contains(name, splits);
                Assert.Empty(splits.Except([name, Split.Train]));
            });
        }
    }

    [InstalledPackagesFact]
    public void The_rows_of_prosody_stand_where_those_of_g2p_do()
    {
        var said = Catalog.G2p.Build(Installed.Packages);
        Assert.All(
            Catalog.Prosody.Build(Installed.Packages),
            split => Assert.Equal(said[split.Key].Select(row => row[0]), split.Value.Select(row => row[0])));
    }

    // Definitions are those that the corpus leaves out: its glosses are those of the train split of gloss_pos.
    [InstalledPackagesFact]
    public void The_definitions_of_hypernym_are_those_of_gloss_pos_in_the_same_split()
    {
        var glosses = Catalog.GlossPos.Build(Installed.Packages);
        var kinds = Catalog.Hypernym.Build(Installed.Packages);
        foreach (var (name, rows) in kinds)
            Assert.Empty(rows.Select(row => (row[0], row[1])).Except(glosses[name].Select(row => (row[0], row[1]))));
    }

    private static void AssertWords(DataSet set, DataSet kin, Func<string[], string[]> wordsOf)
    {
        foreach (var (name, rows) in set.Build(Installed.Packages))
        {
            var words = rows.SelectMany(wordsOf).Distinct().ToList();
            Assert.NotEmpty(words);
            Assert.All(words, word => Assert.Equal(name, kin.Split.Of(word)));
        }
    }

    private static SmallPackages Dictionary(string text) =>
        new SmallPackages().Npm(CmuDict.Package, "1", ("data/dict.txt", text));

    private static SmallPackages WordNetOf(string nouns, string adjectives = "") => new SmallPackages().Npm(
        WordNet.Package, "1", ("dict/data.noun", nouns), ("dict/data.verb", ""), ("dict/data.adj", adjectives),
        ("dict/data.adv", ""));

    private static IEnumerable<string> Lines(IEnumerable<KeyedRow> rows) =>
        rows.Select(row => $"{row.Key}|{string.Join('|', row.Values)}");
}
