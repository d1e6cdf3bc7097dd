using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Normalizers one after the other.</summary>
internal sealed class SequenceNormalizer(IReadOnlyList<INormalizer> normalizers) : INormalizer
{
    public SourceText Normalize(SourceText source)
    {
        foreach (var normalizer in normalizers)
            source = normalizer.Normalize(source);
        return source;
    }
}
