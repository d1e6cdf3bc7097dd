using Peft.Formats.Tokenizers.PreTokenizers;
using Peft.Formats.Tokenizers.Sources;

namespace Peft.Formats.Tokenizers.Normalizers;

/// <summary>Replaces every occurrence of a fixed text, or every match of a regular expression.</summary>
internal sealed class ReplaceNormalizer(string? text, TokenizerRegex? regex, string content) : INormalizer
{
    /// <summary>How many times as long a text can become.</summary>
    public double Growth => Math.Max(1, (double)content.Length / (text?.Length ?? 1));

    public SourceText Normalize(SourceText source) =>
        text is not null ? source.Replace(text, content) : source.Replace(regex!.Matches(source.Text), content);
}
