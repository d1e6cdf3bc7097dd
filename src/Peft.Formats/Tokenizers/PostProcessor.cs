namespace Peft.Formats.Tokenizers;

/// <summary>One place of a template: the first text, the second, or fixed tokens.</summary>
/// <param name="Sequence">'A', 'B', or '\0' for fixed tokens.</param>
/// <param name="Ids">The fixed tokens.</param>
internal sealed record TemplatePiece(char Sequence, IReadOnlyList<int> Ids)
{
    public static TemplatePiece A { get; } = new('A', []);

    public static TemplatePiece B { get; } = new('B', []);

    public static TemplatePiece Fixed(params int[] ids) => new('\0', ids);
}

/// <summary>Which special tokens surround one text, and a pair.</summary>
/// <param name="Single">For one text.</param>
/// <param name="Pair">For two.</param>
internal sealed record PostProcessor(IReadOnlyList<TemplatePiece> Single, IReadOnlyList<TemplatePiece> Pair)
{
    /// <summary>Nothing added: a pair is the two texts one after the other.</summary>
    public static PostProcessor None { get; } = new([TemplatePiece.A], [TemplatePiece.A, TemplatePiece.B]);
}

/// <summary>Reads "post_processor". ByteLevel only says whether offsets leave out spaces; here they never do.</summary>
internal static class PostProcessorReader
{
    public static PostProcessor Read(JsonPart part)
    {
        var processors = ReadAll(part).ToArray();
        return processors.Length switch
        {
            0 => PostProcessor.None,
            1 => processors[0],
            _ => throw part.Fault(
                $"{processors.Length} processors that add tokens", "at most one, and ByteLevel beside it"),
        };
    }

    private static IEnumerable<PostProcessor> ReadAll(JsonPart part)
    {
        switch (part.Type)
        {
            case "Sequence":
                return part.Required("processors").Items().SelectMany(ReadAll);
            case "ByteLevel":
                return [];
            case "TemplateProcessing":
                return [ReadTemplate(part)];
            case "BertProcessing":
                return [Around(part, between: 1)];
            case "RobertaProcessing":
                return [Around(part, between: 2)];
            default:
                throw part.Unsupported(
                    part.Type, "ByteLevel", "TemplateProcessing", "BertProcessing", "RobertaProcessing", "Sequence");
        }
    }

    // One token before the text, one after each, and so many between two texts.
    private static PostProcessor Around(JsonPart part, int between)
    {
        var start = TemplatePiece.Fixed(IdOfPair(part.Required("cls")));
        var end = TemplatePiece.Fixed(IdOfPair(part.Required("sep")));
        return new PostProcessor(
            [start, TemplatePiece.A, end],
            [start, TemplatePiece.A, .. Enumerable.Repeat(end, between), TemplatePiece.B, end]);
    }

    private static int IdOfPair(JsonPart part) =>
        part.Items() is [_, var id]
            ? id.Integer(0, TokenVocabulary.HighestAllowedId)
            : throw part.Wrong("[token, id]");

    private static PostProcessor ReadTemplate(JsonPart part)
    {
        var tokens = part.Optional("special_tokens");
        var single = part.Required("single").Items().Select(piece => ReadPiece(piece, tokens)).ToArray();
        var pair = part.Required("pair");
        var pieces = pair.Items().Select(piece => ReadPiece(piece, tokens)).ToArray();
        if (single.Any(piece => piece.Sequence == 'B'))
            throw part.Fault("the second text (B) in \"single\"", "it only in \"pair\"");
        // Each text once: a template that repeats it would multiply the ids.
        bool Repeats(char text) => single.Count(piece => piece.Sequence == text) > 1
            || pieces.Count(piece => piece.Sequence == text) > 1;
        if (Repeats('A') || Repeats('B'))
            throw part.Fault("the same text twice", "every text at most once in a template");
        return new PostProcessor(single, pieces);
    }

    private static TemplatePiece ReadPiece(JsonPart part, JsonPart? tokens)
    {
        if (part.Optional("Sequence") is { } sequence)
        {
            return sequence.Required("id").Text() switch
            {
                "A" => TemplatePiece.A,
                "B" => TemplatePiece.B,
                var other => throw sequence.Unknown(other, "A", "B"),
            };
        }

        var name = part.Required("SpecialToken").Required("id");
        if (tokens?.Optional(name.Text()) is not { } token)
            throw name.Fault(Quote.Of(name.Text()), "a name listed in special_tokens");
        return TemplatePiece.Fixed(
            [.. token.Required("ids").Items().Select(id => id.Integer(0, TokenVocabulary.HighestAllowedId))]);
    }
}
