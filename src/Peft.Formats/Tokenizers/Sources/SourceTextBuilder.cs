using System.Text;

namespace Peft.Formats.Tokenizers.Sources;

/// <summary>Builds a text out of the parts of another; follows their origins where that one is tracked.</summary>
internal sealed class SourceTextBuilder(SourceText source)
{
    private readonly StringBuilder _text = new(source.Text.Length + 16);
    private readonly List<TextRange>? _origins = source.IsTracked ? new(source.Text.Length + 16) : null;

    /// <summary>Takes a part as it is.</summary>
    public void Keep(int start, int end)
    {
        _text.Append(source.Text, start, end - start);
        for (var at = start; _origins is not null && at < end; at++)
            _origins.Add(source.OriginOf(at, at + 1));
    }

    /// <summary>Adds content made from a part, which is not empty.</summary>
    public void Add(ReadOnlySpan<char> content, int start, int end)
    {
        _text.Append(content);
        for (var i = 0; _origins is not null && i < content.Length; i++)
            _origins.Add(source.OriginOf(start, end));
    }

    public void Add(Rune content, int start, int end)
    {
        Span<char> pair = stackalloc char[2];
        Add(pair[..content.EncodeToUtf16(pair)], start, end);
    }

    public SourceText ToText() => SourceText.Made(_text.ToString(), _origins?.ToArray());
}
