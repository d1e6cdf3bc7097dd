using Peft.Formats.Tokenizers.Models;
using Peft.Formats.Tokenizers.PreTokenizers;
using Peft.Formats.Tokenizers.Training;

namespace Peft.Formats.Tokenizers;

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
        ArgumentNullException.ThrowIfNull(texts);
        ArgumentNullException.ThrowIfNull(options);
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
                $"from {least} (special tokens and 256 bytes) to {TokenVocabulary.HighestAllowedId}");
        }

        if (options.SpecialTokens.Any(token => token.Length == 0))
            faults.Add(nameof(options.SpecialTokens), "an empty token", "texts");
        if (options.SpecialTokens.Distinct().Count() != options.SpecialTokens.Count)
            faults.Add(nameof(options.SpecialTokens), "a token twice", "each token once");
        CheckNamed(faults, options, nameof(options.BosToken), options.BosToken);
        CheckNamed(faults, options, nameof(options.EosToken), options.EosToken);
        CheckNamed(faults, options, nameof(options.PadToken), options.PadToken);
        if (options.AddsBos && options.BosToken is null)
            faults.Add(nameof(options.AddsBos), "no BosToken", "a BosToken to add");
        faults.ThrowIfAny("the tokenizer to train");
    }

    private static void CheckNamed(Faults faults, BpeTrainerOptions options, string name, string? token)
    {
        if (token is not null && !options.SpecialTokens.Contains(token))
            faults.Add(name, Quote.Of(token), "one of SpecialTokens");
    }
}
