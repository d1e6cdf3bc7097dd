namespace Peft.Models.Tests.Support;

/// <summary>
/// The Llama family written out as plain loops in double precision from the description of its config keys, sharing no
/// code with the program: one token at a time, every key looked at again. Slow and obvious.
/// </summary>
public sealed class ReferenceDecoder(IReadOnlyDictionary<string, PlainTensor> weights)
{
    public int Layers { get; init; } = 3;

    public int Heads { get; init; } = 4;

    public int KeyValueHeads { get; init; } = 2;

    public int HeadSize { get; init; } = 4;

    public double Epsilon { get; init; } = 1e-6;

    public double Theta { get; init; } = 10000;

    public int Window { get; init; } = int.MaxValue;

    /// <summary>Logits of every position, [T][V].</summary>
    public double[][] Logits(int[] ids)
    {
        var x = ids.Select(id => Row("model.embed_tokens.weight", id)).ToArray();
        for (var layer = 0; layer < Layers; layer++)
        {
            var path = $"model.layers.{layer}";
            var normed = x.Select(h => Norm(h, $"{path}.input_layernorm")).ToArray();
            var attended = Attend(normed, $"{path}.self_attn");
            for (var t = 0; t < x.Length; t++)
            {
                x[t] = Sum(x[t], attended[t]);
                x[t] = Sum(x[t], FeedForward(Norm(x[t], $"{path}.post_attention_layernorm"), $"{path}.mlp"));
            }
        }

        var head = weights.ContainsKey("lm_head.weight") ? "lm_head" : "model.embed_tokens";
        return [.. x.Select(h => Linear(Norm(h, "model.norm"), head))];
    }

    private double[][] Attend(double[][] x, string path)
    {
        var q = x.Select((h, t) => HeadsOf(Linear(h, $"{path}.q_proj"), Heads, $"{path}.q_norm", t)).ToArray();
        var k = x.Select((h, t) => HeadsOf(Linear(h, $"{path}.k_proj"), KeyValueHeads, $"{path}.k_norm", t)).ToArray();
        var v = x.Select(h => Linear(h, $"{path}.v_proj").Chunk(HeadSize).ToArray()).ToArray();
        var result = new double[x.Length][];
        for (var t = 0; t < x.Length; t++)
        {
            var mixed = new List<double>();
            for (var head = 0; head < Heads; head++)
            {
                var source = head / (Heads / KeyValueHeads);
                var first = Math.Max(0, (long)t - Window + 1);
                var scores = new double[t + 1];
                for (var s = (int)first; s <= t; s++)
                    scores[s] = Math.Exp(Dot(q[t][head], k[s][source]) / Math.Sqrt(HeadSize));
                var total = scores.Sum();
                for (var i = 0; i < HeadSize; i++)
                    mixed.Add(Enumerable.Range(0, t + 1).Sum(s => scores[s] * v[s][source][i]) / total);
            }

            result[t] = Linear([.. mixed], $"{path}.o_proj");
        }

        return result;
    }

    private double[][] HeadsOf(double[] joined, int count, string norm, int position)
    {
        var heads = joined.Chunk(HeadSize).ToArray();
        Assert.Equal(count, heads.Length);
        return [.. heads.Select(
            head => Rotate(weights.ContainsKey($"{norm}.weight") ? Norm(head, norm) : head, position))];
    }

    private double[] Rotate(double[] head, int position)
    {
        var half = HeadSize / 2;
        var turned = new double[HeadSize];
        for (var i = 0; i < half; i++)
        {
            var angle = position / Math.Pow(Theta, (double)i / half);
            turned[i] = (head[i] * Math.Cos(angle)) - (head[i + half] * Math.Sin(angle));
            turned[i + half] = (head[i + half] * Math.Cos(angle)) + (head[i] * Math.Sin(angle));
        }

        return turned;
    }

    private double[] FeedForward(double[] x, string path)
    {
        var gate = Linear(x, $"{path}.gate_proj");
        var up = Linear(x, $"{path}.up_proj");
        return Linear([.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)], $"{path}.down_proj");
    }

    private double[] Norm(double[] x, string path)
    {
        var scale = 1 / Math.Sqrt(x.Select(value => value * value).Average() + Epsilon);
        return [.. x.Select((value, i) => value * scale * weights[$"{path}.weight"].Data[i])];
    }

    private double[] Linear(double[] x, string path)
    {
        var weight = weights[$"{path}.weight"];
        var bias = weights.GetValueOrDefault($"{path}.bias");
        return [.. Enumerable.Range(0, (int)weight.Shape[0])
            .Select(row => Dot(x, Row($"{path}.weight", row)) + (bias?.Data[row] ?? 0))];
    }

    private double[] Row(string name, int row)
    {
        var width = (int)weights[name].Shape[1];
        return [.. weights[name].Data.AsSpan(row * width, width).ToArray().Select(value => (double)value)];
    }

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];
}
