using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class GoldenModelTests
{
    private const double Tolerance = 5e-5;

    [Theory]
    [InlineData("llama-gqa")]
    [InlineData("qwen2-tied")]
    public void Golden_model_gives_the_recorded_logits_loss_and_greedy_tokens(string name) =>
        Check(Path.Combine(SharedAssets.Repository, "tests", "golden", "models", name));

    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Vector_model_gives_the_recorded_logits_loss_and_greedy_tokens(string name) =>
        Check(VectorModels.Folder(name));

    [SharedTheory]
    [MemberData(nameof(VectorModels.Newer), MemberType = typeof(VectorModels))]
    public void Rows_padded_on_the_left_give_the_recorded_logits_and_greedy_tokens(string name)
    {
        var file = Path.Combine(VectorModels.Folder(name), "expected.safetensors");
        var (ids, expected) = (PlainTensor.ReadLongs(file, "pad.ids"), PlainTensor.ReadAll(file));
        var mask = PlainTensor.ReadLongs(file, "pad.attention_mask");
        var places = PlainTensor.ReadLongs(file, "pad.position_ids");
        var labels = PlainTensor.ReadLongs(file, "pad.labels");
        using var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32);
        using var scope = torch.NewDisposeScope();
        long[] shape = [2, ids.Length / 2];
        var pass = ForwardPass.ForInference(
            keyMask: torch.tensor(mask.Select(m => m == 1).ToArray(), shape), positions: torch.tensor(places, shape));
        var logits = model.Forward(torch.tensor(ids, shape), pass).contiguous().data<float>().ToArray();
        var V = model.Config.VocabularySize;
        var losses = new List<double>();
        for (var at = 0; at < ids.Length; at++)
        {
            if (mask[at] == 0)
                continue;
            Assert.InRange(
                ModelRuns.LargestDifference(
                    logits[(at * V)..((at + 1) * V)], expected["pad.base_logits"].Data[(at * V)..((at + 1) * V)]),
                0, Tolerance);
            if ((at + 1) % shape[1] != 0 && labels[at + 1] != -100)
                losses.Add(ModelRuns.Loss(logits.AsSpan(at * V, V), (int)labels[at + 1]));
        }

        Assert.Equal(expected["pad.base_loss"].Data[0], losses.Average(), Tolerance);
        var greedy = PlainTensor.ReadLongs(file, "pad.greedy");
        var length = greedy.Length / 2;
        var prompts = Enumerable.Range(0, 2).Select(row => Enumerable.Range(row * (int)shape[1], (int)shape[1])
            .Where(at => mask[at] == 1).Select(at => (int)ids[at]).ToArray()).ToArray();
        var found = TextGeneration.GenerateBatch(
            model, prompts, new GenerationOptions { MaxNewTokens = length - (int)shape[1], EosTokenIds = [] });
        for (var row = 0; row < 2; row++)
        {
            Assert.Equal(
                greedy[((row * length) + (int)shape[1])..((row + 1) * length)].Select(id => (int)id), found[row]);
        }
    }

    [SharedTheory]
    [InlineData("models-2/llama-dynamic-ntk")]
    [InlineData("models-2/llama-yarn")]
    [InlineData("models-2/llama-yarn-mscale")]
    [InlineData("models-2/phi3-longrope")]
    [InlineData("models-2/phi4mini-longrope")]
    public void Positions_beyond_the_original_context_give_the_recorded_logits_and_greedy_tokens(string name)
    {
        var file = Path.Combine(VectorModels.Folder(name), "expected.safetensors");
        var (ids, expected) = (PlainTensor.ReadLongs(file, "long.ids"), PlainTensor.ReadAll(file));
        using var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32);
        var logits = ModelRuns.Logits(model, ids);
        Assert.InRange(ModelRuns.LargestDifference(logits, expected["long.logits"].Data), 0, Tolerance);
        var loss = ModelRuns.MeanLoss(logits, ids, 1, model.Config.VocabularySize);
        Assert.Equal(expected["long.loss"].Data[0], loss, Tolerance);
        CheckGreedy(model, file, "long.greedy", ids);
        CheckGreedy(model, file, "cross.greedy", ids[..27]);
    }

    private static void CheckGreedy(CausalLanguageModel model, string file, string name, long[] ids)
    {
        var greedy = PlainTensor.ReadLongs(file, name).Select(id => (int)id).ToArray();
        var prompt = ids.Select(id => (int)id).ToArray();
        var options = new GenerationOptions { MaxNewTokens = greedy.Length - prompt.Length, EosTokenIds = [] };
        Assert.Equal(greedy, prompt.Concat(TextGeneration.Generate(model, prompt, options)));
    }

    private static void Check(string folder)
    {
        var file = Path.Combine(folder, "expected.safetensors");
        var expected = PlainTensor.ReadAll(file);
        var ids = PlainTensor.ReadLongs(file, "ids"); // [2, 11]
        using var model = ModelLoader.Load(folder, ScalarType.Float32);

        var logits = ModelRuns.Logits(model, ids, rows: 2);
        Assert.Equal(expected["base.logits"].Data.Length, logits.Length);
        Assert.InRange(ModelRuns.LargestDifference(logits, expected["base.logits"].Data), 0, Tolerance);
        var loss = ModelRuns.MeanLoss(logits, ids, 2, model.Config.VocabularySize);
        Assert.Equal(expected["base.loss"].Data[0], loss, Tolerance);
        CheckGreedy(model, file, "base.greedy", ids[..(ids.Length / 2)]);
    }
}
