using Peft.Formats;
using Peft.Formats.Tokenizers;

namespace Peft.Evaluation.Scoring;

/// <summary>A sequence of which the tail is scored.</summary>
/// <param name="Ids">Token ids.</param>
/// <param name="From">First token whose probability counts; at least 1.</param>
/// <param name="IsTruncated">Whether the beginning was cut off.</param>
public sealed record ScoredSequence(IReadOnlyList<int> Ids, int From, bool IsTruncated = false);

/// <summary>
/// Texts to ids for evaluation: what is scored loses no token at its border, and what is too long is cut from the left.
/// </summary>
public sealed class PromptEncoder
{
    private readonly TextEncoder _encoder;
    private readonly int _maxLength;

    /// <summary>Makes the encoder of a model.</summary>
    /// <param name="encoder">How the model's texts are encoded.</param>
    /// <param name="maxLength">Most tokens that it can be given.</param>
    public PromptEncoder(TextEncoder encoder, int maxLength) => (_encoder, _maxLength) = (encoder, maxLength);

    /// <summary>A context and what follows it.</summary>
    /// <remarks>
    /// Source: lm-evaluation-harness 0.4.9, lm_eval/api/model.py, _encode_pair: white space at the context's end goes
    /// to the continuation, both are encoded as one text, and the continuation is what that has beyond the context's
    /// own tokens. Where a token reaches over the border the harness scores what has as many tokens before it as the
    /// context alone, and so loses or doubles a part of the text; here scoring begins at that token, as learning does
    /// in training. The special tokens that the tokenizer puts first (add_bos_token there) stay when a long context is
    /// cut, as in training.
    /// </remarks>
    public ScoredSequence Pair(string context, string continuation)
    {
        var end = context.AsSpan().TrimEnd().Length;
        var pair = _encoder.Pair(context[..end], context[end..] + continuation);
        // A continuation that adds no token is scored by the last one.
        var from = Math.Max(0, Math.Min(pair.From, pair.Whole.Count - 1));
        var before = from > 0 ? _encoder.Prefix : _encoder.Start;
        return Cut(before, [.. pair.Whole.Take(from)], [.. pair.Whole.Skip(from)]);
    }

    /// <summary>A prompt to be continued by at most so many tokens.</summary>
    /// <exception cref="UserException">So many new tokens leave no room for a prompt.</exception>
    public (EncodedPrompt Prompt, bool IsTruncated) Prompt(string prompt, int newTokens)
    {
        var encoded = _encoder.Prompt(prompt);
        _encoder.RequireKnown(encoded.Ids, PlaceOf(prompt));
        var start = _encoder.Prefix.Count;
        var room = _maxLength - newTokens - start;
        if (room < 1)
        {
            throw UserException.At(
                "max_new_tokens", $"{newTokens}",
                $"at most {Math.Max(0, _maxLength - start - 1)} in a context of {_maxLength} tokens");
        }
        var cut = encoded.Ids.Count - start - room;
        return cut <= 0
            ? (encoded, false)
            : (encoded with { Ids = [.. encoded.Ids.Take(start), .. encoded.Ids.Skip(start + cut)] }, true);
    }

    /// <summary>Plain text in windows that each fill the context; every token of the text is scored once.</summary>
    /// <remarks>
    /// Source: lm-evaluation-harness 0.4.9, lm_eval/utils.py, get_rolling_token_windows with context_len 1: the first
    /// window follows the beginning of text, each further one the token before it, and the last is filled up from the
    /// left with tokens that are not scored again.
    /// </remarks>
    public IReadOnlyList<ScoredSequence> Windows(string text)
    {
        var ids = _encoder.Text(text);
        _encoder.RequireKnown(ids, PlaceOf(text));
        var windows = new List<ScoredSequence>();
        for (var from = 0; from < ids.Count; from += _maxLength)
        {
            var to = Math.Min(from + _maxLength, ids.Count);
            var first = to - _maxLength - 1; // as many inputs as the context holds, and the last target
            windows.Add(from == 0
                ? new([_encoder.Start[^1], .. ids.Take(to)], 1)
                : new([.. ids.Skip(first).Take(to - first)], from - first));
        }
        return windows;
    }

    // The model is given all but the last token. The prefix stays, as in training. A continuation that alone is too
    // long loses its beginning, and without anything before it also its first token's probability.
    private ScoredSequence Cut(IReadOnlyList<int> prefix, IReadOnlyList<int> context, IReadOnlyList<int> continuation)
    {
        _encoder.RequireKnown([.. context, .. continuation], "a text to be scored");
        var room = _maxLength + 1 - prefix.Count;
        var cut = Math.Max(0, context.Count + continuation.Count - room);
        int[] ids = [.. prefix, .. context.Concat(continuation).Skip(cut)];
        var from = prefix.Count + Math.Max(0, context.Count - cut);
        return from > 0 ? new(ids, from, cut > 0) : new(ids, 1, IsTruncated: true);
    }

    private static string PlaceOf(string text) => $"the text {Quote.Of(text)}";
}
