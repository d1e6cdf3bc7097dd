namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Rewrites text before it is cut into words.</summary>
internal interface INormalizer
{
    string Normalize(string text);
}
