using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>Greedy answers in batches, beside one prompt after the other.</summary>
internal static class BatchedDecodingBenchmark
{
    private const int Prompts = 16;
    private const int PromptTokens = 48;
    private const int NewTokens = 24;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape with { Length = Math.Max(options.Shape.Length, PromptTokens + NewTokens) };
        using var model = shape.Create(options.Dtype);
        var random = new Random(1);
        // As of real prompts, no two are equally long.
        var prompts = Enumerable.Range(0, Prompts)
            .Select(prompt =>
                (IReadOnlyList<int>)[.. Enumerable.Range(0, PromptTokens - prompt)
                .Select(_ => random.Next(shape.Vocabulary))]).ToList();
        var generation = new GenerationOptions { MaxNewTokens = NewTokens, EosTokenIds = [] };
        var seconds = Rounds.Seconds(
            options.Rounds, () => TextGeneration.GenerateBatch(model, prompts, generation),
            () => prompts.ForEach(prompt => TextGeneration.GenerateBatch(model, [prompt], generation)));
        yield return Measurement.Of(
            "batched decoding, 16 prompts", "tokens/s", seconds[0].Select(s => Prompts * NewTokens / s),
            "prompts included");
        yield return Measurement.Of("  one by one", "tokens/s", seconds[1].Select(s => Prompts * NewTokens / s), "");
        yield return Measurement.Of(
            "  speed over one by one", "x", seconds[1].Zip(seconds[0], (alone, together) => alone / together),
            "at least 3");
    }
}
