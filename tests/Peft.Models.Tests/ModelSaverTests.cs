using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class ModelSaverTests
{
    private static readonly long[] Ids = [3, 17, 0, 39, 8];

    [Fact]
    public void Saved_model_loads_with_the_same_logits_and_bytes()
    {
        using var checkpoint = new TinyCheckpoint("qwen2", "\"tie_word_embeddings\": true");
        using var target = new TemporaryFolder();
        using var model = ModelLoader.Load(checkpoint.Path);
        ModelSaver.Save(target["copy"], model, model.Config.File.Map, ScalarType.Float32);
        using var copy = ModelLoader.Load(target["copy"]);
        Assert.Equal(ModelRuns.Logits(model, Ids), ModelRuns.Logits(copy, Ids));
        Assert.Equal(ModelLoader.Fingerprint(checkpoint.Path), ModelLoader.Fingerprint(target["copy"]));
    }

    [Fact]
    public void Stored_type_is_written_into_config_json()
    {
        using var checkpoint = new TinyCheckpoint();
        using var target = new TemporaryFolder();
        using var model = ModelLoader.Load(checkpoint.Path);
        ModelSaver.Save(target.Path, model, model.Config.File.Map, ScalarType.BFloat16);
        Assert.Contains(
            "\"torch_dtype\": \"bfloat16\"", File.ReadAllText(target["config.json"]), StringComparison.Ordinal);
        using var copy = ModelLoader.Load(target.Path);
        Assert.Equal(ScalarType.BFloat16, copy.Dtype);
    }

    [Fact]
    public void Transform_replaces_a_weight_on_its_way_out()
    {
        using var checkpoint = new TinyCheckpoint();
        using var target = new TemporaryFolder();
        using var model = ModelLoader.Load(checkpoint.Path);
        ModelSaver.Save(target.Path, model, model.Config.File.Map, ScalarType.Float32,
            (name, tensor) => name == "model.norm.weight" ? tensor.mul(2) : tensor);
        using var copy = ModelLoader.Load(target.Path);
        var doubled = ModelRuns.Logits(model, Ids).Select(value => value * 2);
        Assert.InRange(ModelRuns.LargestDifference(ModelRuns.Logits(copy, Ids), doubled), 0, 1e-5);
    }
}
