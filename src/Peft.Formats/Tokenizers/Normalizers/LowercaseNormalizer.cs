using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Lower case, character by character.</summary>
internal sealed class LowercaseNormalizer : INormalizer
{
    // The one character whose lower case is two: capital I with dot above.
    public SourceText Normalize(SourceText source)
    {
        var text = source.Replace("\u0130", "i\u0307");
        return text.WithCharacters(text.Text.ToLowerInvariant());
    }
}
