using System.Text.Json.Nodes;
using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>What adapters must do on every family, on the checkpoints of the shared vectors.</summary>
public sealed class FamilyAdapterTests : TensorTests
{
    [SharedTheory]
    [MemberData(nameof(VectorModels.Names), MemberType = typeof(VectorModels))]
    public void Blocks_that_run_again_give_the_same_gradients(string name)
    {
        var (kept, again) = (Gradients(name, false), Gradients(name, true));
        Assert.Equal(kept.Select(pair => pair.Name), again.Select(pair => pair.Name));
        Assert.All(kept.Zip(again), pair => Assert.InRange(
            (pair.First.Gradient - pair.Second.Gradient).abs().max().ToDouble(), 0, 1e-6));
    }

    [SharedTheory]
    [InlineData("models-2/gpt2", "c_attn")]
    [InlineData("models-2/phi3", "qkv_proj")]
    [InlineData("models-2/falcon", "query_key_value")]
    [InlineData("models-2/olmo2", "q_proj", "v_proj")]
    public void A_file_without_targets_has_those_of_its_family(string name, params string[] targets)
    {
        using var tiny = new TinyModel();
        var folder = tiny.In("silent");
        Directory.CreateDirectory(folder);
        var source = Path.Combine(VectorModels.Folder(name), "adapter");
        var json = JsonNode.Parse(File.ReadAllText(Path.Combine(source, "adapter_config.json")))!.AsObject();
        json["target_modules"] = new JsonArray([.. targets.Select(target => (JsonNode)target)]);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), json.ToJsonString());
        using var model = ModelLoader.Load(VectorModels.Folder(name));
        var options = AdapterOptionsTests.Read(
            $$"""{"r": 2, "target_modules": ["{{string.Join("\", \"", targets)}}"]}""");
        var adapted = AdapterAttachment.Attach(model, options, 1);
        PeftDirectory.Write(folder, PeftAdapter.Of(adapted, "x"), "card");
        json = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "adapter_config.json")))!.AsObject();
        Assert.Equal(name == "models-2/gpt2", json["fan_in_fan_out"]!.GetValue<bool>());
        json["target_modules"] = null;
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), json.ToJsonString());

        using var again = ModelLoader.Load(VectorModels.Folder(name));
        var found = Bundle.Open(folder).Attach(again);

        Assert.Equal(adapted.Modules.Select(module => module.Path), found.Modules.Select(module => module.Path));
    }

    [SharedTheory]
    [InlineData("models-2/qwen3-tied", "q_proj", "embed_tokens", "model.embed_tokens", "lm_head")]
    [InlineData("models-2/gpt2", "c_attn", "wte", "transformer.wte", "wpe")]
    public void Token_rows_of_a_named_module_are_those_of_the_table(
        string name, string target, string table, string path, string other)
    {
        using var tiny = new TinyModel();
        var folder = tiny.In("named");
        using var model = ModelLoader.Load(VectorModels.Folder(name));
        var adapted = AdapterAttachment.Attach(model, AdapterOptionsTests.Read(
            $$"""{"r": 2, "target_modules": ["{{target}}"], "trainable_token_indices": [5, 2]}"""), 1);
        PeftDirectory.Write(folder, PeftAdapter.Of(adapted, "x"), "card");
        var file = Path.Combine(folder, "adapter_config.json");
        foreach (var named in new[] { table, path })
        {
            using var again = ModelLoader.Load(Named(named));
            Assert.Equal([5, 2], Bundle.Open(folder).Attach(again).Options.TrainableTokenIndices);
        }

        using var whole = ModelLoader.Load(Named(other));
        var error = Assert.Throws<UserException>(() => Bundle.Open(folder).Attach(whole));
        Assert.Equal(
            $"{file}: trainable_token_indices: tokens of '{other}'; expected those of '{table}', the table of token "
            + $"vectors of a {whole.Config.ModelType} model. Name the base it was trained on with --base DIR if that "
            + "is another one.", error.Message);
        Assert.True(whole.Projections.All(projection => projection is BaseLinear));

        string Named(string module)
        {
            var json = JsonNode.Parse(File.ReadAllText(file))!.AsObject();
            json["trainable_token_indices"] = new JsonObject { [module] = new JsonArray(5, 2) };
            File.WriteAllText(file, json.ToJsonString());
            return VectorModels.Folder(name);
        }
    }

    [SharedTheory]
    [InlineData("models-2/gpt2", true)]
    [InlineData("models-2/phi3", false)]
    public void A_merge_says_as_its_adapters_do_how_the_base_stores_matrices(string name, bool expected)
    {
        using var tiny = new TinyModel();
        using var model = ModelLoader.Load(VectorModels.Folder(name));
        var adapted = AdapterAttachment.Attach(model, AdapterOptionsTests.Read("""{"r": 2}"""), 1);
        BundleWriter.Write(
            tiny.In("ours"), new BundleContents { Adapted = adapted, Base = Merging.MergeFixture.Base });
        PeftDirectory.Write(tiny.In("theirs"), PeftAdapter.Of(adapted, "x"), "card");
        foreach (var method in new[] { "average", "arrow" })
        {
            AdapterMerge.Run(
                [.. MergeSource.Open(tiny.In("ours")), .. MergeSource.Open(tiny.In("theirs"))],
                MergeCatalog.Find(method)!, new MergeOptions(), null, tiny.In(method));
            var json = JsonNode.Parse(File.ReadAllText(Path.Combine(tiny.In(method), "adapter_config.json")))!;
            Assert.Equal(expected, json["fan_in_fan_out"]!.GetValue<bool>());
            using var again = ModelLoader.Load(VectorModels.Folder(name));
            Bundle.Open(tiny.In(method)).Attach(again);
        }
    }

    [SharedFact]
    public void A_router_inside_an_expert_of_the_base_is_refused()
    {
        using var model = ModelLoader.Load(VectorModels.Folder("models-2/mixtral"));
        var options = AdapterOptionsTests.Read(
            """
            {"method": "mixture", "r": 2, "target_modules": ["q_proj", "w1"], "experts": {"count": 2},
             "router": {"kind": "top-k", "top_k": 1}}
            """);
        var error = Assert.Throws<UserException>(() => AdapterAttachment.Attach(model, options, 1));
        Assert.Equal(
            "model.layers.0.block_sparse_moe.experts.0.w1: is part of an expert of the base, which sees some of the "
            + "tokens alone; a router decides for all of them; expected a plain LoRA there, or a mixture on other "
            + "projections. List adapter.target_modules without it, or exclude it by adapter.exclude_modules.",
            error.Message);
        Assert.True(model.Projections.All(projection => projection is BaseLinear));
    }

    private static List<(string Name, Tensor Gradient)> Gradients(string name, bool checkpoints)
    {
        var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32, torch.CPU);
        var adapted = Bundle.Open(Path.Combine(VectorModels.Folder(name), "adapter")).Attach(model);
        var ids = torch.tensor(new long[] { 3, 17, 0, 39, 8, 21, 5, 30, 11, 2, 9, 4 }, [2, 6]);
        var pass = ForwardPass.ForTraining(gradientCheckpointing: checkpoints);
        var logits = model.Forward(ids, pass);
        pass.Backward(torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[2]), ids.reshape(-1)));
        return [.. adapted.Parameters.Where(pair => pair.Parameter.grad is not null)
            .Select(pair => (pair.Name, pair.Parameter.grad!))];
    }
}
