namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Puts fixed content before a text that is not empty.</summary>
internal sealed class PrependNormalizer(string content) : INormalizer
{
    public string Normalize(string text) => text.Length == 0 ? text : content + text;
}
