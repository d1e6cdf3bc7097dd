using Peft.Formats.Tokenizers.Reading;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Text to token ids and back, exactly as Hugging Face tokenizers does it for the same tokenizer.json. Safe to use from
/// several threads. The truncation and padding that a file may carry are left to whoever builds batches.
/// </summary>
public abstract class Tokenizer
{
    /// <summary>The id of the token that begins a text, where the tokenizer's configuration names one.</summary>
    public int? BosId { get; internal init; }

    /// <summary>The id of the token that ends a text, where the tokenizer's configuration names one.</summary>
    public int? EosId { get; internal init; }

    /// <summary>The id of the padding token, where the tokenizer's configuration names one.</summary>
    public int? PadId { get; internal init; }

    /// <summary>SHA-256 of tokenizer.json in lower-case hexadecimal digits.</summary>
    public string Sha256 { get; internal init; } = "";

    /// <summary>
    /// How many tokens there are, added ones included. Ids need not be dense: see <see cref="EndId"/>.
    /// </summary>
    public abstract int VocabularySize { get; }

    /// <summary>One more than the highest id: the rows an embedding needs.</summary>
    public abstract int EndId { get; }

    /// <summary>
    /// Reads tokenizer.json and, beside it, tokenizer_config.json and special_tokens_map.json where present.
    /// </summary>
    /// <param name="directoryOrFile">The directory that holds them, or tokenizer.json itself.</param>
    /// <exception cref="UserException">The file is missing, damaged, or needs a part that is not supported.</exception>
    public static Tokenizer Load(string directoryOrFile) => TokenizerReader.Load(directoryOrFile);

    /// <summary>The ids of a text.</summary>
    /// <param name="text">Any text; a lone surrogate counts as U+FFFD.</param>
    /// <param name="addSpecialTokens">
    /// Whether to add what the post-processor adds, as a beginning-of-text token.
    /// </param>
    public IReadOnlyList<int> EncodeToIds(string text, bool addSpecialTokens = true) =>
        EncodeToIds(text, null, addSpecialTokens);

    /// <summary>
    /// The ids of a text, or of two in the order and with the tokens of the post-processor's template for pairs.
    /// </summary>
    public abstract IReadOnlyList<int> EncodeToIds(string text, string? pair, bool addSpecialTokens);

    /// <summary>How many ids <see cref="EncodeToIds(string, bool)"/> gives, without making the list.</summary>
    public abstract int CountTokens(string text, bool addSpecialTokens = true);

    /// <summary>The text of ids. Ids outside the vocabulary are passed over.</summary>
    public abstract string Decode(IEnumerable<int> ids, bool skipSpecialTokens = false);

    /// <summary>A decoder for ids that come one by one.</summary>
    public abstract TokenStream NewDecoder(bool skipSpecialTokens);

    /// <summary>The token as it stands in the vocabulary (not decoded), or null.</summary>
    public abstract string? IdToToken(int id);

    /// <summary>The id of a token as it stands in the vocabulary, or null.</summary>
    public abstract int? TokenToId(string token);

    /// <summary>Whether the id is of a token marked special.</summary>
    public abstract bool IsSpecial(int id);
}
