using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.ML.Tokenizers;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Text to token ids and back, exactly as Hugging Face tokenizers does it for the same tokenizer.json: byte-level BPE
/// (GPT-2, Llama 3, Qwen), BPE with byte fallback (Llama 2, Mistral, Gemma), Unigram (T5), WordPiece (BERT). Safe to
/// use from several
/// threads. The truncation and padding that a file may carry are left to whoever builds batches.
/// </summary>
/// <remarks>
/// As a <see cref="Tokenizer"/> of the library it adds the special tokens of the file's template. Offsets, counts of
/// characters and indices always mean the text that was given, however it was normalized inside: a normalized text is
/// never returned, and <see cref="Tokenizer.Normalizer"/> and <see cref="Tokenizer.PreTokenizer"/> are null. A token
/// that holds a part of a character's bytes has the whole character's place, a mark before the first word that word's
/// first character's, a composed character that of all it was composed of, and a special token of the template an empty
/// one.
/// </remarks>
public sealed class HuggingFaceTokenizer : Tokenizer
{
    private static readonly EncodeSettings AllSteps =
        new() { ConsiderNormalization = true, ConsiderPreTokenization = true };

    private readonly WordModel _model;
    private readonly TextPipeline _pipeline;
    private readonly IReadOnlyList<Func<DecoderStep, DecoderStep>> _decoders;
    private readonly Dictionary<int, AddedToken> _added;
    private readonly Dictionary<string, AddedToken> _addedByText;
    private readonly HashSet<string> _specialTexts;
    private readonly ConcurrentBag<EncodeState> _states = [];
    // Token texts that were asked for; filled as decoding needs them.
    private readonly string?[] _texts;

    internal HuggingFaceTokenizer(
        WordModel model,
        TextPipeline pipeline,
        IReadOnlyList<Func<DecoderStep, DecoderStep>> decoders,
        IReadOnlyList<AddedToken> added)
    {
        (_model, _pipeline, _decoders) = (model, pipeline, decoders);
        _added = added.ToDictionary(token => token.Id);
        _addedByText = added.ToDictionary(token => token.Content);
        _specialTexts = [.. added.Where(token => token.IsSpecial).Select(token => token.Content)];
        VocabularySize = model.Vocabulary.Count + added.Count(token => !model.Vocabulary.Contains(token.Id));
        EndId = added.Select(token => token.Id + 1).Append(model.Vocabulary.EndId).Max();
        _texts = new string?[EndId];
    }

    /// <summary>The id of the token that begins a text, where the tokenizer's configuration names one.</summary>
    public int? BosId { get; internal init; }

    /// <summary>The id of the token that ends a text, where the tokenizer's configuration names one.</summary>
    public int? EosId { get; internal init; }

    /// <summary>The id of the padding token, where the tokenizer's configuration names one.</summary>
    public int? PadId { get; internal init; }

    /// <summary>SHA-256 of tokenizer.json in lower-case hexadecimal digits.</summary>
    public string Sha256 => Hash.Value;

    /// <summary>Makes <see cref="Sha256"/> when it is first asked for: who only encodes does without the library that
    /// hashes.</summary>
    internal Lazy<string> Hash { private get; init; } = new("");

    /// <summary>
    /// How many tokens there are, added ones included. Ids need not be dense: see <see cref="EndId"/>.
    /// </summary>
    public int VocabularySize { get; }

    /// <summary>One more than the highest id: the rows an embedding needs.</summary>
    public int EndId { get; }

    /// <summary>Lets the library merge its words from now on; ids are the same before.</summary>
    internal void StartLibrary() => _model.StartLibrary();

    /// <summary>
    /// Reads tokenizer.json and, beside it, tokenizer_config.json and special_tokens_map.json where present.
    /// </summary>
    /// <param name="directoryOrFile">The directory that holds them, or tokenizer.json itself.</param>
    /// <exception cref="UserException">The file is missing, damaged, or needs a part that is not supported.</exception>
    public static HuggingFaceTokenizer Load(string directoryOrFile) => TokenizerReader.Load(directoryOrFile);

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">
    /// Whether to add what the post-processor adds, as a beginning-of-text token.
    /// </param>
    public IReadOnlyList<int> EncodeToIds(string text, bool addSpecialTokens) =>
        EncodeToIds(text, null, addSpecialTokens);

    /// <summary>
    /// The ids of a text, or of two in the order and with the tokens of the post-processor's template for pairs.
    /// </summary>
    public IReadOnlyList<int> EncodeToIds(string text, string? pair, bool addSpecialTokens)
    {
        return Encode(text, pair, addSpecialTokens, AllSteps, state => state.Ids.Span.ToArray());
    }

    /// <summary>The tokens of a text with their places in it.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">Whether to add what the post-processor adds, each with an empty place.</param>
    public IReadOnlyList<EncodedToken> EncodeToTokens(string text, bool addSpecialTokens)
    {
        return EncodeToTokens(text, addSpecialTokens, AllSteps);
    }

    /// <summary>The token as the vocabulary spells it (not decoded), or null.</summary>
    public string? IdToToken(int id)
    {
        if ((uint)id >= (uint)_texts.Length)
            return null;
        return _texts[id] ??= _added.TryGetValue(id, out var added) ? added.Content
            : _model.Vocabulary.Contains(id) ? _model.Vocabulary.TextOf(id) : null;
    }

    /// <summary>The id of a token as the vocabulary spells it, or null.</summary>
    public int? TokenToId(string token)
    {
        if (_addedByText.TryGetValue(token, out var added))
            return added.Id;
        var id = _model.Vocabulary.Find(token);
        return id < 0 ? null : id;
    }

    /// <summary>Whether the id is of a token marked special.</summary>
    public bool IsSpecial(int id) => IdToToken(id) is { } text && _specialTexts.Contains(text);

    /// <summary>The text of ids, special tokens included. Ids outside the vocabulary are passed over.</summary>
    public override string Decode(IEnumerable<int> ids) => Decode(ids, skipSpecialTokens: false);

    /// <summary>The text of ids. Ids outside the vocabulary are passed over.</summary>
    public string Decode(IEnumerable<int> ids, bool skipSpecialTokens)
    {
        var stream = NewDecoder(skipSpecialTokens);
        foreach (var id in ids)
            stream.Push(id);
        return stream.Flush();
    }

    /// <summary>
    /// Writes the text of ids, as far as there is room. Where that ends, <paramref name="idsConsumed"/> are the ids
    /// whose text was written, never with a part of a character left over.
    /// </summary>
    public override OperationStatus Decode(
        IEnumerable<int> ids, Span<char> destination, out int idsConsumed, out int charsWritten)
    {
        var stream = NewDecoder(skipSpecialTokens: false);
        (idsConsumed, charsWritten) = (0, 0);
        var (seen, written) = (0, 0);
        foreach (var id in ids)
        {
            if (!Write(stream.Append(id), destination, ref written))
                return OperationStatus.DestinationTooSmall;
            seen++;
            if (!stream.HoldsBack)
                (idsConsumed, charsWritten) = (seen, written);
        }

        if (!Write(stream.Flush(), destination, ref written))
            return OperationStatus.DestinationTooSmall;
        (idsConsumed, charsWritten) = (seen, written);
        return OperationStatus.Done;
    }

    /// <summary>A decoder for ids that come one by one.</summary>
    public TokenStream NewDecoder(bool skipSpecialTokens) => new(this, skipSpecialTokens, _decoders);

    private static bool Write(string text, Span<char> destination, ref int written)
    {
        if (!text.TryCopyTo(destination[written..]))
            return false;
        written += text.Length;
        return true;
    }

    private EncodedToken[] EncodeToTokens(string text, bool addSpecialTokens, EncodeSettings settings) =>
        Encode(text, null, addSpecialTokens, settings, isTracked: true, read: state =>
        {
            var tokens = new EncodedToken[state.Ids.Count];
            for (var i = 0; i < tokens.Length; i++)
            {
                var (id, origin) = (state.Ids.Span[i], state.Origins![i]);
                tokens[i] = new EncodedToken(id, IdToToken(id)!, new Range(origin.Start, origin.End));
            }

            return tokens;
        });

    private T Encode<T>(
        string text, string? pair, bool addSpecialTokens, EncodeSettings settings, Func<EncodeState, T> read,
        bool isTracked = false)
    {
        if (!_states.TryTake(out var state))
            state = _model.NewState();
        state.Origins = isTracked ? new List<TextRange>(text.Length / 2) : null;
        // Not in a finally: after an error the state is dropped rather than used again.
        _pipeline.Encode(text, pair, addSpecialTokens, settings, state);
        var result = read(state);
        state.Clear();
        _states.Add(state);
        return result;
    }

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
    protected override EncodeResults<int> EncodeToIds(
        string? text, ReadOnlySpan<char> textSpan, EncodeSettings settings)
    {
        text ??= textSpan.ToString();
        if (settings.MaxTokenCount == int.MaxValue)
        {
            var ids = Encode(text, null, true, settings, state => state.Ids.Span.ToArray());
            return new EncodeResults<int> { Tokens = ids, CharsConsumed = text.Length };
        }

        var tokens = EncodeToTokens(text, addSpecialTokens: true, settings);
        var (count, index) = Fitting(tokens, text.Length, settings.MaxTokenCount, fromEnd: false);
        var fitting = tokens.Take(count).Select(token => token.Id).ToArray();
        return new EncodeResults<int> { Tokens = fitting, CharsConsumed = index };
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
    /// Where the text can be cut so that one side has at most so many tokens. A cut never parts a character whose bytes
    /// are several tokens: the side is shorter by them then.
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
        // Bytes of a fallback may come before the unknown token that precedes them in the text, so ends and starts are
        // not in order.
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
