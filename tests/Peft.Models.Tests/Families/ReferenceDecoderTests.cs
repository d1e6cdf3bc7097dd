using Peft.Models.Tests.Support;

namespace Peft.Models.Tests.Families;

public sealed class ReferenceDecoderTests
{
    private static readonly int[] Ids = [3, 17, 0, 39, 8, 8, 21, 5, 30, 11];

    [Fact]
    public void Qwen3_equals_the_plain_loops() =>
        Check(new TinyCheckpoint("qwen3", "\"head_dim\": 8, \"tie_word_embeddings\": true, \"rope_theta\": 1000000"), 8,
        1000000);

    [Fact]
    public void Qwen2_equals_the_plain_loops() => Check(new TinyCheckpoint("qwen2"), 4, 10000);

    [Fact]
    public void Llama_with_transformers_5_spellings_equals_the_plain_loops() => Check(
        new TinyCheckpoint(
            "llama",
            "\"rope_parameters\": {\"rope_theta\": 500.0, \"rope_type\": \"default\"}, \"dtype\": \"float32\""),
        4, 500);

    [Fact]
    public void Mistral_with_a_window_equals_the_plain_loops() =>
        Check(new TinyCheckpoint("mistral", "\"sliding_window\": 4"), 4, 10000, window: 4);

    [Fact]
    public void Bias_free_qwen3_norms_matter()
    {
        using var checkpoint = new TinyCheckpoint("qwen3", "\"head_dim\": 8");
        using var model = ModelLoader.Load(checkpoint.Path);
        var before = ModelRuns.Logits(model, [.. Ids]);
        checkpoint.Tensors["model.layers.1.self_attn.q_norm.weight"].Data[0] += 2;
        checkpoint.Write();
        using var changed = ModelLoader.Load(checkpoint.Path);
        Assert.InRange(ModelRuns.LargestDifference(before, ModelRuns.Logits(changed, [.. Ids])), 1e-3, 100);
    }

    // transformers 4.57: granite multiplies by a number of Python, which nothing rounds; gemma by a tensor of the type.
    [Fact]
    public void Granite_multiplies_embeddings_by_a_factor_that_is_not_rounded_to_their_type()
    {
        const double Factor = 12.3; // 12.3125 in bfloat16
        using var checkpoint = new TinyCheckpoint("granite", "\"embedding_multiplier\": 12.3");
        using var scaled = new TinyCheckpoint("granite");
        var table = checkpoint.Tensors["model.embed_tokens.weight"].Data;
        for (var i = 0; i < table.Length; i++)
            scaled.Tensors["model.embed_tokens.weight"].Data[i] = Rounded(Rounded(table[i]) * (float)Factor);
        scaled.Write();
        using var model = ModelLoader.Load(checkpoint.Path, ScalarType.BFloat16);
        using var expected = ModelLoader.Load(scaled.Path, ScalarType.BFloat16);
        long[] ids = [.. Ids];
        Assert.Equal(ModelRuns.Logits(expected, ids), ModelRuns.Logits(model, ids));

        static float Rounded(float value)
        {
            using var scope = torch.NewDisposeScope();
            return torch.tensor(value).to(ScalarType.BFloat16).to(ScalarType.Float32).item<float>();
        }
    }

    private static void Check(TinyCheckpoint checkpoint, int headSize, double theta, int window = int.MaxValue)
    {
        using (checkpoint)
        {
            using var model = ModelLoader.Load(checkpoint.Path, ScalarType.Float32);
            var expected = new ReferenceDecoder(
                checkpoint.Tensors)
            { HeadSize = headSize, Theta = theta, Window = window }.Logits(Ids);
            var found = ModelRuns.Logits(model, [.. Ids.Select(id => (long)id)]);
            Assert.InRange(
                ModelRuns.LargestDifference(found, expected.SelectMany(row => row).Select(value => (float)value)), 0,
                1e-4);
        }
    }
}
