namespace Peft.Formats.Tokenizers;

/// <summary>
/// How texts become what a model is given: which ids surround a text, where a prompt ends, which ids end a text,
/// and which ids the model has. Training, evaluation, generation and probes all encode here, so that a model meets the
/// ids it learned.
/// </summary>
/// <remarks>
/// A special token that a text spells out itself is not added a second time: a text that begins with the prefix keeps
/// that one, and
/// <see cref="EndOf"/> adds no end to an answer that has one.
/// </remarks>
/// <param name="Encode">Text to ids, without special tokens.</param>
/// <param name="Prefix">The special tokens that the tokenizer's template puts first, such as BOS.</param>
/// <param name="Ends">The ids that end a text: the one that is learned first, then all others that are known.</param>
/// <param name="PadId">The id that fills up short sequences; no loss counts it.</param>
public sealed record TextEncoder(
    Func<string, IReadOnlyList<int>> Encode, IReadOnlyList<int> Prefix, IReadOnlyList<int> Ends, int PadId)
{
    // Any text will do to see what is put before one, and what a prompt's end becomes when one follows.
    private const string Probe = "a";
    // Further back no tokenizer joins white space with what follows it.
    private const int LongestHeldBack = 64;

    /// <summary>Text to ids without special tokens, each with its place in the text: start and the first UTF-16 unit
    /// behind it.</summary>
    public Func<string, IReadOnlyList<LocatedToken>> Locate { get; init; } =
        _ => throw new InvalidOperationException("these texts are encoded without places");

    /// <summary>Whether a token is one of those that mark a text, such as its end.</summary>
    public Func<int, bool> IsSpecial { get; init; } = _ => false;

    /// <summary>How many ids the model has; an id at or above it cannot be used.</summary>
    public int VocabularySize { get; init; } = int.MaxValue;

    /// <summary>The id that an answer's end is learned as; null when there is none.</summary>
    public int? EndId => Ends.Count > 0 ? Ends[0] : null;

    /// <summary>What a first token is predicted from: the prefix, or the end of the text before.</summary>
    public IReadOnlyList<int> Start => Prefix.Count > 0 ? Prefix : [EndId ?? PadId];

    /// <summary>The encoder of a tokenizer with a model.</summary>
    /// <param name="tokenizer">The tokenizer; its end of text, where it names one, is the one that is learned.</param>
    /// <param name="modelEnds">The ids that the model's config and generation config name as ends of a text.</param>
    /// <param name="vocabularySize">How many ids the model has.</param>
    /// <exception cref="UserException">An id that every text or every end needs is not one of the model's.</exception>
    public static TextEncoder Of(
        HuggingFaceTokenizer tokenizer, IReadOnlyList<int>? modelEnds = null, int vocabularySize = int.MaxValue)
    {
        var faults = new Faults();
        var allowed = $"an id below the model's vocab_size {vocabularySize}";
        var prefix = PrefixOf(tokenizer);
        foreach (var id in prefix.Append(tokenizer.EosId ?? 0).Where(id => id >= vocabularySize).Distinct())
            faults.Add("tokenizer", $"{Quote.Of(tokenizer.IdToToken(id)!)} with id {id}", allowed, Advice);
        foreach (var id in (modelEnds ?? []).Where(id => id >= vocabularySize))
            faults.Add("eos_token_id", $"{id}", allowed, "correct config.json or generation_config.json");
        faults.ThrowIfAny("the model's tokenizer");

        IEnumerable<int> own = tokenizer.EosId is { } end ? [end] : [];
        int[] ends = [.. own.Concat(modelEnds ?? []).Distinct()];
        // Padding is never seen, so a padding token that the model lacks does no harm.
        var pad = tokenizer.PadId is { } id2 && id2 < vocabularySize ? id2 : ends.FirstOrDefault();
        return new(text => tokenizer.EncodeToIds(text, addSpecialTokens: false), prefix, ends, pad)
        {
            VocabularySize = vocabularySize,
            IsSpecial = tokenizer.IsSpecial,
            Locate = text =>
            [
                .. tokenizer.EncodeToTokens(text, addSpecialTokens: false).Select(token =>
                    new LocatedToken(token.Id, token.Offset.Start.Value, token.Offset.End.Value)),
            ],
        };
    }

    /// <summary>The same where further ids end a text, such as that of a chat template's end of turn.</summary>
    public TextEncoder WithEnds(IEnumerable<int> ends) => this with { Ends = [.. Ends.Concat(ends).Distinct()] };

    /// <summary>The tokens of a text with their places, without the prefix, which a text may spell out
    /// itself.</summary>
    public IReadOnlyList<LocatedToken> Located(string text)
    {
        var tokens = Locate(text);
        return Prefix.Count > 0 && tokens.Take(Prefix.Count).Select(token => token.Id).SequenceEqual(Prefix)
            ? [.. tokens.Skip(Prefix.Count)]
            : tokens;
    }

    /// <summary>The ids of a text without the prefix, which a text may spell out itself.</summary>
    public IReadOnlyList<int> Text(string text)
    {
        var ids = Encode(text);
        return Prefix.Count > 0 && ids.Count >= Prefix.Count && ids.Take(Prefix.Count).SequenceEqual(Prefix)
            ? [.. ids.Skip(Prefix.Count)]
            : ids;
    }

    /// <summary>
    /// A prompt and what follows it, encoded as the one text that they are: what a tokenizer does at the beginning of a
    /// text, as a leading space, it does not do again where the continuation begins.
    /// </summary>
    public EncodedPair Pair(string prompt, string continuation)
    {
        var alone = prompt.Length == 0 ? [] : Text(prompt);
        var whole = Text(prompt + continuation);
        return new(whole, SharedLength(alone, whole));
    }

    /// <summary>
    /// A prompt to be continued, with the prefix. White space at its end that the tokenizer would join with the word
    /// after it is held back, since in a whole text that word's token begins with it; the continuation begins with it
    /// then.
    /// </summary>
    public EncodedPrompt Prompt(string prompt)
    {
        var alone = Text(prompt);
        if (alone.Count == 0)
            return new(Start, "");
        var trimmed = Math.Max(prompt.AsSpan().TrimEnd().Length, prompt.Length - LongestHeldBack);
        if (trimmed == 0 || trimmed == prompt.Length)
            return new([.. Prefix, .. alone], "");
        var kept = SharedLength(alone, Text(prompt + Probe));
        for (var length = trimmed; kept < alone.Count && length < prompt.Length; length++)
        {
            if (Text(prompt[..length]).SequenceEqual(alone.Take(kept)))
                return new([.. Prefix, .. alone.Take(kept)], prompt[length..]);
        }

        return new([.. Prefix, .. alone], "");
    }

    /// <summary>The end to be learned after an answer: none where it has one of its own already.</summary>
    public IReadOnlyList<int> EndOf(IReadOnlyList<int> answer) =>
        EndId is not { } end || answer.Count > 0 && Ends.Contains(answer[^1]) ? [] : [end];

    /// <summary>Checks that the model has all ids.</summary>
    /// <exception cref="UserException">One is at or above <see cref="VocabularySize"/>.</exception>
    public void RequireKnown(IReadOnlyList<int> ids, string place)
    {
        if (UnknownIn(ids, place) is { } fault)
            throw new UserException(fault.ToString());
    }

    /// <summary>The fault of ids that the model lacks; null when it has all.</summary>
    public Fault? UnknownIn(IReadOnlyList<int> ids, string place)
    {
        foreach (var id in ids)
        {
            if (id >= VocabularySize)
                return new Fault(
                    place, $"a token with id {id}", $"ids below the model's vocab_size {VocabularySize}", Advice);
        }

        return null;
    }

    private const string Advice = "use the tokenizer of the base model";

    private static int SharedLength(IReadOnlyList<int> one, IReadOnlyList<int> other)
    {
        var most = Math.Min(one.Count, other.Count);
        for (var i = 0; i < most; i++)
        {
            if (one[i] != other[i])
                return i;
        }

        return most;
    }

    private static int[] PrefixOf(HuggingFaceTokenizer tokenizer)
    {
        var whole = tokenizer.EncodeToIds(Probe, addSpecialTokens: true).ToArray();
        var plain = tokenizer.EncodeToIds(Probe, addSpecialTokens: false).ToArray();
        var at = plain.Length == 0 ? 0 : whole.AsSpan().IndexOf(plain);
        return at <= 0 ? [] : whole[..at];
    }
}

/// <summary>A token and its place in the text that it is of, in UTF-16 units.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Start">Its first unit.</param>
/// <param name="End">The first behind it.</param>
public readonly record struct LocatedToken(int Id, int Start, int End);

/// <summary>A prompt with its continuation, as ids without special tokens.</summary>
/// <param name="Whole">The ids of both as one text.</param>
/// <param name="From">
/// The first id of the whole that is not one of the prompt's own: a token that reaches over the border belongs to the
/// continuation.
/// </param>
public sealed record EncodedPair(IReadOnlyList<int> Whole, int From);

/// <summary>A prompt to be continued.</summary>
/// <param name="Ids">Its ids, special tokens included.</param>
/// <param name="HeldBack">White space at its end that the ids do not hold: the continuation begins with it.</param>
public sealed record EncodedPrompt(IReadOnlyList<int> Ids, string HeldBack)
{
    /// <summary>A continuation's text without the white space that the prompt's text has already.</summary>
    public string Continuation(string text)
    {
        var held = HeldBack;
        return Continuation(text, ref held);
    }

    /// <summary>The same for a text that comes in parts.</summary>
    /// <param name="text">The next part.</param>
    /// <param name="held">What is still held back; <see cref="HeldBack"/> before the first part.</param>
    public static string Continuation(string text, ref string held)
    {
        var at = 0;
        while (at < text.Length && at < held.Length && text[at] == held[at])
            at++;
        held = at < text.Length ? "" : held[at..];
        return text[at..];
    }
}
