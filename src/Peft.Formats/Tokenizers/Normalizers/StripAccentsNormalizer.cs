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

    public SourceText Normalize(SourceText source) => source.Rewrite((result, rune, start, end) =>
    {
        if (!isAccent(rune.Value))
            result.Add(rune, start, end);
    });
}
