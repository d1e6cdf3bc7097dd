using Microsoft.ML.Tokenizers;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// The way from a text to ids: added tokens, normalizers, added tokens again, words, special tokens around.
/// </summary>
internal sealed class TextPipeline
{
    private readonly INormalizer? _normalizer;
    private readonly WordSplitter _words;
    private readonly PostProcessor _postProcessor;
    private readonly AddedTokenMatcher _rawTokens;
    private readonly AddedTokenMatcher _normalizedTokens;

    public TextPipeline(
        WordModel model, INormalizer? normalizer, IReadOnlyList<IPreTokenizer> preTokenizers,
        PostProcessor postProcessor, IReadOnlyList<AddedToken> added)
    {
        (_normalizer, _postProcessor) = (normalizer, postProcessor);
        _words = new WordSplitter(model, preTokenizers);
        _rawTokens = new AddedTokenMatcher(
            added.Where(token => !token.IsNormalized).Select(token => (token.Content, token)));
        _normalizedTokens = new AddedTokenMatcher(added.Where(token => token.IsNormalized)
            .Select(token => (normalizer?.Normalize(token.Content) ?? token.Content, token)));
    }

    /// <summary>Adds the ids of a text, or of two, to the state.</summary>
    public void Encode(string text, string? pair, bool addSpecialTokens, EncodeSettings settings, EncodeState state)
    {
        // Special tokens come from no part of the text: they have the place where they stand, of no length.
        var at = 0;
        foreach (var piece in pair is null ? _postProcessor.Single : _postProcessor.Pair)
        {
            if (piece.Sequence != '\0')
            {
                var one = piece.Sequence == 'A' ? text : pair!;
                EncodeText(one, settings, state);
                at = one.Length;
            }
            else if (addSpecialTokens)
            {
                foreach (var id in piece.Ids)
                    state.Add(id, new TextRange(at, at));
            }
        }
    }

    private void EncodeText(string text, EncodeSettings settings, EncodeState state)
    {
        var source = new SourceText(text, isTracked: state.Origins is not null);
        if (_rawTokens.IsEmpty)
        {
            EncodeStretch(source, 0, text.Length, settings, state);
            return;
        }

        _rawTokens.Cut(text, (start, end, id) =>
        {
            if (id >= 0)
                state.Add(id, new TextRange(start, end));
            else
                EncodeStretch(source, start, end, settings, state);
        });
    }

    // A stretch between added tokens: normalized by itself, so that a Prepend acts after each of them.
    private void EncodeStretch(SourceText source, int start, int end, EncodeSettings settings, EncodeState state)
    {
        var isAtStart = start == 0;
        if (_normalizer is not null && settings.ConsiderNormalization)
        {
            source = _normalizer.Normalize(source.Slice(start, end));
            (start, end) = (0, source.Text.Length);
        }

        if (_normalizedTokens.IsEmpty)
        {
            _words.Encode(new Piece(source, start, end - start, isAtStart), settings.ConsiderPreTokenization, state);
            return;
        }

        var stretch = source.Slice(start, end);
        _normalizedTokens.Cut(stretch.Text, (from, to, id) =>
        {
            if (id >= 0)
                state.Add(id, state.Origins is null ? default : stretch.OriginOf(from, to));
            else
            {
                var piece = new Piece(stretch, from, to - from, isAtStart && from == 0);
                _words.Encode(piece, settings.ConsiderPreTokenization, state);
            }
        });
    }
}
