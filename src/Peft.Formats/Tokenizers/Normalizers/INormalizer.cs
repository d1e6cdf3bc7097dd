using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Rewrites text before it is cut into words.</summary>
internal interface INormalizer
{
    SourceText Normalize(SourceText source);

    string Normalize(string text) => Normalize(new SourceText(text, isTracked: false)).Text;
}
