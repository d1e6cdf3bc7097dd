using System.Text;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>
/// Removes combining marks; takes a decomposing normalizer before it to remove accents of composed letters.
/// </summary>
internal sealed class StripAccentsNormalizer : INormalizer
{
    public string Normalize(string text)
    {
        var result = new StringBuilder(text.Length);
        Span<char> pair = stackalloc char[2];
        foreach (var rune in text.EnumerateRunes())
        {
            if (!CodePoints.IsMark(rune.Value))
                result.Append(pair[..rune.EncodeToUtf16(pair)]);
        }

        return result.ToString();
    }
}
