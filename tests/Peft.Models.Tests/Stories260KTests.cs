using System.Text.Json;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class Stories260KTests
{
    [SharedFact]
    public void Stories260K_gives_the_recorded_losses_logits_and_story()
    {
        var folder = SharedAssets.Path("models", "stories260K");
        using var expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json")));
        var ids = Integers(expected, "ids");
        using var model = ModelLoader.Load(folder);

        var logits = ModelRuns.Logits(model, [.. ids.Select(id => (long)id)]);
        var vocabulary = model.Config.VocabularySize;
        var losses = Enumerable.Range(0, ids.Length - 1)
            .Select(t => (float)ModelRuns.Loss(logits.AsSpan(t * vocabulary, vocabulary), ids[t + 1]));
        Assert.InRange(ModelRuns.LargestDifference(losses, Floats(expected, "nll_per_token")), 0, 1e-4);
        Assert.InRange(ModelRuns.LargestDifference(logits[^vocabulary..], Floats(expected, "last_logits")), 0, 1e-4);

        var story = Integers(expected, "greedy_ids");
        var options = new GenerationOptions { MaxNewTokens = story.Length - ids.Length };
        Assert.Equal(story, ids.Concat(TextGeneration.Generate(model, ids, options)));
    }

    [SharedFact]
    public void Stories260K_takes_both_ends_of_text_from_generation_config()
    {
        using var model = ModelLoader.Load(SharedAssets.Path("models", "stories260K"));
        Assert.Equal([1, 2], model.Config.EosTokenIds);
    }

    [SharedFact]
    public void Bfloat16_stays_near_float32()
    {
        var folder = SharedAssets.Path("models", "stories260K");
        long[] ids = [1, 403, 407, 261, 378, 432, 383, 286, 261, 376];
        using var wide = ModelLoader.Load(folder, ScalarType.Float32);
        using var half = ModelLoader.Load(folder, ScalarType.BFloat16);
        Assert.InRange(
            ModelRuns.LargestDifference(ModelRuns.Logits(half, ids), ModelRuns.Logits(wide, ids)), 1e-6, 0.5);
    }

    private static int[] Integers(JsonDocument document, string key) =>
        [.. document.RootElement.GetProperty(key).EnumerateArray().Select(item => item.GetInt32())];

    private static float[] Floats(JsonDocument document, string key) =>
        [.. document.RootElement.GetProperty(key).EnumerateArray().Select(item => (float)item.GetDouble())];
}
