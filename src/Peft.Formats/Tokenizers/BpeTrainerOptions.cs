namespace Peft.Formats.Tokenizers;

/// <summary>How a text is cut into words before its bytes are merged.</summary>
public enum BpePattern
{
    /// <summary>GPT-2's pattern.</summary>
    Gpt2,

    /// <summary>Llama 3's pattern: numbers in groups of up to three digits, line breaks kept together.</summary>
    Llama3,
}

/// <summary>What <see cref="BpeTrainer"/> makes.</summary>
public sealed record BpeTrainerOptions
{
    /// <summary>
    /// How many tokens at most: special tokens, 256 bytes, and merges. Fewer when nothing is left to merge.
    /// </summary>
    public int VocabSize { get; init; } = 8192;

    /// <summary>Special tokens in the order of their ids, from 0.</summary>
    public IReadOnlyList<string> SpecialTokens { get; init; } = ["<|endoftext|>"];

    /// <summary>A pair that occurs less often is not merged.</summary>
    public long MinFrequency { get; init; } = 2;

    /// <summary>How texts are cut into words.</summary>
    public BpePattern Pattern { get; init; } = BpePattern.Gpt2;

    /// <summary>Which special token begins a text, for tokenizer_config.json.</summary>
    public string? BosToken { get; init; }

    /// <summary>Which special token ends a text, for tokenizer_config.json.</summary>
    public string? EosToken { get; init; }

    /// <summary>Which special token pads, for tokenizer_config.json.</summary>
    public string? PadToken { get; init; }

    /// <summary>Whether encoding with special tokens puts <see cref="BosToken"/> before every text.</summary>
    public bool AddsBos { get; init; }
}
