using System.Globalization;

namespace Peft.Models.Tests.Support;

/// <summary>A small checkpoint with weights drawn without Torch, norms included, so that nothing is one or zero by
/// accident.</summary>
public sealed class TinyCheckpoint : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public TinyCheckpoint(string modelType = "llama", string extra = "", int seed = 1)
    {
        Config = string.Create(CultureInfo.InvariantCulture, $$"""
            {"model_type": "{{modelType}}", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 64,
             "rms_norm_eps": 1e-06, "eos_token_id": 2, "torch_dtype": "float32"{{(extra.Length == 0 ? "" : ", " + extra)}}}
            """);
        File.WriteAllText(_folder["config.json"], Config);
        var random = new Random(seed);
        var hasBias = modelType == "qwen2";
        var headSize = extra.Contains("\"head_dim\": 8", StringComparison.Ordinal) ? 8 : 4;
        Add("model.embed_tokens.weight", 40, 16);
        for (var layer = 0; layer < 3; layer++)
        {
            var path = $"model.layers.{layer}";
            Add($"{path}.input_layernorm.weight", 16);
            foreach (var (name, rows) in new[] { ("q_proj", 4 * headSize), ("k_proj", 2 * headSize),
                ("v_proj", 2 * headSize) })
            {
                Add($"{path}.self_attn.{name}.weight", rows, 16);
                if (hasBias)
                    Add($"{path}.self_attn.{name}.bias", rows);
            }

            Add($"{path}.self_attn.o_proj.weight", 16, 4 * headSize);
            if (modelType == "qwen3")
            {
                Add($"{path}.self_attn.q_norm.weight", headSize);
                Add($"{path}.self_attn.k_norm.weight", headSize);
            }

            Add($"{path}.post_attention_layernorm.weight", 16);
            Add($"{path}.mlp.gate_proj.weight", 24, 16);
            Add($"{path}.mlp.up_proj.weight", 24, 16);
            Add($"{path}.mlp.down_proj.weight", 16, 24);
        }

        Add("model.norm.weight", 16);
        if (!extra.Contains("\"tie_word_embeddings\": true", StringComparison.Ordinal))
            Add("lm_head.weight", 40, 16);
        Write();

        void Add(string name, params long[] shape)
        {
            var isNorm = name.Contains("norm", StringComparison.Ordinal);
            var data = new float[shape.Aggregate(1L, (a, b) => a * b)];
            for (var i = 0; i < data.Length; i++)
                data[i] = (float)((random.NextDouble() - 0.5) * 0.8 + (isNorm ? 1 : 0));
            Tensors[name] = new PlainTensor(shape, data);
        }
    }

    public string Path => _folder.Path;

    public string Config { get; }

    public SortedDictionary<string, PlainTensor> Tensors { get; } = new(StringComparer.Ordinal);

    public string this[string name] => _folder[name];

    /// <summary>Writes <see cref="Tensors"/> again, after a test changed them.</summary>
    public void Write() => PlainTensor.WriteAll(_folder["model.safetensors"], Tensors);

    /// <summary>Replaces the single file by two shards and an index.</summary>
    public void Shard()
    {
        File.Delete(_folder["model.safetensors"]);
        var parts = Tensors.Chunk((Tensors.Count / 2) + 1).ToArray();
        for (var part = 0; part < parts.Length; part++)
            PlainTensor.WriteAll(_folder[$"model-{part}.safetensors"], parts[part]);
        var map = parts.SelectMany(
            (tensors, part) => tensors.Select(tensor => $"\"{tensor.Key}\": \"model-{part}.safetensors\""));
        File.WriteAllText(_folder["model.safetensors.index.json"], $"{{\"weight_map\": {{{string.Join(", ", map)}}}}}");
    }

    public void Dispose() => _folder.Dispose();
}
