using Peft.Prepare.Sources;
using Peft.Prepare.Texts;

namespace Peft.Prepare.DataSets;

/// <summary>The data sets, one entry each; <c>data/README.md</c> describes them.</summary>
internal static class Catalog
{
    /// <summary>Words and their phonemes; the split is by word.</summary>
    public static DataSet G2p { get; } = new(
        "g2p", ["word", "phonemes"], new(5, 5), [CmuDict.Package],
        packages => CmuDict.Read(packages).Select(Said));

    /// <summary>Words and where they are stressed; split and order are those of <see cref="G2p"/>.</summary>
    public static DataSet Prosody { get; } = new(
        "prosody", ["word", "stress", "syllables"], G2p.Split, [CmuDict.Package],
        packages => CmuDict.Read(packages).Select(Stressed));

    /// <summary>Two words and whether they rhyme; the split is that of <see cref="G2p"/>, by both words.</summary>
    public static DataSet Rhyme { get; } = new(
        "rhyme", ["word", "other", "rhymes"], G2p.Split, [CmuDict.Package],
        packages => RhymingWords.Read(packages, G2p.Split));

    /// <summary>Mails and whether they are spam; the split is by thread.</summary>
    public static DataSet Spam { get; } = new(
        "spam", ["subject", "body", "label"], new(10, 10), [SpamAssassin.Package],
        packages => SpamAssassin.Read(packages).Select(entry => RowOf(entry.Mail, entry.Label)));

    /// <summary>Definitions and their part of speech; the split is by word.</summary>
    public static DataSet GlossPos { get; } = Glosses("gloss_pos", "pos", synset => synset.PartOfSpeech);

    /// <summary>Definitions and their lexicographer file; the split is by word.</summary>
    public static DataSet GlossClass { get; } = Glosses("gloss_class", "class", synset => synset.LexicographerFile);

    /// <summary>Definitions and which of four words is the kind of thing they tell; the split is that of
    /// <see cref="GlossPos"/>.</summary>
    public static DataSet Hypernym { get; } = new(
        "hypernym", ["word", "definition", "a", "b", "c", "d", "letter", "hypernym"], GlossPos.Split,
        [WordNet.Package], Kinds.Read);

    /// <summary>Two words and whether they mean the same or the opposite; the split is that of <see cref="GlossPos"/>,
    /// by the word that is held out.</summary>
    public static DataSet Synonym { get; } = new(
        "synonym", ["word", "other", "relation"], GlossPos.Split, [WordNet.Package],
        packages => RelatedWords.Read(packages, GlossPos.Split));

    /// <summary>Irregular forms; the split is by lemma.</summary>
    public static DataSet Lemma { get; } = new(
        "lemma", ["form", "lemma", "pos"], new(10, 10), [WordNet.ExceptionsPackage],
        packages => WordNet.IrregularForms(packages).Select(RowOf));

    /// <summary>Lemmas and their irregular forms; the split is that of <see cref="Lemma"/>.</summary>
    public static DataSet Inflect { get; } = new(
        "inflect", ["lemma", "asked", "form"], Lemma.Split, [WordNet.ExceptionsPackage], Inflections.Read);

    /// <summary>Ambiguous words in their sentences; the split is by text of the Brown corpus.</summary>
    public static DataSet WordTag { get; } = new(
        "word_tag", ["sentence", "word", "tag"], new(5, 5), [Brown.Package], AmbiguousWords.Read);

    /// <summary>Text for language modelling; the split is by document.</summary>
    public static DataSet Corpus { get; } = new(
        "corpus", ["source", "text"], new(1, 0), CorpusPassages.Packages, CorpusPassages.Read);

    /// <summary>Conversations about words, as JSON of messages; the split is by the word that is said.</summary>
    public static DataSet Chat { get; } = new(
        "chat", ["messages"], G2p.Split, [CmuDict.Package, WordNet.ExceptionsPackage, WordNet.Package],
        packages => WordTalks.Read(packages, G2p.Split));

    /// <summary>All of them, in the order in which they are written.</summary>
    public static IReadOnlyList<DataSet> All { get; } =
    [
        G2p, Prosody, Rhyme, Spam, GlossPos, GlossClass, Hypernym, Synonym, Lemma, Inflect, WordTag, Corpus, Chat,
    ];

    private static DataSet Glosses(string name, string answer, Func<Synset, string> answerOf) => new(
        name, ["word", "definition", answer], new(5, 5), [WordNet.Package],
        packages =>
            from synset in WordNet.Synsets(packages)
            select new KeyedRow(synset.Word, [synset.Word, synset.Definition, answerOf(synset)]));

    private static KeyedRow Said(Pronunciation entry) => new(entry.Word, [entry.Word, entry.Phonemes]);

    // Beside the row of g2p: the first rows of both are of the same words.
    private static KeyedRow Stressed(Pronunciation entry) =>
        new(entry.Word, [entry.Word, entry.Stress, $"{entry.Syllables}"], Said(entry).Place);

    private static KeyedRow RowOf(Mail mail, string label) => new(mail.Thread, [mail.Subject, mail.Body, label]);

    private static KeyedRow RowOf(IrregularForm entry) =>
        new(entry.Lemma, [entry.Form, entry.Lemma, entry.PartOfSpeech]);
}
