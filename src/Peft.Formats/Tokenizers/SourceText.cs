using System.Text;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// A text on its way to the model that knows from which part of the caller's text each of its characters was made, so
/// that tokens have offsets there. Where only ids are asked for it is not tracked, and costs no more than its string.
/// </summary>
internal sealed class SourceText
{
    private readonly int _start;
    // By character; null where the text is a part of the caller's, from _start on.
    private readonly TextRange[]? _origins;

    /// <summary>A text of the caller.</summary>
    public SourceText(string text, bool isTracked)
        : this(text, isTracked, 0, null)
    {
    }

    private SourceText(string text, bool isTracked, int start, TextRange[]? origins) =>
        (Text, IsTracked, _start, _origins) = (text, isTracked, start, origins);

    public string Text { get; }

    public bool IsTracked { get; }

    /// <summary>The part of the caller's text that a part of this one, not empty, was made from.</summary>
    public TextRange OriginOf(int start, int end) => _origins is null
        ? new TextRange(_start + start, _start + end)
        : new TextRange(_origins[start].Start, _origins[end - 1].End);

    /// <summary>The text made anew character by character; runs of printable ASCII stay as they are.</summary>
    /// <param name="add">Adds to the builder what becomes of a character, given with its start and end.</param>
    public SourceText Rewrite(Action<SourceTextBuilder, Rune, int, int> add)
    {
        var result = new SourceTextBuilder(this);
        for (var end = 0; end < Text.Length;)
        {
            var start = end;
            end = EndOfPlain(start);
            if (end > start)
            {
                result.Keep(start, end);
                continue;
            }

            Rune.DecodeFromUtf16(Text.AsSpan(start), out var rune, out var length);
            end = start + length;
            add(result, rune, start, end);
        }

        return result.ToText();
    }

    public SourceText Slice(int start, int end) => start == 0 && end == Text.Length
        ? this
        : new SourceText(Text[start..end], IsTracked, _start + start, _origins?[start..end]);

    /// <summary>Another text of the same length, made character by character.</summary>
    public SourceText WithCharacters(string text) => new(text, IsTracked, _start, _origins);

    /// <summary>A text made by a <see cref="SourceTextBuilder"/>.</summary>
    public static SourceText Made(string text, TextRange[]? origins) => new(text, origins is not null, 0, origins);

    /// <summary>The text with every occurrence of another replaced.</summary>
    public SourceText Replace(string old, string content)
    {
        if (!IsTracked)
            return Made(Text.Replace(old, content, StringComparison.Ordinal), null);
        var matches = new List<(int Start, int End)>();
        for (var at = 0; Text.IndexOf(old, at, StringComparison.Ordinal) is >= 0 and var found; at = found + old.Length)
            matches.Add((found, found + old.Length));
        return Replace(matches, content);
    }

    /// <summary>The text with the given parts, in order and not touching, replaced.</summary>
    public SourceText Replace(IReadOnlyList<(int Start, int End)> parts, string content)
    {
        if (parts.Count == 0)
            return this;
        var result = new SourceTextBuilder(this);
        var done = 0;
        foreach (var (start, end) in parts)
        {
            result.Keep(done, start);
            result.Add(content, start, end);
            done = end;
        }

        result.Keep(done, Text.Length);
        return result.ToText();
    }

    /// <summary>The text with content before it, which counts as made from its first character.</summary>
    public SourceText Prepend(string content)
    {
        if (!IsTracked)
            return Made(content + Text, null);
        var result = new SourceTextBuilder(this);
        result.Add(content, 0, Text.Length > 1 && char.IsSurrogatePair(Text, 0) ? 2 : Math.Min(1, Text.Length));
        result.Keep(0, Text.Length);
        return result.ToText();
    }

    private int EndOfPlain(int start)
    {
        var length = Text.AsSpan(start).IndexOfAnyExceptInRange(' ', '~');
        return length < 0 ? Text.Length : start + length;
    }
}

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

/// <summary>A part of a text.</summary>
/// <param name="Start">Its first character.</param>
/// <param name="End">The character behind its last.</param>
internal readonly record struct TextRange(int Start, int End);
