using Peft.Formats.Tokenizers;

namespace Peft.Data.Tokens;

/// <summary>The little that data needs of a tokenizer.</summary>
/// <param name="Encode">Text to ids, without special tokens.</param>
/// <param name="Prefix">The special tokens that the tokenizer's template puts first, such as BOS.</param>
/// <param name="EndId">The token that ends a text; null when there is none.</param>
/// <param name="PadId">The token that fills up short sequences; no loss counts it.</param>
public sealed record TextEncoder(Func<string, IReadOnlyList<int>> Encode, IReadOnlyList<int> Prefix, int? EndId, int PadId)
{
    // Any text will do to see what is put before it.
    private const string Probe = "a";

    /// <summary>Takes it from a tokenizer.</summary>
    /// <param name="tokenizer">The tokenizer.</param>
    /// <param name="endId">The model's end-of-text token, for a tokenizer that names none.</param>
    public static TextEncoder Of(HuggingFaceTokenizer tokenizer, int? endId = null) => new(
        text => tokenizer.EncodeToIds(text, addSpecialTokens: false),
        PrefixOf(tokenizer),
        tokenizer.EosId ?? endId,
        tokenizer.PadId ?? tokenizer.EosId ?? endId ?? 0);

    private static int[] PrefixOf(HuggingFaceTokenizer tokenizer)
    {
        var whole = tokenizer.EncodeToIds(Probe, addSpecialTokens: true).ToArray();
        var plain = tokenizer.EncodeToIds(Probe, addSpecialTokens: false).ToArray();
        var at = plain.Length == 0 ? 0 : whole.AsSpan().IndexOf(plain);
        return at <= 0 ? [] : whole[..at];
    }
}
