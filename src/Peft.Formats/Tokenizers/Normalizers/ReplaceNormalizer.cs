using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Replaces every occurrence of a fixed text, or every match of a regular expression.</summary>
internal sealed class ReplaceNormalizer(string? text, TokenizerRegex? regex, string content) : INormalizer
{
    /// <summary>How many times as long a text can become.</summary>
    public double Growth => Math.Max(1, (double)content.Length / (text?.Length ?? 1));

    public string Normalize(string source) =>
        text is not null ? source.Replace(text, content, StringComparison.Ordinal) : regex!.Replace(source, content);
}
