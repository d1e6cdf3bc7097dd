using System.Collections.Concurrent;
using Peft.Formats.Tokenizers.AddedTokens;
using Peft.Formats.Tokenizers.Decoders;
using Peft.Formats.Tokenizers.Models;
using Peft.Formats.Tokenizers.Normalizers;
using Peft.Formats.Tokenizers.PostProcessors;
using Peft.Formats.Tokenizers.PreTokenizers;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// A byte-pair-encoding tokenizer: byte-level (GPT-2, Llama 3, Qwen) or with byte fallback (Llama 2, Mistral).
/// </summary>
public sealed class BpeTokenizer : Tokenizer
{
    private readonly BpeModel _model;
    private readonly INormalizer? _normalizer;
    private readonly WordSplitter _words;
    private readonly PostProcessor _postProcessor;
    private readonly IReadOnlyList<Func<DecoderStep, DecoderStep>> _decoders;
    private readonly Dictionary<int, AddedToken> _added;
    private readonly Dictionary<string, AddedToken> _addedByText;
    private readonly HashSet<string> _specialTexts;
    private readonly AddedTokenMatcher _rawTokens;
    private readonly AddedTokenMatcher _normalizedTokens;
    private readonly ConcurrentBag<EncodeState> _states = [];
    // Token texts that were asked for; filled as decoding needs them.
    private readonly string?[] _texts;

    internal BpeTokenizer(
        BpeModel model,
        INormalizer? normalizer,
        IReadOnlyList<IPreTokenizer> preTokenizers,
        PostProcessor postProcessor,
        IReadOnlyList<Func<DecoderStep, DecoderStep>> decoders,
        IReadOnlyList<AddedToken> added)
    {
        _model = model;
        _normalizer = normalizer;
        _words = new WordSplitter(model, preTokenizers);
        _postProcessor = postProcessor;
        _decoders = decoders;
        _added = added.ToDictionary(token => token.Id);
        _addedByText = added.ToDictionary(token => token.Content);
        _specialTexts = [.. added.Where(token => token.IsSpecial).Select(token => token.Content)];
        _rawTokens = new AddedTokenMatcher(added.Where(token => !token.IsNormalized).Select(token => (token.Content, token)));
        _normalizedTokens = new AddedTokenMatcher(added.Where(token => token.IsNormalized)
            .Select(token => (normalizer?.Normalize(token.Content) ?? token.Content, token)));
        VocabularySize = model.Vocabulary.Count + added.Count(token => !model.Vocabulary.Contains(token.Id));
        EndId = added.Select(token => token.Id + 1).Append(model.Vocabulary.EndId).Max();
        _texts = new string?[EndId];
    }

    /// <inheritdoc/>
    public override int VocabularySize { get; }

    /// <inheritdoc/>
    public override int EndId { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<int> EncodeToIds(string text, string? pair, bool addSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(text);
        return WithState(state => Encode(text, pair, addSpecialTokens, state).ToArray());
    }

    /// <inheritdoc/>
    public override int CountTokens(string text, bool addSpecialTokens = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        return WithState(state => Encode(text, null, addSpecialTokens, state).Length);
    }

    /// <inheritdoc/>
    public override string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false)
    {
        ArgumentNullException.ThrowIfNull(ids);
        var stream = new TokenStream(this, skipSpecialTokens, _decoders);
        foreach (var id in ids)
            stream.Push(id);
        return stream.Flush();
    }

    /// <inheritdoc/>
    public override TokenStream NewDecoder(bool skipSpecialTokens) => new(this, skipSpecialTokens, _decoders);

    /// <inheritdoc/>
    public override string? IdToToken(int id)
    {
        if ((uint)id >= (uint)_texts.Length)
            return null;
        return _texts[id] ??= _added.TryGetValue(id, out var added) ? added.Content
            : _model.Vocabulary.Contains(id) ? _model.Vocabulary.TextOf(id) : null;
    }

    /// <inheritdoc/>
    public override int? TokenToId(string token)
    {
        ArgumentNullException.ThrowIfNull(token);
        if (_addedByText.TryGetValue(token, out var added))
            return added.Id;
        var id = _model.Vocabulary.Find(token);
        return id < 0 ? null : id;
    }

    /// <inheritdoc/>
    public override bool IsSpecial(int id) => IdToToken(id) is { } text && _specialTexts.Contains(text);

    private T WithState<T>(Func<EncodeState, T> work)
    {
        if (!_states.TryTake(out var state))
            state = new EncodeState(_model.Merges);
        // Not in a finally: after an error the state is dropped rather than used again.
        var result = work(state);
        state.Clear();
        _states.Add(state);
        return result;
    }

    private Span<int> Encode(string text, string? pair, bool addSpecialTokens, EncodeState state)
    {
        _postProcessor.Apply(
            pair is not null, addSpecialTokens, state.Ids, sequence => EncodeText(sequence == 'A' ? text : pair!, state));
        return state.Ids.Span;
    }

    private void EncodeText(string text, EncodeState state)
    {
        if (_rawTokens.IsEmpty)
        {
            EncodeStretch(text, 0, text.Length, state);
            return;
        }

        _rawTokens.Cut(text, (start, end, id) =>
        {
            if (id >= 0)
                state.Ids.Add(id);
            else
                EncodeStretch(text, start, end, state);
        });
    }

    // A stretch between added tokens: normalized by itself, so that a Prepend acts after each of them.
    private void EncodeStretch(string text, int start, int end, EncodeState state)
    {
        var isAtStart = start == 0;
        if (_normalizer is not null)
        {
            text = _normalizer.Normalize(start == 0 && end == text.Length ? text : text[start..end]);
            (start, end) = (0, text.Length);
        }

        if (_normalizedTokens.IsEmpty)
        {
            _words.Encode(new Piece(text, start, end - start, isAtStart), state);
            return;
        }

        var stretch = text[start..end];
        _normalizedTokens.Cut(stretch, (from, to, id) =>
        {
            if (id >= 0)
                state.Ids.Add(id);
            else
                _words.Encode(new Piece(stretch, from, to - from, isAtStart && from == 0), state);
        });
    }
}
