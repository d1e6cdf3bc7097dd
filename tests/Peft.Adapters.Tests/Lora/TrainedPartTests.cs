using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Formats;
using Peft.Formats.Safetensors;
using Peft.Models;

namespace Peft.Adapters.Tests.Lora;

/// <summary>Whole modules, token rows and embeddings beside a LoRA, as PEFT stores them.</summary>
public sealed class TrainedPartTests : IDisposable
{
    private const string Prefix = "base_model.model.";
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly string _folder = Directory.CreateTempSubdirectory("peft-parts-").FullName;

    public void Dispose()
    {
        _scope.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [SharedTheory]
    [InlineData("models-2/llama-bias", "\"modules_to_save\": [\"lm_head\", \"norm\"]",
        "lm_head.weight", "model.norm.weight")]
    [InlineData("models-2/gpt2", "\"modules_to_save\": [\"mlp\", \"wpe\"]", "transformer.h.0.mlp.c_fc.weight",
        "transformer.h.0.mlp.c_fc.bias", "transformer.h.0.mlp.c_proj.weight", "transformer.h.0.mlp.c_proj.bias",
        "transformer.h.1.mlp.c_fc.weight", "transformer.h.1.mlp.c_fc.bias", "transformer.h.1.mlp.c_proj.weight",
        "transformer.h.1.mlp.c_proj.bias", "transformer.wpe.weight")]
    [InlineData("models-2/qwen3-tied", "\"modules_to_save\": [\"embed_tokens\"]", "model.embed_tokens.weight")]
    [InlineData("models-2/qwen3-tied", "\"modules_to_save\": [\"lm_head\"]", "lm_head.weight")]
    [InlineData("models-2/qwen3-tied", "\"trainable_token_indices\": [5, 2]",
        "model.embed_tokens.token_adapter.trainable_tokens_delta")]
    [InlineData("models-2/gemma", "\"lora_alpha\": 3", "model.embed_tokens.lora_embedding_A",
        "model.embed_tokens.lora_embedding_B")]
    public void They_train_and_go_through_a_file_of_pefts(string name, string extra, params string[] tensors)
    {
        var targets = tensors[0].EndsWith("lora_embedding_A", StringComparison.Ordinal) ? "\"embed_tokens\"" :
            name.EndsWith("gpt2", StringComparison.Ordinal) ? "\"c_attn\"" : "\"q_proj\"";
        using var model = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32);
        var ids = torch.tensor(new long[] { 3, 5, 2, 39, 8, 5 }, [1, 6]);
        var plain = model.Forward(ids, ForwardPass.ForInference());
        var options = AdapterOptionsTests.Read($$"""{"r": 2, "target_modules": [{{targets}}], {{extra}}}""");
        var adapted = AdapterAttachment.Attach(model, options, seed: 1);
        // A fresh adapter changes nothing.
        Assert.Equal(0, (plain - model.Forward(ids, ForwardPass.ForInference())).abs().max().ToDouble(), 1e-6);
        Assert.Equal(
            tensors.Order(StringComparer.Ordinal),
            adapted.Parts.SelectMany(part => part.State).Select(pair => pair.Name).Order(StringComparer.Ordinal));

        using (torch.no_grad())
        {
            torch.manual_seed(3);
            foreach (var (_, parameter) in adapted.Parameters)
                parameter.add_(torch.randn_like(parameter) * 0.1);
        }

        var pass = ForwardPass.ForTraining();
        var logits = model.Forward(ids, pass);
        pass.Backward(torch.nn.functional.cross_entropy(logits.reshape(6, -1), ids.reshape(-1)));
        Assert.All(adapted.Parameters, pair => Assert.True(pair.Parameter.grad!.abs().max().ToDouble() > 0, pair.Name));
        Assert.True((plain - logits).abs().max().ToDouble() > 1e-3);

        PeftDirectory.Write(_folder, PeftAdapter.Of(adapted, "x"), "card");
        var file = SafetensorsFile.Open(Path.Combine(_folder, "adapter_model.safetensors"));
        Assert.Equal(
            tensors.Select(tensor => Prefix + tensor).Order(StringComparer.Ordinal),
            file.Entries.Keys.Where(key => !key.Contains(".lora_A.", StringComparison.Ordinal)
                && !key.Contains(".lora_B.", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
        PeftAdapter.RequireEqual(_folder, PeftAdapter.Of(adapted, "x"), PeftDirectory.Read(_folder));
        using var again = ModelLoader.Load(VectorModels.Folder(name), ScalarType.Float32);
        Bundle.Open(_folder).Attach(again);
        Assert.Equal(0, (logits - again.Forward(ids, ForwardPass.ForInference())).abs().max().ToDouble(), 1e-6);
    }

    [SharedFact]
    public void Trained_rows_replace_those_of_the_table_and_of_a_tied_head()
    {
        var folder = VectorModels.Folder("models-2/qwen3-tied");
        using var model = ModelLoader.Load(folder, ScalarType.Float32);
        var adapted = AdapterAttachment.Attach(
            model, AdapterOptionsTests.Read("""
                {"r": 2, "target_modules": ["q_proj"], "trainable_token_indices": [5, 2]}
                """), 1);
        using var other = ModelLoader.Load(folder, ScalarType.Float32);
        using (torch.no_grad())
        {
            var rows = torch.randn([2, 48]);
            adapted.Parts[0].Parameters[0].Parameter.copy_(rows);
            other.Embedding.Weight.index_copy_(0, torch.tensor(new long[] { 5, 2 }), rows);
        }

        AssertAlike(model, other);
    }

    [SharedFact]
    public void A_lora_on_the_table_is_added_to_its_rows_and_not_to_a_tied_head()
    {
        var folder = VectorModels.Folder("models-2/gemma");
        using var model = ModelLoader.Load(folder, ScalarType.Float32);
        var adapted = AdapterAttachment.Attach(
            model, AdapterOptionsTests.Read("""{"r": 2, "lora_alpha": 6, "target_modules": ["embed_tokens"]}"""), 1);
        using var other = ModelLoader.Load(folder, ScalarType.Float32);
        using (torch.no_grad())
        {
            var (a, b) = (adapted.Parameters[0].Parameter, adapted.Parameters[1].Parameter);
            a.copy_(torch.randn_like(a));
            var head = other.HeadWeight.clone().ToParameter(false);
            other.Wrap("lm_head", inner => new BaseLinear(inner.Path, head));
            other.Embedding.Weight.add_(b.mm(a).t() * 3);
        }

        AssertAlike(model, other);
    }

    [SharedTheory]
    [InlineData("\"modules_to_save\": [\"lm_haed\"]", "modules_to_save: 'lm_haed' matches no module; expected some of "
        + "embed_tokens, input_layernorm, q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, post_attention_layernorm, "
        + "gate_proj, up_proj, down_proj, norm, lm_head. Did you mean lm_head?")]
    [InlineData("\"modules_to_save\": [\"self_attn\"]", "modules_to_save: 'self_attn', and "
        + "model.layers.0.self_attn.q_proj has an adapter; expected one of them. Leave it out of target_modules, or "
        + "exclude it.")]
    [InlineData("\"trainable_token_indices\": [1, 96]", "trainable_token_indices: 1, 96; expected each id once, from "
        + "0 to 95.")]
    [InlineData("\"method\": \"mixture\", \"experts\": {\"count\": 2}, \"modules_to_save\": [\"norm\"]",
        "adapter: whole modules, token rows or the embeddings beside a mixture; expected method: lora for them. Leave "
        + "modules_to_save and trainable_token_indices out, and the embeddings out of target_modules.")]
    public void What_cannot_be_trained_so_is_refused_and_the_model_stays_whole(string extra, string message)
    {
        using var model = ModelLoader.Load(VectorModels.Folder("models-2/qwen3-tied"));
        var options = AdapterOptionsTests.Read($$"""{"r": 2, "target_modules": ["q_proj"], {{extra}}}""");
        var error = Assert.ThrowsAny<UserException>(() => AdapterAttachment.Attach(model, options, 1));
        Assert.Contains(message, error.Message.Replace("  ", ": ", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.True(model.Projections.All(projection => projection is BaseLinear));
    }

    private static void AssertAlike(CausalLanguageModel model, CausalLanguageModel other)
    {
        var ids = torch.tensor(new long[] { 3, 5, 2, 39, 8, 5 }, [1, 6]);
        var (found, expected) = (
            model.Forward(ids, ForwardPass.ForInference()), other.Forward(ids, ForwardPass.ForInference()));
        Assert.InRange((found - expected).abs().max().ToDouble(), 0, 2e-5);
    }
}
