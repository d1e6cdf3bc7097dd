using Peft.Evaluation.Results;
using Peft.Evaluation.Scoring;
using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>Choices scored with what they share computed once, beside one full pass a choice.</summary>
internal static class ScoringBenchmark
{
    private const int Questions = 16;
    private const int Choices = 4;
    private const int PromptTokens = 112;
    private const int ChoiceTokens = 8;

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var shape = options.Shape with { Length = Math.Max(options.Shape.Length, PromptTokens + ChoiceTokens) };
        using var model = shape.Create(options.Dtype);
        var random = new Random(1);
        int[] Ids(int count) => [.. Enumerable.Range(0, count).Select(_ => random.Next(shape.Vocabulary))];
        // As of real questions, no two prompts are equally long.
        var groups = Enumerable.Range(0, Questions).Select(question =>
        {
            var prompt = Ids(PromptTokens - question);
            return (IReadOnlyList<ScoredSequence>)[.. Enumerable.Range(0, Choices)
                .Select(_ => new ScoredSequence([.. prompt, .. Ids(ChoiceTokens)], prompt.Length))];
        }).ToList();
        var seconds = Rounds.Seconds(
            options.Rounds, () => ContinuationScorer.Score(model, groups), () =>
                groups.ForEach(group => Plain(model, group)));
        yield return Measurement.Of(
            $"scoring, 4 choices of {ChoiceTokens} after {PromptTokens} tokens", "choices/s", seconds[0]
            .Select(s => Questions * Choices / s),
            "prompts once for all choices, 16 questions a batch");
        yield return Measurement.Of(
            "  one full pass a choice", "choices/s", seconds[1].Select(s => Questions * Choices / s), "the plain way");
        yield return Measurement.Of(
            "  speed over the plain way", "x", seconds[1].Zip(seconds[0], (plain, shared) => plain / shared),
            "at least 2");
    }

    private static void Plain(CausalLanguageModel model, IReadOnlyList<ScoredSequence> group)
    {
        using var noGrad = torch.no_grad();
        foreach (var sequence in group)
        {
            using var scope = torch.NewDisposeScope();
            long[] ids = [.. sequence.Ids.Select(id => (long)id)];
            var inputs = ids.Length - 1;
            var pass = ForwardPass.ForInference();
            var hidden = model.Hidden(torch.tensor(ids[..inputs], [1, inputs]), pass);
            var scored = hidden.narrow(1, sequence.From - 1, ids.Length - sequence.From).squeeze(0);
            var logits = model.Head(scored, pass).to(ScalarType.Float32).log_softmax(-1);
            _ = logits.gather(1, torch.tensor(ids[sequence.From..], [ids.Length - sequence.From, 1])).sum().ToDouble();
        }
    }
}
