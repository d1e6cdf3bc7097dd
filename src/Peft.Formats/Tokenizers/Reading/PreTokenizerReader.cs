using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "pre_tokenizer" as the list of its steps.</summary>
internal static class PreTokenizerReader
{
    public static IReadOnlyList<IPreTokenizer> Read(JsonPart part)
    {
        var steps = ReadSteps(part);
        ChainLimits.Require(part, steps.Count, []);
        // Each writes a byte as a character of up to two bytes: several would multiply the text.
        var byteLevels = steps.Count(step => step is ByteLevelPreTokenizer);
        return byteLevels <= 1 ? steps : throw part.Fault($"ByteLevel {byteLevels} times", "once");
    }

    private static IReadOnlyList<IPreTokenizer> ReadSteps(JsonPart part) => part.Type switch
    {
        "Sequence" => [.. part.Required("pretokenizers").Items().SelectMany(ReadSteps)],
        "ByteLevel" => [new ByteLevelPreTokenizer(part.Boolean("add_prefix_space", true), part.Boolean("use_regex", true))],
        "Split" => [ReadSplit(part)],
        "Metaspace" => [ReadMetaspace(part)],
        "Digits" => [ClassSplit.Digits(part.Boolean("individual_digits", false))],
        "Whitespace" => [new WhitespacePreTokenizer()],
        "WhitespaceSplit" => [ClassSplit.WhiteSpace],
        "BertPreTokenizer" => [ClassSplit.WhiteSpace, ClassSplit.Punctuation(SplitBehavior.Isolated)],
        "Punctuation" => [ClassSplit.Punctuation(ReadBehavior(part, SplitBehavior.Isolated))],
        var kind => throw part.Unsupported(
            kind, "choose a base model with such a tokenizer",
            "ByteLevel", "Split", "Metaspace", "Digits", "Whitespace", "WhitespaceSplit", "Punctuation",
            "BertPreTokenizer", "Sequence"),
    };

    /// <summary>
    /// The mark of Metaspace, and whether encoding puts one before a text (where it is not said: yes).
    /// </summary>
    public static (string Replacement, PrependScheme Scheme) ReadMark(JsonPart part)
    {
        var mark = part.Optional("replacement");
        var replacement = mark?.Text() ?? "\u2581";
        if (replacement.EnumerateRunes().Count() != 1)
            throw mark!.Value.Fault(Quote.Of(replacement), "one character");
        var scheme = part.Optional("prepend_scheme") switch
        {
            null => part.Boolean("add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never,
            { } given => given.Text() switch
            {
                "always" => PrependScheme.Always,
                "first" => PrependScheme.First,
                "never" => PrependScheme.Never,
                var other => throw given.Unsupported(other, "correct it", "always", "first", "never"),
            },
        };
        return (replacement, scheme);
    }

    private static MetaspacePreTokenizer ReadMetaspace(JsonPart part)
    {
        var (replacement, scheme) = ReadMark(part);
        return new MetaspacePreTokenizer(replacement, scheme, part.Boolean("split", true));
    }

    private static IPreTokenizer ReadSplit(JsonPart part)
    {
        var pattern = part.Required("pattern");
        var text = NormalizerReader.ReadPattern(pattern, out var isRegex);
        var behavior = ReadBehavior(part, null);
        var invert = part.Boolean("invert", false);
        if (!isRegex)
            return new StringSplit(text, behavior, invert);
        // The known patterns match every character, so nothing stands between matches.
        var isolates = behavior == SplitBehavior.Isolated || behavior == SplitBehavior.Removed && invert;
        return text switch
        {
            Gpt2Scanner.Pattern when isolates => new ScannerSplit(Gpt2Scanner.Shared),
            Llama3Scanner.Llama3Pattern when isolates => new ScannerSplit(new Llama3Scanner(3)),
            Llama3Scanner.Qwen2Pattern when isolates => new ScannerSplit(new Llama3Scanner(1)),
            _ => new RegexSplit(new TokenizerRegex(text, pattern.Place), behavior, invert),
        };
    }

    private static SplitBehavior ReadBehavior(JsonPart part, SplitBehavior? fallback)
    {
        if (fallback is { } given && part.Optional("behavior") is null)
            return given;
        var behavior = part.Required("behavior");
        return behavior.Text() switch
        {
            "Removed" => SplitBehavior.Removed,
            "Isolated" => SplitBehavior.Isolated,
            "MergedWithPrevious" => SplitBehavior.MergedWithPrevious,
            "MergedWithNext" => SplitBehavior.MergedWithNext,
            "Contiguous" => SplitBehavior.Contiguous,
            var other => throw behavior.Unsupported(
                other, "correct it", "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"),
        };
    }
}
