using Peft.Recipes;
using Peft.Training;
using Peft.Training.Metrics;

namespace Peft.Benchmarks;

/// <summary>Tokens a second, padded and packed, with about as many real tokens a step.</summary>
internal static class PackingBenchmark
{
    private const int Steps = 40;
    private const int WarmUp = 10;
    internal const string FourTasks = "recipes/small/top-k.yaml";
    private static readonly string[] Padded = ["training.per_device_train_batch_size=16"];
    private static readonly string[] Packed = ["data.packing=true", "training.per_device_train_batch_size=4"];

    public static IEnumerable<Measurement> Measure(BenchmarkOptions options)
    {
        var repository = TokenizerBenchmark.Repository();
        if (repository is null || !Directory.Exists(Path.Combine(repository, "data", "cache", "g2p")))
        {
            Console.Error.WriteLine("packing: left out - the default data is not there; run `make data`");
            yield break;
        }
        var recipe = Path.Combine(repository, FourTasks);
        var rounds = Enumerable.Range(0, Math.Min(options.Rounds, 3))
            .Select(_ => (Padded: Speed(recipe, Padded), Packed: Speed(recipe, Packed))).ToList();
        yield return Measurement.Of(
            "default data, 16 padded rows a step", "tokens/s", rounds.Select(r => r.Padded), "real tokens");
        yield return Measurement.Of(
            "default data, 4 packed rows a step", "tokens/s", rounds.Select(r => r.Packed), "real tokens");
        yield return Measurement.Of(
            "  packed over padded", "x", rounds.Select(r => r.Packed / r.Padded), "above 1: packing pays");
    }

    /// <summary>Real tokens a second of a recipe's training, after a few steps.</summary>
    internal static double Speed(string recipeFile, string[] settings)
    {
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            var recipe = Recipe.Load(
                recipeFile, [
                    $"training.max_steps={Steps}", "training.save_steps=0", "data.eval=[]", "evaluation.tasks=[]",
                    .. settings]);
            var output = OutputDirectory.Decide(Path.Combine(folder, "out"), null, overwrite: false);
            var clock = new Clock();
            using var run = RunBuilder.Build(recipe, output, torch.CPU, [clock]);
            using var taken = output.Prepare();
            run.Train(new StopRequest());
            return clock.Tokens / clock.Seconds;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private sealed class Clock : IMetricSink
    {
        public double Tokens { get; private set; }

        public double Seconds { get; private set; }

        public void Start(int afterStep, int totalSteps)
        {
        }

        public void Write(StepReport report)
        {
            if (report.Step <= WarmUp)
                return;
            Tokens += report.Tokens;
            Seconds += report.Tokens / report.TokensPerSecond;
        }

        public void Write(EvaluationReport report)
        {
        }

        public void Flush()
        {
        }

        public void Dispose()
        {
        }
    }
}
