using Peft.Formats.Tokenizers.Decoders;
using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Reading;

/// <summary>Reads "decoder" as the list of its steps, each given as what makes it before the next one.</summary>
internal static class DecoderReader
{
    public static IReadOnlyList<Func<DecoderStep, DecoderStep>> Read(JsonPart part)
    {
        var growths = new List<double>();
        var steps = ReadSteps(part, growths);
        ChainLimits.Require(part, steps.Count, growths);
        return steps;
    }

    private static IReadOnlyList<Func<DecoderStep, DecoderStep>> ReadSteps(JsonPart part, List<double> growths)
    {
        switch (part.Type)
        {
            case "Sequence":
                return [.. part.Required("decoders").Items().SelectMany(step => ReadSteps(step, growths))];
            case "ByteLevel":
                return [next => new ByteLevelStep(next)];
            case "ByteFallback":
                return [next => new ByteFallbackStep(next)];
            case "Fuse":
                return [next => new FuseStep(next)];
            case "Replace":
                var replace = NormalizerReader.ReadReplace(part);
                growths.Add(replace.Growth);
                return [next => new ReplaceStep(replace, next)];
            case "Strip":
                var content = part.Required("content");
                var character = content.Text() is [var one] ? one : throw content.Fault("another length", "one character");
                var start = part.Required("start").Integer(0, 1 << 20);
                var stop = part.Required("stop").Integer(0, 1 << 20);
                return [next => new StripStep(character, start, stop, next)];
            case "Metaspace":
                var (replacement, scheme) = PreTokenizerReader.ReadMark(part);
                return [next => new MetaspaceStep(replacement, scheme != PrependScheme.Never, next)];
            case "WordPiece":
                var prefix = part.Optional("prefix")?.Text() ?? "##";
                var cleansUp = part.Boolean("cleanup", true);
                return [next => new WordPieceStep(prefix, cleansUp, next)];
            default:
                throw part.Unsupported(
                    part.Type, "choose a base model with such a tokenizer",
                    "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Metaspace", "WordPiece", "Sequence");
        }
    }
}
