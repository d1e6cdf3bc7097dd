using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class GoldenModelTests
{
    private const double Tolerance = 1e-4;

    [Theory]
    [InlineData("llama-gqa")]
    [InlineData("qwen2-tied")]
    public void Golden_model_gives_the_recorded_logits_loss_and_greedy_tokens(string name) =>
        Check(Path.Combine(SharedAssets.Repository, "tests", "golden", "models", name));

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Vector_model_gives_the_recorded_logits_loss_and_greedy_tokens(string name) =>
        Check(SharedAssets.Path("vectors", "models", name));

    private static void Check(string folder)
    {
        var file = Path.Combine(folder, "expected.safetensors");
        var expected = PlainTensor.ReadAll(file);
        var ids = PlainTensor.ReadLongs(file, "ids"); // [2, 11]
        var greedy = PlainTensor.ReadLongs(file, "base.greedy").Select(id => (int)id).ToArray();
        using var model = ModelLoader.Load(folder, ScalarType.Float32);

        var logits = ModelRuns.Logits(model, ids, rows: 2);
        Assert.Equal(expected["base.logits"].Data.Length, logits.Length);
        Assert.InRange(ModelRuns.LargestDifference(logits, expected["base.logits"].Data), 0, Tolerance);
        var loss = ModelRuns.MeanLoss(logits, ids, 2, model.Config.VocabularySize);
        Assert.Equal(expected["base.loss"].Data[0], loss, Tolerance);

        var prompt = ids[..(ids.Length / 2)].Select(id => (int)id).ToArray();
        var options = new GenerationOptions { MaxNewTokens = 12 };
        Assert.Equal(greedy, prompt.Concat(TextGeneration.Generate(model, prompt, options)));
    }
}
