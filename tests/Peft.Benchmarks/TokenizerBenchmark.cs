using System.Text;
using System.Text.RegularExpressions;
using Peft.Formats.Tokenizers;

namespace Peft.Benchmarks;

/// <summary>Encoding English: sentences of this repository's pages and documentation comments, in random
/// order.</summary>
internal static partial class TokenizerBenchmark
{
    private const int Vocabulary = 8192;
    private const int TextBytes = 4 << 20;
    private const int SentencesOfText = 20;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var sentences = Sentences();
        if (sentences.Count == 0)
        {
            Console.Error.WriteLine("tokenizer: left out - started outside the checkout, so there is no text");
            yield break;
        }
        var texts = Texts(sentences);
        var bytes = texts.Sum(Encoding.UTF8.GetByteCount);
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            BpeTrainer.Train(sentences, new BpeTrainerOptions { VocabSize = Vocabulary }, folder);
            var tokenizer = HuggingFaceTokenizer.Load(folder);
            var buffer = new byte[texts.Max(t => Encoding.UTF8.GetMaxByteCount(t.Length))];
            var seconds = Rounds.Seconds(
                options.Rounds,
                () => texts.ForEach(text => tokenizer.EncodeToIds(text)),
                () => texts.ForEach(text => Encoding.UTF8.GetBytes(text, buffer)));
            var scan = Measurement.Of("", "", seconds[1].Select(s => 1e-6 * bytes / s), "");
            yield return Measurement.Of(
                $"tokenizer, byte-level BPE of {tokenizer.VocabularySize}, one thread", "MB/s", seconds[0]
                .Select(s => 1e-6 * bytes / s),
                FormattableString.Invariant($"{scan.Value:F0} to turn the text into bytes alone"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static List<string> Texts(List<string> sentences)
    {
        var random = new Random(1);
        var texts = new List<string>();
        for (var bytes = 0L; bytes < TextBytes;)
        {
            var text = string.Join(
                ' ', Enumerable.Range(0, SentencesOfText).Select(_ => sentences[random.Next(sentences.Count)]));
            texts.Add(text);
            bytes += Encoding.UTF8.GetByteCount(text);
        }
        return texts;
    }

    private static List<string> Sentences()
    {
        if (Repository() is not { } folder)
            return [];
        var source = Directory.EnumerateFiles(Path.Combine(folder, "src"), "*.cs", SearchOption.AllDirectories)
            .Order(StringComparer.Ordinal)
            .Select(file =>
                string.Join(
                    ' ', File.ReadLines(file).Select(l => l.Trim())
                    .Where(l => l.StartsWith("///", StringComparison.Ordinal)).Select(l => l[3..])));
        var pages = Directory.EnumerateFiles(Path.Combine(folder, "src"), "*.md", SearchOption.AllDirectories)
            .Order(StringComparer.Ordinal).Select(File.ReadAllText);
        return [.. source.Concat(pages).SelectMany(
            text => SentenceEnd().Split(Space().Replace(Tag().Replace(text, " "), " "))).Where(s => s.Length > 20)];
    }

    /// <summary>The checkout that the program was started in or built from; null elsewhere.</summary>
    public static string? Repository()
    {
        foreach (var start in new[] { Directory.GetCurrentDirectory(), AppContext.BaseDirectory })
        {
            for (var folder = start; folder is not null; folder = Path.GetDirectoryName(folder))
            {
                if (File.Exists(Path.Combine(folder, "Peft.sln")))
                    return folder;
            }
        }
        return null;
    }

    [GeneratedRegex("<[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Space();

    [GeneratedRegex(@"(?<=[.;:]) ")]
    private static partial Regex SentenceEnd();
}
