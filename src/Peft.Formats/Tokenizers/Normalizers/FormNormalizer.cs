using Peft.Formats.Tokenizers.Sources;
using Peft.Formats.Tokenizers.Unicode;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>NFC, NFD, NFKC and NFKD.</summary>
internal sealed class FormNormalizer(string form) : INormalizer
{
    private readonly UnicodeNormalizer _normalizer = UnicodeNormalizer.OfForm(form);

    public SourceText Normalize(SourceText source) => _normalizer.Normalize(source);
}
