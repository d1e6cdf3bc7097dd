using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>One ambiguous word of each sentence of the Brown corpus and its part of speech there.</summary>
internal static class AmbiguousWords
{
    private const int ShortestSentence = 20;
    private const int LongestSentence = 160;
    private const int FewestUses = 2; // of each of two parts of speech, and a tenth of all uses

    /// <summary>A row for each sentence that has such a word; the text it stands in is the key.</summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages)
    {
        var sentences = Brown.Sentences(packages)
            .Where(sentence => sentence.Text.Length is >= ShortestSentence and <= LongestSentence)
            .ToList();
        var ambiguous = AmbiguousIn(sentences);
        foreach (var sentence in sentences.DistinctBy(sentence => sentence.Text))
        {
            var candidates = sentence.Words
                .GroupBy(use => use.Word.ToLowerInvariant())
                .Where(uses => uses.Count() == 1 && uses.Key.Length >= 2 && uses.Key.All(char.IsAsciiLetter))
                .Where(uses => ambiguous.Contains(uses.Key))
                .Select(uses => uses.Single())
                .ToList();
            if (candidates.Count == 0)
                continue;
            var (word, tag) = candidates[(int)(Split.Hash(sentence.Text) % (uint)candidates.Count)];
            yield return new(sentence.Document, [sentence.Text, word, tag]);
        }
    }

    // In lower case: words with two parts of speech of at least a tenth of their uses each.
    private static HashSet<string> AmbiguousIn(IEnumerable<BrownSentence> sentences) =>
        sentences.SelectMany(sentence => sentence.Words)
            .GroupBy(use => use.Word.ToLowerInvariant(), use => use.Tag)
            .Where(uses => IsAmbiguous([.. uses.CountBy(tag => tag).Select(entry => entry.Value)]))
            .Select(uses => uses.Key)
            .ToHashSet();

    private static bool IsAmbiguous(int[] counts)
    {
        var total = counts.Sum();
        return counts.Count(count => count >= FewestUses && 10 * count >= total) >= 2;
    }
}
