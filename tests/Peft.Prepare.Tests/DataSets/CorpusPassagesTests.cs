using Peft.Prepare.DataSets;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests.DataSets;

public sealed class CorpusPassagesTests
{
    [Fact]
    public void Passages_come_from_every_source_once_each()
    {
        using var packages = Packages();
        Assert.Equal(
            [
                "sotu/1790_x|sotu/1790_x/0|sotu|A speech.",
                "moby_dick/chapter_2|moby_dick/chapter_2/0|moby_dick|Call me",
                "moby_dick/chapter_10|moby_dick/chapter_10/0|moby_dick|Ishmael.",
                "nlp_corpus/doc-0-0|nlp_corpus/doc-0-0/0|nlp_corpus|Loose.",
                "austen/emma/0|austen/emma/0/0|austen|Emma\nA novel.",
                "henry/0|henry/0/0|henry|The first commentary has a paragraph of some length.",
                "spurgeon/0|spurgeon/0/0|spurgeon|The other commentary has a paragraph of some length.",
            ],
            CorpusPassages.Read(packages.Packages)
                .Where(row => row.Values[0] is not ("brown" or "wordnet" or "words" or "webster"))
                .Select(row => $"{row.Key}|{row.Place}|{string.Join('|', row.Values)}"));
    }

    [Fact]
    public void What_the_tasks_hold_out_is_not_in_it()
    {
        using var packages = Packages();
        var text = CorpusPassages.Read(packages.Packages).ToLookup(row => row.Values[0], row => row.Values[1]);
        string[] Train(DataSet task, IEnumerable<string> keys) =>
            [.. keys.Where(key => task.Split.Of(key) == Split.Train)];

        var glosses = text["wordnet"].Single().Split('\n');
        Assert.Equal(Train(Catalog.GlossPos, Words()).Select(word => $"{word}: meaning of {word}; \"as here\""),
            glosses);
        var words = text["words"].Single().Split(' ');
        Assert.Equal(Train(Catalog.G2p, Words()).OrderBy(Split.OrderOf, StringComparer.Ordinal), words);
        var entries = text["webster"].Single().Split('\n');
        Assert.Equal(
            Words().Select(word => glosses.Any(gloss => gloss.StartsWith(word, StringComparison.Ordinal))
                ? $"{word}, n. Meaning of {word}! Seen." : $"{word}, n. Seen."),
            entries);
        Assert.Equal(Train(Catalog.WordTag, Texts()).Select(name => $"text {name}."), text["brown"]);
        // The test would see nothing if nothing were held out.
        Assert.All([glosses.Length, words.Length], count => Assert.InRange(count, 1, Words().Count - 1));
        Assert.InRange(text["brown"].Count(), 1, Texts().Count - 1);
    }

    private static (byte[] Index, byte[] Database) Novel => DebianFiles.RDatabase(["Emma", "", "A novel."]);

    private static (byte[] Index, byte[] Data) Henry =>
        DebianFiles.Blocks("The first commentary has a paragraph of some length.");

    private static (byte[] Index, byte[] Data) Spurgeon =>
        DebianFiles.Blocks("The other commentary has a paragraph of some length.");

    private static List<string> Words() =>
        [.. from first in "abcde" from second in "abcdefgh" select $"w{first}{second}"];

    private static List<string> Texts() => [.. Enumerable.Range(1, 60).Select(number => $"ca{number:00}")];

    private static SmallPackages Packages() => new SmallPackages()
        .Npm(RunningText.SotuPackage, "1", ("data/1790_x.txt", "A speech."), ("data/data.txt", "no speech"))
        .Npm(
            RunningText.MobyDickPackage, "1",
            ("data/chapter_10.txt", "Ishmael."), ("data/chapter_2.txt", "Call me"), ("data/chapter_11.txt", "Call me"))
        .Npm(RunningText.NlpCorpusPackage, "1", ("builds/doc-0.json", """["Loose."]"""))
        .Npm(CmuDict.Package, "1",
        ("data/dict.txt", string.Concat(Words().Select(word => $"{word.ToUpperInvariant()}  X\n"))))
        .Npm(Brown.Package, "1", [.. Texts().Select(name => (name, $"text/nn {name}/np ./."))])
        .Npm(
            WordNet.Package, "1", ("dict/data.verb", ""), ("dict/data.adj", ""), ("dict/data.adv", ""),
            ("dict/data.noun",
                string.Concat(
                Words().Select(word => $"00000001 03 n 01 {word} 0 000 | meaning of {word}; \"as here\"\n"))))
        .Debian(Novels.Package, Novel.Index, Novel.Database)
        .Debian(Commentaries.HenryPackage, Henry.Index, Henry.Data, [], [])
        .Debian(Commentaries.SpurgeonPackage, Spurgeon.Index, Spurgeon.Data)
        .Debian(Webster.Package, DebianFiles.Gzip(string.Concat(Words().Select(word =>
            $"{word} \\{word}\\, n.\n   Meaning of {word}!\n   [1913 Webster]\n\n   Seen.\n   [1913 Webster]\n\n"))));
}
