using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Replaces every occurrence of a fixed text, or every match of a regular expression.</summary>
internal sealed class ReplaceNormalizer(string? text, TokenizerRegex? regex, string content) : INormalizer
{
    public string Normalize(string source) =>
        text is not null ? source.Replace(text, content, StringComparison.Ordinal) : regex!.Replace(source, content);
}
