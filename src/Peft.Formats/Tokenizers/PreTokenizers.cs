using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>Cuts a piece into words; merges never cross the cuts.</summary>
internal interface IPreTokenizer
{
    /// <summary>Adds the parts of <paramref name="piece"/> to <paramref name="parts"/>; never an empty one.</summary>
    void Split(Piece piece, List<Piece> parts);
}

/// <summary>A part of the text on its way to the model.</summary>
/// <param name="Source">The text it lies in.</param>
/// <param name="Start">First character.</param>
/// <param name="Length">Number of characters.</param>
/// <param name="IsAtStart">Whether the whole input begins with it.</param>
internal readonly record struct Piece(SourceText Source, int Start, int Length, bool IsAtStart)
{
    public ReadOnlySpan<char> Span => Source.Text.AsSpan(Start, Length);

    /// <summary>The piece as a text of its own.</summary>
    public SourceText Own => Source.Slice(Start, Start + Length);

    /// <summary>The part from <paramref name="start"/> to <paramref name="end"/>, counted in this piece.</summary>
    public Piece Part(int start, int end) => new(Source, Start + start, end - start, IsAtStart && start == 0);

    /// <summary>The same place in the input with another text.</summary>
    public Piece With(SourceText source) => new(source, 0, source.Text.Length, IsAtStart);

    /// <summary>The part of the caller's text that a part of this piece, not empty, was made from.</summary>
    public TextRange OriginOf(int start, int end) => Source.OriginOf(Start + start, Start + end);
}

/// <summary>
/// "ByteLevel": optionally GPT-2's split, then every byte of UTF-8 written as one visible character. Where it comes
/// last the tokenizer leaves the writing out and hands the bytes to the model.
/// </summary>
internal sealed class ByteLevelPreTokenizer(bool addsPrefixSpace, bool splits) : IPreTokenizer
{
    private readonly ScannerSplit _scanner = new(Gpt2Scanner.Shared);

    public bool AddsPrefixSpace => addsPrefixSpace;

    public bool Splits => splits;

    public void Split(Piece piece, List<Piece> parts)
    {
        var first = parts.Count;
        SplitOnly(piece, parts);
        for (var i = first; i < parts.Count; i++)
            parts[i] = parts[i].With(Written(parts[i].Own));
    }

    /// <summary>The pieces as text, not yet written in the byte alphabet.</summary>
    public void SplitOnly(Piece piece, List<Piece> parts)
    {
        if (addsPrefixSpace && piece.Length > 0 && piece.Span[0] != ' ')
            piece = piece.With(piece.Own.Prepend(" "));
        if (splits)
            _scanner.Split(piece, parts);
        else if (piece.Length > 0)
            parts.Add(piece);
    }

    private static SourceText Written(SourceText source)
    {
        var result = new SourceTextBuilder(source);
        Span<byte> utf8 = stackalloc byte[4];
        var at = 0;
        foreach (var rune in source.Text.EnumerateRunes())
        {
            foreach (var value in utf8[..rune.EncodeToUtf8(utf8)])
                result.Add([ByteAlphabet.CharacterOf(value)], at, at + rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        return result.ToText();
    }
}

/// <summary>Where Metaspace puts its mark before a text.</summary>
internal enum PrependScheme
{
    Always,
    First,
    Never,
}

/// <summary>"Metaspace": spaces become a visible mark, and each word begins with one.</summary>
internal sealed class MetaspacePreTokenizer(string replacement, PrependScheme scheme, bool splits) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var source = piece.Own.Replace(" ", replacement);
        var prepends = scheme == PrependScheme.Always || scheme == PrependScheme.First && piece.IsAtStart;
        if (prepends && source.Text.Length > 0 && !source.Text.StartsWith(replacement, StringComparison.Ordinal))
            source = source.Prepend(replacement);
        if (!splits)
        {
            if (source.Text.Length > 0)
                parts.Add(piece.With(source));
            return;
        }

        new StringSplit(replacement, SplitBehavior.MergedWithNext, invert: false).Split(piece.With(source), parts);
    }
}

/// <summary>"Whitespace": runs of word characters and runs of other visible characters (<c>\w+|[^\w\s]+</c>).</summary>
internal sealed class WhitespacePreTokenizer : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var start = 0;
        var at = 0;
        var kind = -1;
        foreach (var rune in piece.Span.EnumerateRunes())
        {
            var own = KindOf(rune);
            if (own != kind)
            {
                if (kind > 0)
                    parts.Add(piece.Part(start, at));
                (kind, start) = (own, at);
            }

            at += rune.Utf16SequenceLength;
        }

        if (kind > 0)
            parts.Add(piece.Part(start, at));
    }

    private static int KindOf(Rune rune) =>
        CodePoints.IsWhiteSpace(rune.Value) ? 0 : CodePoints.IsWord(rune.Value) ? 1 : 2;
}

/// <summary>Splits at characters of one class: WhitespaceSplit, Punctuation, Digits.</summary>
/// <param name="matches">Whether a code point belongs to the class.</param>
/// <param name="behavior">What becomes of them.</param>
internal sealed class ClassSplit(Func<int, bool> matches, SplitBehavior behavior) : IPreTokenizer
{
    public static ClassSplit WhiteSpace { get; } = new(CodePoints.IsWhiteSpace, SplitBehavior.Removed);

    public static ClassSplit Digits(bool individual) =>
        new(CodePoints.IsNumber, individual ? SplitBehavior.Isolated : SplitBehavior.Contiguous);

    public static ClassSplit Punctuation(SplitBehavior behavior) => new(CodePoints.IsPunctuation, behavior);

    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert: false, parts);
        var at = 0;
        foreach (var rune in piece.Span.EnumerateRunes())
        {
            if (matches(rune.Value))
                splitter.Match(at, at + rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        splitter.Finish();
    }
}

/// <summary>"Split" at every occurrence of a fixed text.</summary>
internal sealed class StringSplit(string pattern, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert, parts);
        var text = piece.Span;
        var from = 0;
        while (text[from..].IndexOf(pattern, StringComparison.Ordinal) is >= 0 and var found)
        {
            splitter.Match(from + found, from + found + pattern.Length);
            from += found + pattern.Length;
        }

        splitter.Finish();
    }
}

/// <summary>"Split" at the matches of a regular expression that has no scanner of its own.</summary>
internal sealed class RegexSplit(TokenizerRegex pattern, SplitBehavior behavior, bool invert) : IPreTokenizer
{
    public void Split(Piece piece, List<Piece> parts)
    {
        var splitter = new Splitter(piece, behavior, invert, parts);
        foreach (var (start, end) in pattern.Matches(piece.Span))
            splitter.Match(start, end);
        splitter.Finish();
    }
}

/// <summary>
/// Splits with a hand-written scanner, for the places where it is followed by something else than plain byte-level BPE.
/// </summary>
internal sealed class ScannerSplit(Utf8Scanner scanner) : IPreTokenizer
{
    public Utf8Scanner Scanner => scanner;

    public void Split(Piece piece, List<Piece> parts)
    {
        var utf8 = System.Text.Encoding.UTF8.GetBytes(piece.Span.ToString());
        var at = 0;
        for (var start = 0; start < utf8.Length;)
        {
            var end = scanner.NextEnd(utf8, start);
            var length = System.Text.Encoding.UTF8.GetCharCount(utf8, start, end - start);
            parts.Add(piece.Part(at, at + length));
            at += length;
            start = end;
        }
    }
}

/// <summary>Reads "pre_tokenizer" as the list of its steps.</summary>
internal static class PreTokenizerReader
{
    public static IReadOnlyList<IPreTokenizer> Read(JsonPart part)
    {
        var steps = ReadSteps(part);
        ChainLimits.Require(part, steps.Count, []);
        // Each writes a byte as a character of up to two bytes: several would multiply the text.
        var byteLevels = steps.Count(step => step is ByteLevelPreTokenizer);
        return byteLevels <= 1 ? steps : throw part.Fault($"ByteLevel {byteLevels} times", "at most one");
    }

    private static IReadOnlyList<IPreTokenizer> ReadSteps(JsonPart part) => part.Type switch
    {
        "Sequence" => [.. part.Required("pretokenizers").Items().SelectMany(ReadSteps)],
        "ByteLevel" =>
            [new ByteLevelPreTokenizer(part.Boolean("add_prefix_space", true), part.Boolean("use_regex", true))],
        "Split" => [ReadSplit(part)],
        "Metaspace" => [ReadMetaspace(part)],
        "Digits" => [ClassSplit.Digits(part.Boolean("individual_digits", false))],
        "Whitespace" => [new WhitespacePreTokenizer()],
        "WhitespaceSplit" => [ClassSplit.WhiteSpace],
        "BertPreTokenizer" => [ClassSplit.WhiteSpace, ClassSplit.Punctuation(SplitBehavior.Isolated)],
        "Punctuation" => [ClassSplit.Punctuation(ReadBehavior(part, SplitBehavior.Isolated))],
        var kind => throw part.Unsupported(
            kind, "ByteLevel", "Split", "Metaspace", "Digits", "Whitespace", "WhitespaceSplit", "Punctuation",
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
            throw mark!.Fault(Quote.Of(replacement), "one character");
        var scheme = part.Optional("prepend_scheme") switch
        {
            null => part.Boolean("add_prefix_space", true) ? PrependScheme.Always : PrependScheme.Never,
            { } given => given.Text() switch
            {
                "always" => PrependScheme.Always,
                "first" => PrependScheme.First,
                "never" => PrependScheme.Never,
                var other => throw given.Unknown(other, "always", "first", "never"),
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
        // The known patterns match every character, so nothing lies between matches.
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
            var other => throw behavior.Unknown(
                other, "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"),
        };
    }
}
