using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>Definitions of WordNet and four words each, one of which is the hypernym.</summary>
internal static class Kinds
{
    private const string HypernymSymbol = "@";
    private const int LongestDefinition = 60;
    private const int Others = 3;
    private const int MostDraws = 60;

    /// <summary>
    /// A row for each short definition whose hypernym is a plain word. The three others are hypernyms of the same field
    /// of meaning, drawn as often as they occur there, and none of the kinds above.
    /// </summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages)
    {
        var synsets = WordNet.Links(packages).ToDictionary(synset => synset.Id);
        var kinds = (from synset in WordNet.Synsets(packages)
                     where synset.Definition.Length <= LongestDefinition
                     let hypernym = Above(synset.Id, synsets).FirstOrDefault()?.Words[0]
                     where hypernym is not null && PlainWord.Is(hypernym) && hypernym != synset.Word
                     select (Synset: synset, Hypernym: hypernym)).ToList();
        var byField = kinds.GroupBy(kind => kind.Synset.LexicographerFile, kind => kind.Hypernym)
            .ToDictionary(group => group.Key, group => group.ToList());
        foreach (var (synset, hypernym) in kinds)
        {
            var words = Drawn(synset, byField[synset.LexicographerFile], WordsAbove(synset.Id, synsets));
            if (words.Count < Others)
                continue;
            var place = (int)(Split.Hash($"kind {synset.Definition}") % (Others + 1));
            words.Insert(place, hypernym);
            yield return new(
                synset.Word, [synset.Word, synset.Definition, .. words, $"{(char)('A' + place)}", hypernym]);
        }
    }

    private static List<string> Drawn(Synset synset, List<string> hypernyms, HashSet<string> excluded)
    {
        var words = new List<string>();
        for (var draw = 0; draw < MostDraws && words.Count < Others; draw++)
        {
            var place = Split.Hash($"kind {draw} {synset.Definition}") % (uint)hypernyms.Count;
            if (excluded.Add(hypernyms[(int)place]))
                words.Add(hypernyms[(int)place]);
        }

        return words;
    }

    // All words of the synset and of whatever it is a kind of.
    private static HashSet<string> WordsAbove(string id, Dictionary<string, LinkedSynset> synsets)
    {
        var words = new HashSet<string>();
        var seen = new HashSet<string> { id };
        var open = new Stack<string>(seen);
        while (open.TryPop(out var next))
        {
            words.UnionWith(synsets[next].Words);
            foreach (var above in Above(next, synsets).Where(above => seen.Add(above.Id)))
                open.Push(above.Id);
        }

        return words;
    }

    private static IEnumerable<LinkedSynset> Above(string id, Dictionary<string, LinkedSynset> synsets) =>
        from pointer in synsets[id].Pointers where pointer.Symbol == HypernymSymbol select synsets[pointer.Target];
}
