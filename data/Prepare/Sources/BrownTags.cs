namespace Peft.Prepare.Sources;

/// <summary>The tags of the Brown corpus as ten parts of speech.</summary>
internal static class BrownTags
{
    private static readonly string[] Suffixes = ["-hl", "-tl", "-nc"]; // headline, title, cited

    private static readonly string[] Nouns = ["nn", "np", "nr"];
    private static readonly string[] Verbs = ["vb", "be", "do", "hv", "md"];
    private static readonly string[] Adjectives = ["jj", "od", "ap"];
    private static readonly string[] Adverbs = ["rb", "rn", "wrb", "ql", "wql", "*"];
    private static readonly string[] Determiners = ["pp$", "wp$", "at", "dt", "wdt", "ab"];
    private static readonly string[] Pronouns = ["pp", "pn", "wp", "ex"];
    private static readonly string[] Conjunctions = ["cc", "cs"];

    /// <summary>
    /// The part of speech, or null for punctuation, foreign words, interjections and contractions of two words.
    /// </summary>
    public static string? PartOfSpeech(string tag)
    {
        var plain = tag.ToLowerInvariant();
        foreach (var suffix in Suffixes)
            plain = plain.Replace(suffix, "", StringComparison.Ordinal);
        return plain switch
        {
            _ when plain.StartsWith("fw-", StringComparison.Ordinal)
                || plain.Contains('+', StringComparison.Ordinal) => null,
            _ when BeginsWithAny(plain, Nouns) => "noun",
            _ when BeginsWithAny(plain, Verbs) => "verb",
            _ when BeginsWithAny(plain, Adjectives) => "adjective",
            _ when BeginsWithAny(plain, Adverbs) => "adverb",
            _ when IsDeterminer(plain) => "determiner",
            _ when BeginsWithAny(plain, Pronouns) => "pronoun",
            "in" => "preposition",
            _ when BeginsWithAny(plain, Conjunctions) => "conjunction",
            _ when plain.StartsWith("cd", StringComparison.Ordinal) => "number",
            "to" or "rp" => "particle",
            _ => null,
        };
    }

    // A $ behind the tag is a genitive (dt$: another's; pp$$: mine), which stands for a noun.
    private static bool IsDeterminer(string tag) =>
        Determiners.Any(start => tag.StartsWith(start, StringComparison.Ordinal)
            && !tag.AsSpan(start.Length).StartsWith("$"));

    private static bool BeginsWithAny(string tag, string[] starts) =>
        starts.Any(start => tag.StartsWith(start, StringComparison.Ordinal));
}
