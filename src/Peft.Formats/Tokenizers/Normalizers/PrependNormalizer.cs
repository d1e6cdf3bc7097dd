using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Puts fixed content before a text that is not empty.</summary>
internal sealed class PrependNormalizer(string content) : INormalizer
{
    public SourceText Normalize(SourceText source) => source.Text.Length == 0 ? source : source.Prepend(content);
}
