using System.Runtime.InteropServices;
using System.Text;

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

/// <summary>
/// Trains a byte-level BPE tokenizer. The same texts and options give the same bytes on every machine; the merges are
/// those of Hugging Face's trainer (the most frequent pair first, of equals the one with the lower ids).
/// </summary>
public static class BpeTrainer
{
    /// <summary>Reads all texts once, learns the merges, and writes tokenizer.json and tokenizer_config.json.</summary>
    /// <param name="texts">The texts; merges never cross from one to the next.</param>
    /// <param name="options">Vocabulary size, special tokens, pattern.</param>
    /// <param name="outputDirectory">Where the two files go; made if it is missing.</param>
    /// <exception cref="UserException">The options contradict each other, or the files cannot be written.</exception>
    public static void Train(IEnumerable<string> texts, BpeTrainerOptions options, string outputDirectory)
    {
        Check(options);
        Utf8Scanner scanner = options.Pattern == BpePattern.Gpt2 ? Gpt2Scanner.Shared : new Llama3Scanner(3);
        var words = new WordCounter(scanner);
        foreach (var text in texts)
            words.Add(text);
        var tokens = new List<string>(options.SpecialTokens);
        // A special token of one character keeps its id; its character is not listed twice.
        tokens.AddRange(ByteAlphabet.InOrder.Select(character => character.ToString()).Except(options.SpecialTokens));
        var learner = new MergeLearner(tokens, words.Words);
        learner.Run(options.VocabSize, options.MinFrequency);
        TrainedTokenizerWriter.Write(options, tokens, learner.Merges, outputDirectory);
    }

    private static void Check(BpeTrainerOptions options)
    {
        var faults = new Faults();
        var least = options.SpecialTokens.Count + 256;
        if (options.VocabSize < least || options.VocabSize > TokenVocabulary.HighestAllowedId)
        {
            faults.Add(
                nameof(options.VocabSize), $"{options.VocabSize}",
                $"a whole number from {least} (special tokens and 256 bytes) to {TokenVocabulary.HighestAllowedId}");
        }

        if (options.SpecialTokens.Any(token => token.Length == 0))
            faults.Add(nameof(options.SpecialTokens), "an empty token", "tokens of at least one character");
        if (options.SpecialTokens.Distinct().Count() != options.SpecialTokens.Count)
            faults.Add(nameof(options.SpecialTokens), "a token listed twice", "every token once");
        CheckNamed(faults, options, nameof(options.BosToken), options.BosToken);
        CheckNamed(faults, options, nameof(options.EosToken), options.EosToken);
        CheckNamed(faults, options, nameof(options.PadToken), options.PadToken);
        if (options.AddsBos && options.BosToken is null)
            faults.Add(nameof(options.AddsBos), "true without a BosToken", "a BosToken to add");
        faults.ThrowIfAny("the tokenizer to train");
    }

    private static void CheckNamed(Faults faults, BpeTrainerOptions options, string name, string? token)
    {
        if (token is not null && !options.SpecialTokens.Contains(token))
            faults.Add(name, Quote.Of(token), "one of SpecialTokens");
    }
}

/// <summary>Counts the words of texts.</summary>
internal sealed class WordCounter(Utf8Scanner scanner)
{
    // One character for each byte, so that the framework's span look-up of string keys can be used.
    private readonly Dictionary<string, long> _counts = [];
    private byte[] _utf8 = new byte[4096];
    private char[] _word = new char[64];

    /// <summary>
    /// Each word as its bytes (one char a byte) with its count, in an order that depends on the words only.
    /// </summary>
    public IReadOnlyList<KeyValuePair<string, long>> Words =>
        [.. _counts.OrderBy(word => word.Key, StringComparer.Ordinal)];

    public void Add(string text)
    {
        var most = Encoding.UTF8.GetMaxByteCount(text.Length);
        if (_utf8.Length < most)
            _utf8 = new byte[most];
        var utf8 = _utf8.AsSpan(0, Encoding.UTF8.GetBytes(text, _utf8));
        var counts = _counts.GetAlternateLookup<ReadOnlySpan<char>>();
        for (var start = 0; start < utf8.Length;)
        {
            var end = scanner.NextEnd(utf8, start);
            if (_word.Length < end - start)
                _word = new char[Math.Max(end - start, _word.Length * 2)];
            var word = _word.AsSpan(0, end - start);
            for (var i = 0; i < word.Length; i++)
                word[i] = (char)utf8[start + i];
            CollectionsMarshal.GetValueRefOrAddDefault(counts, word, out _)++;
            start = end;
        }
    }
}
