using Peft.Models.Tests.Support;

namespace Peft.Models.Tests.Families;

/// <summary>Variants of Falcon and OPT of which there is no recorded checkpoint, against plain loops in double
/// precision.</summary>
public sealed class LayerNormFamilyTests : IDisposable
{
    private const int Width = 12;
    private const int Heads = 3;
    private const int HeadSize = 4;
    private const int Inner = 20;
    private const int Vocabulary = 30;

    private static readonly int[] Ids = [3, 17, 0, 29, 8, 8, 21, 5, 13, 11, 2, 7];

    private readonly TemporaryFolder _folder = new();
    private readonly SortedDictionary<string, PlainTensor> _tensors = new(StringComparer.Ordinal);
    private readonly Random _random = new(4);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Falcon_with_alibi_equals_the_plain_loops()
    {
        WriteFalcon();
        Check(Falcon(), 1e-5);
    }

    [Fact]
    public void Alibi_is_the_same_with_a_cache_in_padded_and_in_packed_rows()
    {
        WriteFalcon();
        using var model = ModelLoader.Load(_folder.Path);
        using var scope = torch.NewDisposeScope();
        var alone = Logits(model, Ids, ForwardPass.ForInference());

        var mask = torch.ones([1, 15], ScalarType.Bool);
        mask.narrow(1, 0, 3).zero_();
        var padded = Logits(model, [0, 0, 0, .. Ids], ForwardPass.ForInference(keyMask: mask));
        Assert.InRange(ModelRuns.LargestDifference(padded[(3 * Vocabulary)..], alone), 0, 1e-5);

        var pass = ForwardPass.ForInference(segments: new SequenceSegments(1, 17, [0, 5, 5, 17]));
        var packed = Logits(model, [.. Ids[..5], .. Ids], pass);
        Assert.InRange(ModelRuns.LargestDifference(packed[(5 * Vocabulary)..], alone), 0, 1e-5);

        var options = new GenerationOptions { MaxNewTokens = 6, EosTokenIds = [] };
        var continued = TextGeneration.Generate(model, Ids, options).ToArray();
        var whole = Ids.ToList();
        for (var i = 0; i < 6; i++)
        {
            var last = Logits(model, [.. whole], ForwardPass.ForInference())[^Vocabulary..];
            whole.Add(Array.IndexOf(last, last.Max()));
        }

        Assert.Equal(whole[Ids.Length..], continued);
    }

    [Fact]
    public void Opt_with_norms_after_each_half_and_narrow_token_vectors_equals_the_plain_loops()
    {
        WriteOpt(narrow: 8);
        Check(Opt(), 1e-5);
        using var model = ModelLoader.Load(_folder.Path);
        Assert.Equal(
            ["model.decoder.project_out", "model.decoder.project_in", "model.decoder.layers.0.self_attn.q_proj"],
            model.Projections.Take(3).Select(projection => projection.Path));
    }

    [Fact]
    public void A_base_with_narrow_token_vectors_is_saved_wrapped_and_trained()
    {
        WriteOpt(narrow: 8);
        using var target = new TemporaryFolder();
        using var model = ModelLoader.Load(_folder.Path);
        ModelSaver.Save(target.Path, model, model.Config.File.Map, model.Dtype);
        using var again = ModelLoader.Load(target.Path);
        using var scope = torch.NewDisposeScope();
        Assert.Equal(
            Logits(model, Ids, ForwardPass.ForInference()), Logits(again, Ids, ForwardPass.ForInference()));
        Assert.Equal(ModelLoader.Fingerprint(_folder.Path), ModelLoader.Fingerprint(target.Path));
        again.Wrap("model.decoder.project_in", inner => new Doubled(inner));
        Assert.NotEqual(
            Logits(model, Ids, ForwardPass.ForInference()), Logits(again, Ids, ForwardPass.ForInference()));
    }

    private static float[] Logits(CausalLanguageModel model, int[] ids, ForwardPass pass) => model
        .Forward(torch.tensor(ids.Select(id => (long)id).ToArray(), [1, ids.Length]), pass).contiguous().data<float>()
        .ToArray();

    private void Check(double[][] expected, double tolerance)
    {
        using var model = ModelLoader.Load(_folder.Path);
        var found = ModelRuns.Logits(model, [.. Ids.Select(id => (long)id)]);
        Assert.InRange(
            ModelRuns.LargestDifference(found, expected.SelectMany(row => row).Select(value => (float)value)), 0,
            tolerance);
    }

    private void WriteFalcon()
    {
        Config("""
            "model_type": "falcon", "alibi": true, "multi_query": false, "parallel_attn": false, "bias": true,
            "activation": "relu", "ffn_hidden_size": 20, "layer_norm_epsilon": 0.01
            """);
        Add("transformer.word_embeddings.weight", Vocabulary, Width);
        for (var layer = 0; layer < 2; layer++)
        {
            var path = $"transformer.h.{layer}";
            AddNorm($"{path}.input_layernorm");
            AddNorm($"{path}.post_attention_layernorm");
            AddLinear($"{path}.self_attention.query_key_value", 3 * Width, Width);
            AddLinear($"{path}.self_attention.dense", Width, Width);
            AddLinear($"{path}.mlp.dense_h_to_4h", Inner, Width);
            AddLinear($"{path}.mlp.dense_4h_to_h", Width, Inner);
        }

        AddNorm("transformer.ln_f");
        PlainTensor.WriteAll(_folder["model.safetensors"], _tensors);
    }

    private void WriteOpt(int narrow)
    {
        Config($"""
            "model_type": "opt", "do_layer_norm_before": false, "word_embed_proj_dim": {narrow}, "ffn_dim": 20,
            "max_position_embeddings": 40
            """);
        const string Decoder = "model.decoder";
        Add($"{Decoder}.embed_tokens.weight", Vocabulary, narrow);
        Add($"{Decoder}.embed_positions.weight", 42, Width);
        Add($"{Decoder}.project_in.weight", Width, narrow);
        Add($"{Decoder}.project_out.weight", narrow, Width);
        for (var layer = 0; layer < 2; layer++)
        {
            var path = $"{Decoder}.layers.{layer}";
            foreach (var name in new[] { "q_proj", "k_proj", "v_proj", "out_proj" })
                AddLinear($"{path}.self_attn.{name}", Width, Width);
            AddNorm($"{path}.self_attn_layer_norm");
            AddNorm($"{path}.final_layer_norm");
            AddLinear($"{path}.fc1", Inner, Width);
            AddLinear($"{path}.fc2", Width, Inner);
        }

        PlainTensor.WriteAll(_folder["model.safetensors"], _tensors);
    }

    // transformers 4.57, modeling_falcon: (q k + alibi) / sqrt(d), with slope and product in bfloat16.
    private double[][] Falcon()
    {
        const string Model = "transformer";
        // Three heads: a power of two is two, of whose slopes 2^-4 and 2^-8; the third takes the first of four's.
        double[] slopes = [1 / 16.0, 1 / 256.0, 1 / 4.0];
        var x = Ids.Select(id => Row($"{Model}.word_embeddings.weight", id)).ToArray();
        for (var layer = 0; layer < 2; layer++)
        {
            var path = $"{Model}.h.{layer}";
            var all = x.Select(h => Linear(
                Norm(h, $"{path}.input_layernorm", 0.01), $"{path}.self_attention.query_key_value")).ToArray();
            var mixed = Attend(
                all.Select(row => Part(row, 0)).ToArray(), all.Select(row => Part(row, 1)).ToArray(),
                all.Select(row => Part(row, 2)).ToArray(), (head, s) => slopes[head] * s);
            for (var t = 0; t < x.Length; t++)
            {
                x[t] = Sum(x[t], Linear(mixed[t], $"{path}.self_attention.dense"));
                x[t] = Sum(x[t], FeedForward(
                    Norm(x[t], $"{path}.post_attention_layernorm", 0.01), $"{path}.mlp.dense_h_to_4h",
                    $"{path}.mlp.dense_4h_to_h"));
            }
        }

        return [.. x.Select(h => Linear(Norm(h, $"{Model}.ln_f", 0.01), $"{Model}.word_embeddings"))];

        // For each head its query, key and value.
        double[][] Part(double[] row, int part) =>
            [.. Enumerable.Range(0, Heads).Select(head => row.Chunk(HeadSize).ElementAt((3 * head) + part))];
    }

    // transformers 4.57, modeling_opt, as the 350M has it.
    private double[][] Opt()
    {
        const string Model = "model.decoder";
        var x = Ids.Select((id, t) => Sum(
            Linear(Row($"{Model}.embed_tokens.weight", id), $"{Model}.project_in"),
            Row($"{Model}.embed_positions.weight", t + 2))).ToArray();
        for (var layer = 0; layer < 2; layer++)
        {
            var path = $"{Model}.layers.{layer}";
            var mixed = Attend(Of("q_proj"), Of("k_proj"), Of("v_proj"), (_, _) => 0);
            for (var t = 0; t < x.Length; t++)
            {
                x[t] = Norm(
                    Sum(x[t], Linear(mixed[t], $"{path}.self_attn.out_proj")), $"{path}.self_attn_layer_norm", 1e-5);
                x[t] = Norm(
                    Sum(x[t], FeedForward(x[t], $"{path}.fc1", $"{path}.fc2")), $"{path}.final_layer_norm", 1e-5);
            }

            double[][][] Of(string name) =>
                [.. x.Select(h => Linear(h, $"{path}.self_attn.{name}").Chunk(HeadSize).ToArray())];
        }

        return [.. x.Select(h => Linear(Linear(h, $"{Model}.project_out"), $"{Model}.embed_tokens"))];
    }

    private static double[][] Attend(double[][][] q, double[][][] k, double[][][] v, Func<int, int, double> bias) =>
        [.. Enumerable.Range(0, q.Length).Select(t => Enumerable.Range(0, Heads).SelectMany(head =>
        {
            var scores = Enumerable.Range(0, t + 1).Select(s => Math.Exp(
                (Dot(q[t][head], k[s][head]) + bias(head, s)) / Math.Sqrt(HeadSize))).ToArray();
            return Enumerable.Range(0, HeadSize).Select(
                i => Enumerable.Range(0, t + 1).Sum(s => scores[s] * v[s][head][i]) / scores.Sum());
        }).ToArray())];

    private double[] FeedForward(double[] x, string up, string down) =>
        Linear([.. Linear(x, up).Select(value => Math.Max(value, 0))], down);

    private double[] Norm(double[] x, string path, double epsilon)
    {
        var mean = x.Average();
        var scale = 1 / Math.Sqrt(x.Select(value => (value - mean) * (value - mean)).Average() + epsilon);
        var (weight, bias) = (_tensors[$"{path}.weight"].Data, _tensors[$"{path}.bias"].Data);
        return [.. x.Select((value, i) => ((value - mean) * scale * weight[i]) + bias[i])];
    }

    private double[] Linear(double[] x, string path) =>
        [.. Enumerable.Range(0, (int)_tensors[$"{path}.weight"].Shape[0]).Select(row =>
            Dot(x, Row($"{path}.weight", row)) + (_tensors.GetValueOrDefault($"{path}.bias")?.Data[row] ?? 0))];

    private double[] Row(string name, int row)
    {
        var width = (int)_tensors[name].Shape[1];
        return [.. _tensors[name].Data[(row * width)..((row + 1) * width)].Select(value => (double)value)];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private void Config(string keys) => File.WriteAllText(_folder["config.json"], $$"""
        {{{keys}}, "vocab_size": {{Vocabulary}}, "hidden_size": {{Width}}, "num_hidden_layers": 2,
         "num_attention_heads": {{Heads}}}
        """);

    private void AddNorm(string path)
    {
        Add($"{path}.weight", Width);
        Add($"{path}.bias", Width);
    }

    private void AddLinear(string path, long rows, long columns)
    {
        Add($"{path}.weight", rows, columns);
        Add($"{path}.bias", rows);
    }

    private void Add(string name, params long[] shape) => _tensors[name] = new PlainTensor(
        shape, [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b))
            .Select(_ => (float)((_random.NextDouble() - 0.4) * 0.9))]);

    private sealed class Doubled(Projection inner) : Projection(inner.Path, inner.InFeatures, inner.OutFeatures)
    {
        public override Tensor Forward(Tensor x, ForwardPass pass) => inner.Forward(x, pass) * 2;
    }
}
