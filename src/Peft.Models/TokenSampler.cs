using System.Buffers;
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
        // Rented: fresh arrays of a large vocabulary are fresh pages for each token.
        var rented = ArrayPool<double>.Shared.Rent(logits.Length);
        try
        {
            var weights = rented.AsSpan(0, logits.Length); // unnormalised probabilities; the largest is 1
            TensorPrimitives.ConvertChecked(logits, weights);
            TensorPrimitives.Subtract(weights, logits[best], weights);
            TensorPrimitives.Divide(weights, options.Temperature, weights);
            TensorPrimitives.Exp(weights, weights);
            return options.TopK == 0 && options.TopP >= 1
                ? Draw(weights, best, uniform()) : Draw(Candidates(logits, weights, options), weights, uniform());
        }
        finally
        {
            ArrayPool<double>.Shared.Return(rented);
        }
    }

    /// <summary>A number in [0, 1) from a stream.</summary>
    public static double Uniform(Generator random)
    {
        using var drawn = torch.rand([1], dtype: ScalarType.Float64, generator: random);
        return drawn.item<double>();
    }

    /// <summary>The numbers of logits, in the array of before where it fits: a fresh one of a large vocabulary is
    /// fresh pages, which cost thirty times the copy.</summary>
    /// <remarks>Shapes: any, of any type and on any device.</remarks>
    public static void Copy(Tensor logits, ref float[] numbers)
    {
        using var scope = torch.NewDisposeScope();
        var all = MemoryMarshal.Cast<byte, float>(logits.to(ScalarType.Float32).to(torch.CPU).contiguous().bytes);
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
    private static int[] Candidates(ReadOnlySpan<float> logits, ReadOnlySpan<double> weights, GenerationOptions options)
    {
        if (options.TopK > 0 && options.TopK < logits.Length)
        {
            var likeliest = Likeliest(logits, options.TopK);
            var total = 0.0;
            foreach (var id in likeliest)
                total += weights[id];
            return options.TopP >= 1 ? likeliest : Nucleus(likeliest, weights, options.TopP * total);
        }

        // Tokens below (1 - p)/V weigh less than 1 - p together, so none of them is in the nucleus: fewer to sort.
        var all = TensorPrimitives.Sum(weights);
        var least = (1 - options.TopP) / weights.Length * all;
        var orders = new List<ulong>();
        for (var i = 0; i < weights.Length; i++)
        {
            if (weights[i] >= least)
                orders.Add(Order(logits[i], i));
        }
        orders.Sort();
        return Nucleus([.. orders.Select(IdOf)], weights, options.TopP * all);
    }

    // The k likeliest of more: what may be among them is kept until there are twice as many, then the rest of those is
    // dropped.
    private static int[] Likeliest(ReadOnlySpan<float> logits, int k)
    {
        var orders = new ulong[2 * k];
        var (count, last) = (0, ulong.MaxValue);
        for (var i = 0; i < logits.Length; i++)
        {
            var order = Order(logits[i], i);
            if (order >= last)
                continue;
            orders[count++] = order;
            if (count < orders.Length)
                continue;
            Array.Sort(orders);
            (count, last) = (k, orders[k - 1]);
        }

        Array.Sort(orders, 0, count);
        return [.. orders.Take(k).Select(IdOf)];
    }

    // A number that is smaller for the likelier token, and of two alike for the first.
    private static ulong Order(float logit, int id)
    {
        var bits = BitConverter.SingleToUInt32Bits(logit + 0f); // no -0
        var ascending = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return ((ulong)~ascending << 32) | (uint)id;
    }

    private static int IdOf(ulong order) => (int)(uint)order;

    private static int[] Nucleus(int[] sorted, ReadOnlySpan<double> weights, double mass)
    {
        var held = 0.0;
        var count = 0;
        while (count < sorted.Length && (count == 0 || held < mass))
            held += weights[sorted[count++]];
        return sorted[..count];
    }

    private static int Draw(int[] candidates, ReadOnlySpan<double> weights, double uniform)
    {
        var own = new double[candidates.Length];
        for (var i = 0; i < own.Length; i++)
            own[i] = weights[candidates[i]];
        return candidates[Draw(own, 0, uniform)];
    }

    // Where the random number falls among the weights.
    private static int Draw(ReadOnlySpan<double> weights, int best, double uniform)
    {
        var left = uniform * TensorPrimitives.Sum(weights);
        for (var i = 0; i < weights.Length; i++)
        {
            left -= weights[i];
            if (left < 0)
                return i;
        }

        return best; // rounding only: the sum fell short by an ulp
    }
}
