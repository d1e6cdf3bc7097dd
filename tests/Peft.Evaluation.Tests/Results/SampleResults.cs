using System.Text.Json;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Tests.Results;

/// <summary>Made-up results of three subjects on two tasks.</summary>
internal static class SampleResults
{
    /// <summary>The same, with experts of the second adapter: one of two for each token, nearly one a task.</summary>
    public static ResultsDocument WithTwoRouters()
    {
        var results = Make();
        return results with
        {
            Routing =
            [
                .. results.Routing,
                new(
                    "default-lora", ["g2p", "spam"],
                    [.. from layer in Enumerable.Range(0, 2)
                        select new ModuleRouting(
                            $"model.layers.{layer}.mlp", layer, "mlp", [1, 0], [], null, 1, 1, 1)
                        {
                            TaskInformation = 0.9,
                        }],
                    new([[1, 0], [0.1, 0.9]], 0.6, 0.9), null, new([4, 16], [0.97, 0.95]),
                    new([4, 16], [1, 2], [[0.9, 1], [0.8, 1]])),
            ],
        };
    }

    public static ResultsDocument Make(string adapter = "default", string hash = "aa11")
    {
        var recipe = JsonSerializer.SerializeToElement(new
        {
            adapter = new { method = "mixture", r = 8, router = new { kind = "top-k", top_k = 2 } },
            training = new { learning_rate = 0.0015, max_steps = 900 },
        });
        var plain = JsonSerializer.SerializeToElement(new
        {
            adapter = new { method = "lora", r = 34 },
            training = new { learning_rate = 0.0015, max_steps = 900 },
        });
        List<int> points = [.. Enumerable.Range(1, 40)];
        var curves = new TrainingCurves(
            [.. points.Select(i => i * 20L)], [.. points.Select(i => 3 * Math.Exp(-i / 10.0) + 0.6)],
            [.. points.Select(i => 0.02)],
            [.. points.Select(i => 0.0015 * (1 - i / 41.0))], [.. points.Select(i => 3000.0 + i)],
            [100, 400, 800], [1.38, 1.2, 0.9])
        {
            LoadStep = [400, 800],
            LoadChange = [0.2, 0.1],
        };
        return new(
            "2026-11-22T17:40:00Z", "0.1.0", new(0, 16, "float32", 1000, 0.95, "holm"), new("data/base", "d6671d84"),
            [
                new("base", Subject.BaseKind, "data/base", null, null, null, 0, null, null, 3.25, null, null),
                new(
                    adapter, Subject.AdapterKind, "adapters/default", "mixture", "top-k", "ab" + adapter, 703_488, 0.24,
                    1_234_000_000, 12.5, recipe, curves),
                new(
                    "default-lora", Subject.AdapterKind, "adapters/default-lora", "lora", null, "cd02", 705_024, 0.2,
                    1_100_000_000, 11, plain, curves),
            ],
            [
                new("g2p", "generation", "data/cache/g2p/test.parquet", 200, hash, 0, 0, 0,
                    [new("phoneme_error_rate", false, true, "rate"), new("exact_match", true, false, "rate")]),
                new(
                    "spam", "classification", "data/cache/spam/test.parquet", 100, "bb22", 3, 1, 0,
                    [new("accuracy", true, true, "rate")]),
            ],
            [
                new("base", "g2p", "phoneme_error_rate", 2.857, 2.7, 3.0, 200),
                new(adapter, "g2p", "phoneme_error_rate", 0.378, 0.34, 0.42, 200),
                new("default-lora", "g2p", "phoneme_error_rate", 0.318, 0.28, 0.36, 200),
                new("base", "g2p", "exact_match", 0, 0, 0, 200),
                new(adapter, "g2p", "exact_match", 0.4, 0.33, 0.47, 200),
                new("default-lora", "g2p", "exact_match", 0.43, 0.36, 0.5, 200),
                new("base", "spam", "accuracy", 0.5, 0.4, 0.6, 100),
                new(adapter, "spam", "accuracy", 0.87, 0.8, 0.93, 100),
                new("default-lora", "spam", "accuracy", 0.91, 0.85, 0.96, 100),
            ],
            [
                new("g2p", "phoneme_error_rate", "base", adapter, -2.479, -2.6, -2.3, 0.0001, 0.0009, true),
                new("g2p", "phoneme_error_rate", "base", "default-lora", -2.539, -2.7, -2.4, 0.0001, 0.0009, true),
                new("g2p", "phoneme_error_rate", adapter, "default-lora", -0.06, -0.1, -0.02, 0.004, 0.02, true),
                new("spam", "accuracy", "base", adapter, 0.37, 0.25, 0.5, 0.0001, 0.0009, true),
                new("spam", "accuracy", "base", "default-lora", 0.41, 0.3, 0.52, 0.0001, 0.0009, true),
                new("spam", "accuracy", adapter, "default-lora", 0.04, -0.03, 0.11, 0.3, 0.6, false),
            ],
            [
                new(adapter, ["g2p", "spam"],
                    [.. from layer in Enumerable.Range(0, 3)
                        from projection in new[] { "q_proj", "down_proj" }
                        select new ModuleRouting(
                            $"model.layers.{layer}.{projection}", layer, projection, [0.4, 0.3, 0.2, 0.1],
                            [0.3, 0.3, 0.2, 0.2], 1.25 + layer * 0.02, 1.9, 2, 0)
                        {
                            TaskInformation = 0.2 + layer * 0.1,
                        }],
                    new([[0.6, 0.2, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]], 0.2, 0.29),
                    [[1, 0.1, 0, -0.05], [0.1, 1, 0.2, 0], [0, 0.2, 1, 0.1], [-0.05, 0, 0.1, 1]],
                    new([4, 16], [0.8, 0.7]) { SizeRatios = [1.4, 1.6] },
                    new([4], [1, 2, 3, 4], [[0.4, 0.7, 0.9, 1]]))
                {
                    TaskDistance = [[0, 0.3], [0.3, 0]],
                },
            ]);
    }
}
