using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Peft.Formats;

namespace Peft.Models;

/// <summary>Chooses a token from logits: pure arithmetic, with the random number handed in.</summary>
/// <remarks>Source: temperature, then the K likeliest, then nucleus sampling (Holtzman et al. 2019, arXiv:1904.09751,
/// eq. 2–3).</remarks>
public static class TokenSampler
{
    /// <summary>The next token.</summary>
    /// <param name="logits">[V].</param>
    /// <param name="options">Temperature, top-k and top-p.</param>
    /// <param name="uniform">Gives a number in [0, 1); not called when greedy.</param>
    public static int Choose(ReadOnlySpan<float> logits, GenerationOptions options, Func<double> uniform)
    {
        var best = IndexOfLargest(logits);
        if (options.Temperature == 0 || options.TopK == 1)
            return best;
        var weights = new double[logits.Length]; // unnormalised probabilities; the largest is 1
        var total = 0.0;
        for (var i = 0; i < weights.Length; i++)
            total += weights[i] = Math.Exp((logits[i] - logits[best]) / options.Temperature);
        var candidates = Candidates(weights, total, options);
        return Draw(candidates, weights, uniform());
    }

    /// <summary>A number in [0, 1) from a stream.</summary>
    public static double Uniform(Generator random)
    {
        using var drawn = torch.rand([1], dtype: ScalarType.Float64, generator: random);
        return drawn.item<double>();
    }

    /// <summary>The numbers of logits in one copy; the library's own way goes from element to element.</summary>
    /// <remarks>Shapes: any, dense float32 on the CPU.</remarks>
    public static float[] Numbers(Tensor logits) => MemoryMarshal.Cast<byte, float>(logits.bytes).ToArray();

    /// <summary>The same into an array of before, where it fits: a fresh one of a large vocabulary is fresh pages,
    /// which cost thirty times the copy.</summary>
    public static void Copy(Tensor logits, ref float[] numbers)
    {
        var all = MemoryMarshal.Cast<byte, float>(logits.bytes);
        if (numbers.Length != all.Length)
            numbers = new float[all.Length];
        all.CopyTo(numbers);
    }

    private static int IndexOfLargest(ReadOnlySpan<float> logits)
    {
        // The first of equals, and before all the first that is not a number.
        var best = TensorPrimitives.IndexOfMax(logits);
        if (float.IsNaN(logits[best]))
        {
            throw UserException.At(
                "generation", "the model's logits are NaN", "finite logits",
                "the weights of the base or the adapter are damaged, or overflow in their type: "
                + "try --dtype float32");
        }

        return best;
    }

    // Likeliest first, ties by id; cut by top-k, then by top-p of what is left.
    private static List<int> Candidates(double[] weights, double total, GenerationOptions options)
    {
        var all = Enumerable.Range(0, weights.Length);
        if (options.TopK == 0 && options.TopP >= 1)
            return [.. all];
        if (options.TopK == 0)
        {
            // Tokens below (1 - p)/V weigh less than 1 - p together, so none of them is in the nucleus: fewer to sort.
            var least = (1 - options.TopP) / weights.Length * total;
            all = all.Where(i => weights[i] >= least);
        }

        var sorted = all.OrderByDescending(i => weights[i]).ThenBy(i => i).ToList();
        if (options.TopK > 0 && options.TopK < sorted.Count)
        {
            sorted.RemoveRange(options.TopK, sorted.Count - options.TopK);
            total = sorted.Sum(i => weights[i]);
        }

        return options.TopP >= 1 ? sorted : Nucleus(sorted, weights, options.TopP * total);
    }

    private static List<int> Nucleus(List<int> sorted, double[] weights, double mass)
    {
        var held = 0.0;
        var count = 0;
        while (count < sorted.Count && (count == 0 || held < mass))
            held += weights[sorted[count++]];
        return sorted[..count];
    }

    private static int Draw(List<int> candidates, double[] weights, double uniform)
    {
        var left = uniform * candidates.Sum(i => weights[i]);
        foreach (var candidate in candidates)
        {
            left -= weights[candidate];
            if (left < 0)
                return candidate;
        }

        return candidates[0]; // rounding only: the sum fell short by an ulp
    }
}
