using System.Globalization;
using System.Text.Json.Serialization;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Benchmarks;

/// <summary>A Llama-shaped model with a tied head, and the batch it is trained with.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="Hidden">Width of the residual stream, D.</param>
/// <param name="Layers">Blocks, L.</param>
/// <param name="Heads">Attention heads; as many for keys and values.</param>
/// <param name="FeedForward">Width of the feed-forward network, F.</param>
/// <param name="Vocabulary">Tokens, V.</param>
/// <param name="Length">Tokens of a sequence, T.</param>
/// <param name="Batch">Sequences of a batch, B.</param>
internal sealed record ModelShape(
    string Name, int Hidden, int Layers, int Heads, int FeedForward, int Vocabulary, int Length, int Batch)
{
    /// <summary>The shapes, the default first.</summary>
    public static IReadOnlyList<ModelShape> All { get; } =
    [
        new("quick", 256, 4, 4, 688, 4096, 128, 4),
        new("110m", 768, 12, 12, 2048, 32000, 256, 4),
    ];

    /// <summary>Rows of every GEMM, N = B T.</summary>
    public long Rows => (long)Batch * Length;

    /// <summary>The linear layers of a block as (inputs, outputs): q, k, v, o, gate, up, down.</summary>
    [JsonIgnore]
    public IReadOnlyList<(long In, long Out)> Linears =>
    [
        (Hidden, Hidden), (Hidden, Hidden), (Hidden, Hidden), (Hidden, Hidden), (Hidden, FeedForward),
        (Hidden, FeedForward), (FeedForward, Hidden),
    ];

    /// <summary>A model of this shape with random weights.</summary>
    public CausalLanguageModel Create(ScalarType dtype) => ModelLoader.Create(Config(), dtype, seed: 1);

    /// <summary>Its config.json.</summary>
    public ModelConfigFile Config()
    {
        // A config is read from a directory.
        var folder = Directory.CreateTempSubdirectory("peft-bench-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(folder, "config.json"), string.Create(CultureInfo.InvariantCulture, $$"""
                {
                  "model_type": "llama",
                  "hidden_size": {{Hidden}}, "intermediate_size": {{FeedForward}}, "num_hidden_layers": {{Layers}},
                  "num_attention_heads": {{Heads}}, "num_key_value_heads": {{Heads}}, "vocab_size": {{Vocabulary}},
                  "max_position_embeddings": {{Length}}, "rms_norm_eps": 1e-5, "tie_word_embeddings": true
                }
                """));
            return ModelConfigFile.Read(folder);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <inheritdoc/>
    public override string ToString() =>
        $"{Name} (D {Hidden}, {Layers} layers, {Heads} heads, F {FeedForward}, V {Vocabulary}, T {Length}, batch "
            + $"{Batch})";
}
