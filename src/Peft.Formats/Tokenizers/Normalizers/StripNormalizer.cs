using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Removes white space from the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public SourceText Normalize(SourceText source)
    {
        var end = right ? source.Text.AsSpan().TrimEnd().Length : source.Text.Length;
        var start = left ? end - source.Text.AsSpan(0, end).TrimStart().Length : 0;
        return source.Slice(start, end);
    }
}
