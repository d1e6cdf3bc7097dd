using Peft.Data.Tokens;
using Peft.Formats.Tokenizers;

namespace Peft.Evaluation.Scoring;

/// <summary>A sequence of which the tail is scored.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="From">First token whose probability counts; at least 1.</param>
/// <param name="IsTruncated">Whether the beginning was cut off.</param>
public sealed record ScoredSequence(IReadOnlyList<int> Ids, int From, bool IsTruncated = false);

/// <summary>Texts to ids for evaluation: what is scored loses no token at its border, and what is too long is cut from the left.</summary>
public sealed class PromptEncoder
{
    private readonly TextEncoder _encoder;
    private readonly int _maxLength;

    /// <summary>Makes the encoder of a model.</summary>
    /// <param name="tokenizer">Its tokenizer.</param>
    /// <param name="endId">Its end of text, for a tokenizer that names none.</param>
    /// <param name="maxLength">Most tokens that it can be given.</param>
    public PromptEncoder(HuggingFaceTokenizer tokenizer, int? endId, int maxLength)
    {
        _encoder = TextEncoder.Of(tokenizer, endId);
        _maxLength = maxLength;
    }

    // With nothing before it a first token has no probability: the end of the text before stands there then.
    private IReadOnlyList<int> Start => _encoder.Prefix.Count > 0 ? _encoder.Prefix : [_encoder.EndId ?? _encoder.PadId];

    /// <summary>A context and what follows it.</summary>
    /// <remarks>
    /// Source: lm-evaluation-harness 0.4.9, lm_eval/api/model.py, _encode_pair: white space at the context's end goes to the continuation,
    /// both are encoded as one text, and the continuation is what that has beyond the context's own tokens. Two things differ: where both
    /// share a token and nothing is beyond (there the harness scores nothing), the continuation begins at the first token in which the two
    /// differ; and the special tokens that the tokenizer puts first (add_bos_token there) stay when a long context is cut, as in training.
    /// </remarks>
    public ScoredSequence Pair(string context, string continuation)
    {
        var end = context.AsSpan().TrimEnd().Length;
        continuation = context[end..] + continuation;
        context = context[..end];
        if (context.Length == 0)
            return Cut(Start, [], _encoder.Encode(continuation));
        var alone = _encoder.Encode(context);
        var whole = _encoder.Encode(context + continuation);
        if (whole.Count > alone.Count)
            return Cut(_encoder.Prefix, alone, [.. whole.Skip(alone.Count)]);
        var shared = 0;
        while (shared < whole.Count - 1 && alone[shared] == whole[shared])
            shared++;
        return Cut(shared > 0 ? _encoder.Prefix : Start, [.. whole.Take(shared)], [.. whole.Skip(shared)]);
    }

    /// <summary>A prompt to be continued by at most so many tokens.</summary>
    public (IReadOnlyList<int> Ids, bool IsTruncated) Prompt(string prompt, int newTokens)
    {
        var ids = _encoder.Encode(prompt);
        var start = ids.Count == 0 ? Start : _encoder.Prefix;
        var room = Math.Max(1, _maxLength - newTokens - start.Count);
        return ids.Count <= room ? ([.. start, .. ids], false) : ([.. start, .. ids.Skip(ids.Count - room)], true);
    }

    /// <summary>Plain text in windows that each fill the context; every token of the text is scored once.</summary>
    /// <remarks>
    /// Source: lm-evaluation-harness 0.4.9, lm_eval/utils.py, get_rolling_token_windows with context_len 1: the first window follows the
    /// beginning of text, each further one the token before it, and the last is filled up from the left with tokens that are not scored
    /// again.
    /// </remarks>
    public IReadOnlyList<ScoredSequence> Windows(string text)
    {
        var ids = _encoder.Encode(text);
        var windows = new List<ScoredSequence>();
        for (var from = 0; from < ids.Count; from += _maxLength)
        {
            var to = Math.Min(from + _maxLength, ids.Count);
            var first = to - _maxLength - 1; // as many inputs as the context holds, and the last target
            windows.Add(from == 0
                ? new([Start[^1], .. ids.Take(to)], 1)
                : new([.. ids.Skip(first).Take(to - first)], from - first));
        }
        return windows;
    }

    // The model is given all but the last token. The prefix stays, as in training.
    private ScoredSequence Cut(IReadOnlyList<int> prefix, IReadOnlyList<int> context, IReadOnlyList<int> continuation)
    {
        var room = _maxLength + 1 - prefix.Count;
        var cut = Math.Max(0, context.Count + continuation.Count - room);
        int[] ids = [.. prefix, .. context.Concat(continuation).Skip(cut)];
        return new(ids, Math.Max(1, prefix.Count + Math.Max(0, context.Count - cut)), cut > 0);
    }
}
