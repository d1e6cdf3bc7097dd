using Peft.Prepare.Sources;
using Peft.Prepare.Texts;

namespace Peft.Prepare.DataSets;

/// <summary>
/// Passages for language modelling. Held-out rows of the tasks stay out of them: of glosses, words and Brown texts only
/// what is in the train split of the task is taken.
/// </summary>
internal static class CorpusPassages
{
    /// <summary>The source that the embedded base model is not trained on.</summary>
    public const string LooseSentences = "nlp_corpus";

    /// <summary>What it is made of.</summary>
    public static string[] Packages { get; } =
    [
        RunningText.SotuPackage, RunningText.MobyDickPackage, Brown.Package, RunningText.NlpCorpusPackage,
        WordNet.Package, CmuDict.Package, Novels.Package, Commentaries.HenryPackage, Commentaries.SpurgeonPackage,
        Webster.Package,
    ];

    /// <summary>Each passage once, from the document where it stands first.</summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages)
    {
        var seen = new HashSet<string>();
        foreach (var document in Documents(packages))
        {
            var key = $"{document.Source}/{document.Name}";
            foreach (var (index, passage) in Passages.Of(document.Paragraphs, document.Separator).Index())
            {
                if (seen.Add(passage))
                    yield return new(key, [document.Source, passage], $"{key}/{index}");
            }
        }
    }

    private static IEnumerable<Document> Documents(InstalledPackages packages) =>
    [
        .. RunningText.Speeches(packages),
        .. RunningText.Chapters(packages),
        .. Brown.Texts(packages).Where(text => IsTrain(Catalog.WordTag, text.Name)),
        .. RunningText.LooseSentences(packages),
        .. Packed("wordnet", Glosses(packages), "\n"),
        .. Packed("words", Words(packages), " "),
        .. Novels.Chapters(packages),
        .. Commentaries.Henry(packages),
        .. Commentaries.Spurgeon(packages),
        .. Packed("webster", Entries(packages), "\n"),
    ];

    private static IEnumerable<string> Glosses(InstalledPackages packages) =>
        from synset in WordNet.Synsets(packages)
        where IsTrain(Catalog.GlossPos, synset.Word)
        select $"{synset.Word}: {synset.Gloss}";

    // Without the senses that say what a held-out definition says.
    private static IEnumerable<string> Entries(InstalledPackages packages)
    {
        var heldOut = new HeldOutDefinitions(
            from synset in WordNet.Synsets(packages)
            where !IsTrain(Catalog.GlossPos, synset.Word)
            select synset.Definition);
        return from entry in Webster.Entries(packages)
               let senses = entry.Senses.Where(sense => !heldOut.StandIn(sense)).ToList()
               where senses.Count > 0
               select WhiteSpace.Trim($"{entry.Head} {string.Join(' ', senses)}");
    }

    private static IEnumerable<string> Words(InstalledPackages packages) =>
        CmuDict.Read(packages)
            .Select(entry => entry.Word)
            .Where(word => IsTrain(Catalog.G2p, word))
            .OrderBy(Split.OrderOf, StringComparer.Ordinal);

    private static IEnumerable<Document> Packed(string source, IEnumerable<string> entries, string separator) =>
        Passages.Packed(entries,
            separator).Index().Select(entry => new Document(source, $"{entry.Index}", [entry.Item]));

    private static bool IsTrain(DataSet task, string key) => task.Split.Of(key) == Split.Train;
}
