using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Tests;

/// <summary>A llama of two blocks with random weights, and a folder that goes with the test.</summary>
public sealed class TinyModel : IDisposable
{
    private const string Config = """
        {"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
         "rope_theta": 10000.0, "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
         "hidden_act": "silu",
         "attention_bias": false, "mlp_bias": false, "initializer_range": 0.2}
        """;

    private readonly List<CausalLanguageModel> _models = [];

    public TinyModel()
    {
        Folder = Directory.CreateTempSubdirectory("peft-adapters-").FullName;
        Directory.CreateDirectory(In("base"));
        File.WriteAllText(In("base", "config.json"), Config);
    }

    public string Folder { get; }

    public static Tensor Ids => torch.tensor(new long[] { 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, [2, 5]);

    public string In(params string[] parts) => Path.Combine([Folder, .. parts]);

    public CausalLanguageModel New(ScalarType dtype = ScalarType.Float32)
    {
        var model = ModelLoader.Create(ModelConfigFile.Read(In("base")), dtype, 3);
        _models.Add(model);
        return model;
    }

    public static Tensor Logits(CausalLanguageModel model, Tensor? taskIds = null) =>
        model.Forward(Ids, ForwardPass.ForInference(taskIds: taskIds ?? torch.zeros([2], torch.int64)));

    public void Dispose()
    {
        foreach (var model in _models)
            model.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>Tests whose tensors, and whose tiny model where they ask for one, go with them.</summary>
public abstract class TensorTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private TinyModel? _tiny;

    protected TinyModel Tiny => _tiny ??= new();

    public void Dispose()
    {
        _scope.Dispose();
        _tiny?.Dispose();
        GC.SuppressFinalize(this);
    }
}
