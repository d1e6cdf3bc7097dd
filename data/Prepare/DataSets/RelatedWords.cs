using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>
/// Antonyms of WordNet, as many synonyms of such words, and as many pairs of these words that have nothing to do with
/// each other; of each part of speech and in each split.
/// </summary>
internal static class RelatedWords
{
    private const string AntonymSymbol = "!";

    /// <summary>Two words.</summary>
    /// <param name="Key">The one that is held out, if one is: it stands in no pair of another split.</param>
    /// <param name="Other">The other one, of the same split or of train.</param>
    private readonly record struct Pair(string Key, string Other)
    {
        /// <summary>The same for both orders.</summary>
        public (string, string) Unordered => string.CompareOrdinal(Key, Other) < 0 ? (Key, Other) : (Other, Key);

        public uint Hash => Split.Hash($"pair {Unordered}");
    }

    /// <summary>The rows; their key is the word that is held out. No two words are in two of them.</summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages, Split split)
    {
        var synsets = WordNet.Links(packages).ToList();
        var byId = synsets.ToDictionary(synset => synset.Id);
        var near = Near(synsets, byId);
        var seen = new HashSet<(string, string)>();
        var kinds = synsets.GroupBy(synset => synset.PartOfSpeech).ToList();
        var antonyms = kinds.ConvertAll(kind => Pairs(kind.SelectMany(synset => Antonyms(synset, byId)), split, seen));
        foreach (var (kind, opposites) in kinds.Zip(antonyms))
        {
            var known = opposites.SelectMany(Words).ToHashSet();
            var alike = Pairs(
                kind.SelectMany(Synonyms).Where(pair => known.Contains(pair.Key) || known.Contains(pair.Other)),
                split, seen);
            foreach (var group in opposites.GroupBy(pair => split.Of(pair.Key)))
            {
                List<Pair> synonyms = [.. alike.Where(pair => split.Of(pair.Key) == group.Key).Take(group.Count())];
                Pair[] both = [.. group.Concat(synonyms).OrderBy(pair => pair.Hash)];
                var strangers = Strangers(both, near, split, seen).Take(group.Count());
                foreach (var row in Rows(group, "antonym").Concat(Rows(synonyms, "synonym"))
                    .Concat(Rows(strangers, "unrelated")))
                    yield return row;
            }
        }
    }

    // Which word comes first is decided by the hash.
    private static IEnumerable<KeyedRow> Rows(IEnumerable<Pair> pairs, string relation) =>
        from pair in pairs
        let words = pair.Hash / 2 % 2 == 0 ? pair.Unordered : (pair.Unordered.Item2, pair.Unordered.Item1)
        select new KeyedRow(pair.Key, [words.Item1, words.Item2, relation]);

    // Pairs of plain words that are not seen yet, in the order of the hash; none of a validation and a test word.
    private static List<Pair> Pairs(IEnumerable<Pair> pairs, Split split, HashSet<(string, string)> seen) =>
    [
        .. from pair in pairs
           where pair.Key != pair.Other && PlainWord.Is(pair.Key) && PlainWord.Is(pair.Other)
           let keyed = Keyed(pair, split)
           where keyed is not null && seen.Add(keyed.Value.Unordered)
           orderby keyed.Value.Hash
           select keyed.Value,
    ];

    private static Pair? Keyed(Pair pair, Split split)
    {
        var (first, second) = pair.Unordered;
        return (split.Of(first), split.Of(second)) switch
        {
            (var one, var other) when one == other => new(first, second),
            (_, Split.Train) => new(first, second),
            (Split.Train, _) => new(second, first),
            _ => null,
        };
    }

    private static IEnumerable<string> Words(Pair pair) => [pair.Key, pair.Other];

    private static IEnumerable<Pair> Antonyms(LinkedSynset synset, Dictionary<string, LinkedSynset> byId) =>
        from pointer in synset.Pointers
        where pointer.Symbol == AntonymSymbol && pointer is { From: > 0, To: > 0 }
        let target = byId.GetValueOrDefault(pointer.Target)
        where target is not null
        select new Pair(synset.Words[pointer.From - 1], target.Words[pointer.To - 1]);

    private static IEnumerable<Pair> Synonyms(LinkedSynset synset) =>
        from first in synset.Words from second in synset.Words select new Pair(first, second);

    // The held-out word of a pair and the other word of a pair behind it, unless they are near each other.
    private static IEnumerable<Pair> Strangers(
        Pair[] pairs, Dictionary<string, HashSet<string>> near, Split split, HashSet<(string, string)> seen)
    {
        for (var step = 1; step < pairs.Length; step++)
        {
            for (var i = 0; i < pairs.Length; i++)
            {
                var pair = new Pair(pairs[i].Key, pairs[(i + step) % pairs.Length].Other);
                if (pair.Key != pair.Other && !near[pair.Key].Overlaps(near[pair.Other])
                    && Keyed(pair, split) is { } keyed && seen.Add(keyed.Unordered))
                    yield return keyed;
            }
        }
    }

    // The synsets of each word and those that they point at.
    private static Dictionary<string, HashSet<string>> Near(
        IEnumerable<LinkedSynset> synsets, Dictionary<string, LinkedSynset> byId) =>
        (from synset in synsets
         from word in synset.Words
         from id in synset.Pointers.Select(pointer => pointer.Target).Where(byId.ContainsKey).Prepend(synset.Id)
         select (word, id)).GroupBy(entry => entry.word, entry => entry.id).ToDictionary(
            group => group.Key, group => group.ToHashSet());
}
