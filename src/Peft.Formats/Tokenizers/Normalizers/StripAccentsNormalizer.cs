using System.Text;
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
        for (var end = 0; end < source.Text.Length;)
        {
            var start = end;
            end = source.EndOfPlain(start);
            if (end > start)
            {
                result.Keep(start, end);
                continue;
            }

            Rune.DecodeFromUtf16(source.Text.AsSpan(start), out var rune, out var length);
            end = start + length;
            if (!isAccent(rune.Value))
                result.Add(rune, start, end);
        }

        return result.ToText();
    }
}
