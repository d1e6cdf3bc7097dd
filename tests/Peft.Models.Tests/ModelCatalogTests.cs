using Peft.Formats;
using Peft.Models.Tests.Families;
using Peft.Models.Tests.Support;

namespace Peft.Models.Tests;

public sealed class ModelCatalogTests
{
    private static readonly long[] Ids = [3, 17, 0, 39, 8, 21, 5];

    static ModelCatalogTests() => ModelCatalog.Add(OffshootFamily.Family);

    [Fact]
    public void A_family_of_one_file_and_one_line_loads_computes_generates_and_is_saved()
    {
        using var llama = new TinyCheckpoint();
        using var offshoot = new TinyCheckpoint();
        const string Sizes =
            "\"n_vocab\": 40, \"d_model\": 16, \"n_layer\": 3, \"n_head\": 4, \"n_kv_head\": 2, \"d_inner\": 24";
        File.WriteAllText(offshoot["config.json"], $"{{\"model_type\": \"offshoot\", {Sizes}}}");
        using var plain = ModelLoader.Load(llama.Path);
        using var model = ModelLoader.Load(offshoot.Path);
        Assert.Equal(ModelRuns.Logits(plain, Ids), ModelRuns.Logits(model, Ids));
        var options = new GenerationOptions { MaxNewTokens = 5, EosTokenIds = [] };
        Assert.Equal(
            TextGeneration.Generate(plain, [3, 17], options), TextGeneration.Generate(model, [3, 17], options));

        File.WriteAllText(offshoot["config.json"], $"{{\"model_type\": \"offshoot\", {Sizes}, \"local_window\": 2}}");
        using var local = ModelLoader.Load(offshoot.Path);
        Assert.InRange(
            ModelRuns.LargestDifference(ModelRuns.Logits(plain, Ids), ModelRuns.Logits(local, Ids)), 1e-3, 10);

        using var target = new TemporaryFolder();
        ModelSaver.Save(target.Path, model, model.Config.File.Map, model.Dtype);
        using var again = ModelLoader.Load(target.Path);
        Assert.Equal(ModelRuns.Logits(model, Ids), ModelRuns.Logits(again, Ids));
    }

    [Fact]
    public void A_new_familys_faults_are_told_like_any_others()
    {
        using var checkpoint = new TinyCheckpoint();
        File.WriteAllText(
            checkpoint["config.json"],
            "{\"model_type\": \"offshoot\", \"n_vocab\": 40, \"d_model\": 16, \"n_head\": 3}");
        var error = Assert.Throws<FaultsException>(() => ModelLoader.Load(checkpoint.Path));
        Assert.Equal(["n_layer", "d_inner"], error.Items.Select(fault => fault.Place));
    }
}
