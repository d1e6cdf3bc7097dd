using Peft.Formats.Tokenizers.Sources;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>
/// Removes combining marks; takes a decomposing normalizer before it to remove accents of composed letters.
/// </summary>
/// <param name="isAccent">Which code points count.</param>
internal sealed class StripAccentsNormalizer(Func<int, bool> isAccent) : INormalizer
{
    public static StripAccentsNormalizer AllMarks { get; } = new(CodePoints.IsMark);

    public SourceText Normalize(SourceText source)
    {
        var result = new SourceTextBuilder(source);
        var at = 0;
        foreach (var rune in source.Text.EnumerateRunes())
        {
            if (!isAccent(rune.Value))
                result.Add(rune, at, at + rune.Utf16SequenceLength);
            at += rune.Utf16SequenceLength;
        }

        return result.ToText();
    }
}
