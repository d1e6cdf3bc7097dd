using Peft.Adapters.Lora;
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
        using var lora = Adapted(options, shape, experts: 1);
        using var mixture = Adapted(options, shape, TrainingStep.Experts);
        using var scope = torch.NewDisposeScope();
        var memory = torch.ones([ScannedFloats], torch.float32);
        var prompt = Enumerable.Range(1, PromptTokens).ToArray();
        CausalLanguageModel[] models = [model, lora, mixture];
        var seconds = Rounds.Seconds(options.Rounds, [
            () => Scan(memory), .. models.SelectMany(one => new Action[]
            {
                () => Decode(one, prompt, 1), () => Decode(one, prompt, NewTokens + 1),
            }),
        ]);

        // The first token comes from the prompt; the difference is what decoding alone took.
        double[] PerToken(int i) =>
            [.. seconds[(2 * i) + 2].Zip(seconds[(2 * i) + 1], (all, first) => (all - first) / NewTokens)];
        var perToken = PerToken(0);
        var bandwidth = seconds[0].Select(s => 4.0 * ScannedFloats / s).ToArray();
        var bytes = BytesPerToken(model, shape);
        yield return Measurement.Of(
            "memory bandwidth, reading", "GB/s", bandwidth.Select(b => 1e-9 * b), "this machine's rate now");
        yield return Measurement.Of(
            $"decoding, batch 1, {options.Dtype}", "tokens/s", perToken.Select(s => 1 / s),
            FormattableString.Invariant($"{1e-6 * bytes:F1} MB to move a token"));
        yield return Measurement.Of(
            "  its bytes as share of the bandwidth", "%", perToken.Select((s, r) => 100 * bytes / s / bandwidth[r]),
            "100: nothing but reading weights");
        foreach (var (name, i) in new[] { ("LoRA r=8", 1), ("8 experts r=8, top-2", 2) })
        {
            yield return Measurement.Of(
                $"  with {name}, its time over the base's", "x", PerToken(i).Zip(perToken, (own, plain) => own / plain),
                "1: the adapter costs nothing");
        }
    }

    private static CausalLanguageModel Adapted(BenchmarkOptions options, ModelShape shape, int experts)
    {
        var model = shape.Create(options.Dtype);
        AdapterAttachment.Attach(model, TrainingStep.MixtureOf(experts, TrainingStep.Rank), seed: 1);
        return model;
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
