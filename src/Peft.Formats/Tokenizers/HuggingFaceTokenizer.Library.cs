using Microsoft.ML.Tokenizers;

namespace Peft.Formats.Tokenizers;

/// <content>What the library's base class asks for.</content>
public sealed partial class HuggingFaceTokenizer
{
    /// <inheritdoc/>
    protected override EncodeResults<EncodedToken> EncodeToTokens(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        text ??= textSpan.ToString();
        var tokens = EncodeToTokens(text, addSpecialTokens: true, settings);
        var (count, index) = Fitting(tokens, text.Length, settings.MaxTokenCount, fromEnd: false);
        return new EncodeResults<EncodedToken> { Tokens = tokens[..count], CharsConsumed = index };
    }

    /// <inheritdoc/>
    protected override EncodeResults<int> EncodeToIds(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        text ??= textSpan.ToString();
        if (settings.MaxTokenCount == int.MaxValue)
        {
            var ids = Encode(text, null, true, settings, state => state.Ids.Span.ToArray());
            return new EncodeResults<int> { Tokens = ids, CharsConsumed = text.Length };
        }

        var tokens = EncodeToTokens(text, addSpecialTokens: true, settings);
        var (count, index) = Fitting(tokens, text.Length, settings.MaxTokenCount, fromEnd: false);
        return new EncodeResults<int> { Tokens = [.. tokens.Take(count).Select(token => token.Id)], CharsConsumed = index };
    }

    /// <inheritdoc/>
    protected override int CountTokens(string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        text ??= textSpan.ToString();
        if (settings.MaxTokenCount == int.MaxValue)
            return Encode(text, null, true, settings, state => state.Ids.Count);
        var tokens = EncodeToTokens(text, addSpecialTokens: true, settings);
        return Fitting(tokens, text.Length, settings.MaxTokenCount, fromEnd: false).Count;
    }

    /// <summary>
    /// Where the text can be cut so that one side has at most so many tokens. A cut never parts a character whose bytes are
    /// several tokens: the side is shorter by them then.
    /// </summary>
    protected override int GetIndexByTokenCount(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings, bool fromEnd, out string? normalizedText,
        out int tokenCount)
    {
        text ??= textSpan.ToString();
        normalizedText = null;
        var tokens = EncodeToTokens(text, addSpecialTokens: true, settings);
        (tokenCount, var index) = Fitting(tokens, text.Length, settings.MaxTokenCount, fromEnd);
        return index;
    }

    private static (int Count, int Index) Fitting(EncodedToken[] tokens, int length, int most, bool fromEnd)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(most, 1);
        if (tokens.Length <= most)
            return (tokens.Length, fromEnd ? 0 : length);
        // Bytes of a fallback may come before the unknown token they stand behind, so ends and starts are not in order.
        var starts = new int[tokens.Length + 1];
        starts[^1] = length;
        for (var i = tokens.Length - 1; i >= 0; i--)
            starts[i] = Math.Min(starts[i + 1], tokens[i].Offset.Start.Value);
        var ends = new int[tokens.Length + 1];
        for (var i = 0; i < tokens.Length; i++)
            ends[i + 1] = Math.Max(ends[i], tokens[i].Offset.End.Value);
        if (fromEnd)
        {
            var first = tokens.Length - most;
            while (ends[first] > starts[first])
                first++;
            return (tokens.Length - first, starts[first]);
        }

        var count = most;
        while (ends[count] > starts[count])
            count--;
        return (count, ends[count]);
    }
}
