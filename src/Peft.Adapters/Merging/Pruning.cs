using System.Runtime.InteropServices;

namespace Peft.Adapters.Merging;

/// <summary>What the element-wise merges have in common: trimming, dropping, electing signs. Pure functions of
/// tensors.</summary>
public static class Pruning
{
    private const int Low = 16;            // bits of a float told apart in the second pass
    private const int Bins = 1 << 16;

    /// <summary>The magnitude from which on entries are kept: that of the k-th largest, k = ⌊density ·
    /// entries⌋.</summary>
    /// <remarks>Source: TIES, arXiv:2306.01708; PEFT's <c>magnitude_based_pruning</c>. Infinity where nothing is
    /// kept.</remarks>
    public static double Threshold(Tensor values, double density) => Find(values, density).Threshold;

    /// <summary>The tensor with only its largest entries, ⌊density · entries⌋ of them; of equal ones the first are
    /// kept.</summary>
    public static Tensor Trim(Tensor values, double density)
    {
        var (threshold, equal, wanted) = Find(values, density);
        var magnitudes = values.abs();
        if (equal == wanted)
            return values * magnitudes.ge(threshold);
        var ties = magnitudes.eq(threshold);
        var first = ties.reshape(-1).cumsum(0, torch.float64).le(wanted).reshape(values.shape);
        return values * magnitudes.gt(threshold).logical_or(ties.logical_and(first));
    }

    /// <summary>The same of a task's tensor.</summary>
    public static Tensor Trim(TaskTensor task, MergeOptions options) => Trim(task.Make(), options.Density);

    /// <summary>The tensor with each entry kept with probability density, and divided by it.</summary>
    /// <remarks>Source: DARE, arXiv:2311.03099. One stream a seed, module and adapter: another adapter changes no
    /// draw.</remarks>
    public static Tensor Drop(TaskTensor task, MergeOptions options)
    {
        var values = task.Make();
        using var random = Seeds.GeneratorFor(options.Seed, $"dare.{task.Stream}");
        var mask = torch.rand(values.shape, torch.float32, generator: random).lt(options.Density);
        return Rescale(values, mask.to(values.dtype), options.Density);
    }

    /// <summary>What a mask leaves, divided by its density.</summary>
    public static Tensor Rescale(Tensor values, Tensor mask, double density) => values * mask / density;

    /// <summary>The sign of each entry of a sum, zero counted as positive.</summary>
    /// <remarks>Source: TIES, step 2, by total mass.</remarks>
    public static Tensor ElectedSign(Tensor sum) => sum.ge(0).to(sum.dtype) * 2 - 1;

    /// <summary>The weighted sum of tensors.</summary>
    public static Tensor WeightedSum(IReadOnlyList<TaskTensor> tasks, Func<TaskTensor, Tensor> prepare) =>
        Accumulate(tasks, task => prepare(task) * task.Weight);

    /// <summary>Elects signs, and averages over the tensors that agree with them.</summary>
    /// <remarks>
    /// Source: TIES, steps 2 and 3; PEFT's <c>disjoint_merge</c>: the divisor counts tensors, not weights, and is at
    /// least 1. Both means of an entry, of its positive and of its negative values, are carried along until the sign is
    /// known: so each tensor is made once, and they never exist together.
    /// </remarks>
    public static Tensor SignedMean(IReadOnlyList<TaskTensor> tasks, Func<TaskTensor, Tensor> prepare)
    {
        var (above, below) = (new SideMean(), new SideMean());
        var sum = Accumulate(tasks, task =>
        {
            var values = prepare(task);
            above.Add(values.clamp(min: 0), task.Weight);
            below.Add(values.clamp(max: 0), task.Weight);
            return values;
        });
        return torch.where(ElectedSign(sum).gt(0), above.Mean(), below.Mean());
    }

    private static Tensor Accumulate(IReadOnlyList<TaskTensor> tasks, Func<TaskTensor, Tensor> make)
    {
        Tensor? sum = null;
        foreach (var task in tasks)
        {
            using var scope = torch.NewDisposeScope();
            var values = make(task);
            sum = sum is null ? values.clone().MoveToOuterDisposeScope() : sum.add_(values);
        }
        return sum ?? throw new ArgumentException("nothing to merge", nameof(tasks));
    }

    // The magnitude of the k-th largest entry, how many entries have it, and how many of these are among the k.
    private static (double Threshold, long Equal, long Wanted) Find(Tensor values, double density)
    {
        var k = (long)Math.Floor(density * values.numel());
        if (k == 0)
            return (double.PositiveInfinity, 0, 0);
        // Magnitudes of floats are ordered as their bits are: two counts of 16 bits each find the k-th without sorting.
        ReadOnlySpan<float> all = values.to(torch.float32).contiguous().data<float>().ToArray();
        var bits = MemoryMarshal.Cast<float, int>(all);
        var bins = new long[Bins];
        foreach (var value in bits)
            bins[(value & int.MaxValue) >> Low]++;
        var (high, missing) = FromAbove(bins, k);
        Array.Clear(bins);
        foreach (var value in bits)
        {
            if ((value & int.MaxValue) >> Low == high)
                bins[value & (Bins - 1)]++;
        }
        var (low, wanted) = FromAbove(bins, missing);
        return (BitConverter.Int32BitsToSingle((high << Low) | low), bins[low], wanted);
    }

    // The bin in which the k-th largest lies, and how many of the k are in it.
    private static (int Bin, long Inside) FromAbove(long[] bins, long k)
    {
        for (var bin = Bins - 1; ; bin--)
        {
            if (bins[bin] >= k)
                return (bin, k);
            k -= bins[bin];
        }
    }

    // The weighted mean of the values on one side of zero, over the tensors that have one there.
    private sealed class SideMean
    {
        private Tensor? _sum;
        private Tensor? _count;

        public void Add(Tensor values, double weight)
        {
            _sum ??= torch.zeros_like(values).MoveToOuterDisposeScope();
            _count ??= torch.zeros_like(values).MoveToOuterDisposeScope();
            _sum.add_(values, weight);
            _count.add_(values.ne(0));
        }

        public Tensor Mean() => _sum! / _count!.clamp(min: 1);
    }
}
