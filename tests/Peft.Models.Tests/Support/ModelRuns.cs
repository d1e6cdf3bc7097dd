namespace Peft.Models.Tests.Support;

/// <summary>Short ways to run a model and get plain numbers.</summary>
public static class ModelRuns
{
    /// <summary>Logits of a batch, row-major [B, T, V].</summary>
    public static float[] Logits(CausalLanguageModel model, long[] ids, long rows = 1)
    {
        using var scope = torch.NewDisposeScope();
        var logits = model.Forward(torch.tensor(ids, [rows, ids.Length / rows]), ForwardPass.ForInference());
        return logits.to(ScalarType.Float32).contiguous().data<float>().ToArray();
    }

    /// <summary>Mean next-token cross entropy of a batch, from logits [B, T, V], in double precision.</summary>
    public static double MeanLoss(float[] logits, long[] ids, int rows, int vocabulary)
    {
        var length = ids.Length / rows;
        var losses = new List<double>();
        for (var row = 0; row < rows; row++)
        {
            for (var t = 0; t + 1 < length; t++)
                losses.Add(Loss(
                    logits.AsSpan(((row * length) + t) * vocabulary, vocabulary), (int)ids[(row * length) + t + 1]));
        }

        return losses.Average();
    }

    public static double Loss(ReadOnlySpan<float> logits, int target)
    {
        var sum = 0.0;
        foreach (var logit in logits)
            sum += Math.Exp(logit);
        return Math.Log(sum) - logits[target];
    }

    public static double LargestDifference(IEnumerable<float> found, IEnumerable<float> expected) =>
        found.Zip(expected, (a, b) => Math.Abs((double)a - b)).Max();
}
