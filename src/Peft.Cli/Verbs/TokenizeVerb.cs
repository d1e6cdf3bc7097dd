using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using CommandLine;
using Peft.Cli.Printing;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Formats.Tokenizers;

namespace Peft.Cli.Verbs;

/// <summary>Lines of standard input to token ids and back.</summary>
[Verb("tokenize", HelpText = "Turn lines into token ids and back; train tokenizers.")]
public sealed class TokenizeVerb : IVerb
{
    private const int SmallestVocabulary = 257;

    // Readable output: only what JSON requires is escaped.
    private static readonly JsonSerializerOptions Readable =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Where the tokenizer is.</summary>
    [Option("tokenizer", Required = true, MetaValue = "DIR", HelpText =
        "Directory of tokenizer.json (with --train: where it is written).")]
    public string Tokenizer { get; set; } = "";

    /// <summary>Input lines are JSON strings.</summary>
    [Option("jsonl", HelpText = "Each input line is a JSON string, so that a text may contain line breaks.")]
    public bool JsonLines { get; set; }

    /// <summary>No BOS, EOS.</summary>
    [Option("no-special", HelpText = "Do not add special tokens; with --decode, leave them out of the text.")]
    public bool NoSpecial { get; set; }

    /// <summary>Ids to text.</summary>
    [Option("decode", HelpText = "Input lines are JSON arrays of ids; output lines are JSON strings.")]
    public bool Decode { get; set; }

    /// <summary>Makes a tokenizer.</summary>
    [Option("train", HelpText = "Train a byte-level BPE tokenizer on the input lines and write it to --tokenizer.")]
    public bool Train { get; set; }

    /// <summary>Its size.</summary>
    [Option("vocab-size", Default = 4096, MetaValue = "N", HelpText =
        "Vocabulary size of the tokenizer to train, special tokens included.")]
    public int VocabularySize { get; set; }

    /// <inheritdoc/>
    public bool UsesTensors => false;

    /// <inheritdoc/>
    public int Run(Output output)
    {
        var texts = Output.InputLines();
        if (Train)
        {
            if (Directory.Exists(Tokenizer) && File.Exists(Path.Combine(Tokenizer, "tokenizer.json")))
                throw UserException.At(Tokenizer, "contains a tokenizer.json already", null,
                    "name another directory, or remove the file");
            if (VocabularySize < SmallestVocabulary)
                throw UserException.At("--vocab-size", $"{VocabularySize}",
                    $"at least {SmallestVocabulary} (256 bytes and the end of text)");
            var options = new BpeTrainerOptions { VocabSize = VocabularySize, EosToken = "<|endoftext|>" };
            BpeTrainer.Train(texts.Select((line, i) => JsonLines ? Parse<string>(line, i) : line), options, Tokenizer);
            var size = HuggingFaceTokenizer.Load(Tokenizer).VocabularySize;
            output.Say($"{Path.Combine(Tokenizer, "tokenizer.json")}: {Words.Count(size, "token")}");
            return ExitCode.Done;
        }
        var tokenizer = HuggingFaceTokenizer.Load(Tokenizer);
        var number = 0;
        foreach (var line in texts)
        {
            if (Decode)
            {
                var text = tokenizer.Decode(Ids(tokenizer, line, number), skipSpecialTokens: NoSpecial);
                output.Result(JsonSerializer.Serialize(text, Readable));
            }
            else
            {
                var text = JsonLines ? Parse<string>(line, number) : line;
                output.Result($"[{string.Join(", ", tokenizer.EncodeToIds(text, addSpecialTokens: !NoSpecial))}]");
            }
            number++;
        }
        return ExitCode.Done;
    }

    private static int[] Ids(HuggingFaceTokenizer tokenizer, string line, int number)
    {
        var ids = Parse<int[]>(line, number);
        foreach (var id in ids)
        {
            if (tokenizer.IdToToken(id) is null)
                throw UserException.At(
                    $"standard input line {number + 1}", $"id {id}",
                    $"ids from 0 to {tokenizer.VocabularySize - 1} with this tokenizer");
        }
        return ids;
    }

    private static T Parse<T>(string line, int number)
    {
        try
        {
            return JsonFile.Parse<T>(Encoding.UTF8.GetBytes(line), JsonSerializerOptions.Default);
        }
        catch (JsonException e)
        {
            var kind = typeof(T) == typeof(string) ? "a JSON string" : "a JSON array of token ids";
            throw UserException.At($"standard input line {number + 1}", $"cannot be read ({JsonFile.Words(e)})", kind,
                inner: e);
        }
    }
}
