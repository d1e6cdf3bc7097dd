using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>Decoding one sequence with the key-value cache, beside the rate at which the weights can be read.</summary>
/// <remarks>Every new token reads every weight of the blocks and of the head once, and the keys and values so
/// far.</remarks>
internal static class GenerationBenchmark
{
    private const int PromptTokens = 16;
    private const int NewTokens = 24;
    // 512 MiB, far above any cache
    private const long ScannedFloats = 1L << 27;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape with { Length = Math.Max(options.Shape.Length, PromptTokens + NewTokens + 1) };
        using var model = shape.Create(options.Dtype);
        using var scope = torch.NewDisposeScope();
        var memory = torch.ones([ScannedFloats], torch.float32);
        var prompt = Enumerable.Range(1, PromptTokens).ToArray();
        var seconds = Rounds.Seconds(
            options.Rounds, () => Decode(model, prompt, 1), () => Decode(model, prompt, NewTokens + 1), () =>
                Scan(memory));

        // The first token comes from the prompt; the difference is what decoding alone took.
        var perToken = seconds[1].Zip(seconds[0], (all, first) => (all - first) / NewTokens).ToArray();
        var bandwidth = seconds[2].Select(s => 4.0 * ScannedFloats / s).ToArray();
        var bytes = BytesPerToken(model, shape);
        yield return Measurement.Of(
            "memory bandwidth, reading", "GB/s", bandwidth.Select(b => 1e-9 * b), "this machine's rate now");
        yield return Measurement.Of(
            $"decoding, batch 1, {options.Dtype}", "tokens/s", perToken.Select(s => 1 / s),
            FormattableString.Invariant($"{1e-6 * bytes:F1} MB to move a token"));
        yield return Measurement.Of(
            "  its bytes as share of the bandwidth", "%", perToken.Select((s, r) => 100 * bytes / s / bandwidth[r]),
            "100: nothing but reading weights");
    }

    // Weights of every linear layer and of the head; keys and values of half the new tokens on average.
    private static double BytesPerToken(CausalLanguageModel model, ModelShape shape)
    {
        var element = (double)model.HeadWeight.ByteCount() / model.HeadWeight.numel();
        var weights = shape.Linears.Sum(l => (double)l.In * l.Out) * shape.Layers
            + (double)shape.Hidden * shape.Vocabulary;
        var cache = 2.0 * shape.Layers * shape.Hidden * (PromptTokens + NewTokens / 2.0);
        return element * (weights + cache);
    }

    private static void Decode(CausalLanguageModel model, int[] prompt, int tokens)
    {
        var made = TextGeneration.Generate(
            model, prompt, new GenerationOptions { MaxNewTokens = tokens, EosTokenIds = [] }).Count();
        if (made != tokens)
            throw new InvalidOperationException($"{made} tokens were generated, {tokens} were asked for");
    }

    private static void Scan(Tensor memory)
    {
        using var off = torch.no_grad();
        using var sum = memory.sum();
    }
}
