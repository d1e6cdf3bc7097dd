namespace Peft.Adapters.Merging;

/// <summary>What the element-wise merges have in common: trimming, dropping, electing signs. Pure functions of tensors.</summary>
public static class Pruning
{
    private const int Low = 16;            // bits of a float told apart in the second pass
    private const int Bins = 1 << 16;

    /// <summary>The magnitude from which on entries are kept: that of the k-th largest, k = ⌊density · entries⌋.</summary>
    /// <remarks>Source: TIES, arXiv:2306.01708; PEFT's <c>magnitude_based_pruning</c>. Infinity where nothing is kept.</remarks>
    public static double Threshold(Tensor values, double density)
    {
        ArgumentNullException.ThrowIfNull(values);
        var count = (long)Math.Floor(density * values.numel());
        if (count == 0)
            return double.PositiveInfinity;
        // Magnitudes of floats are ordered as their bits are: two counts of 16 bits each find the k-th without sorting.
        ReadOnlySpan<float> all = values.to(torch.float32).contiguous().data<float>();
        var (high, above) = Bin(all, count, value => value >> Low, _ => true);
        var (low, _) = Bin(all, count - above, value => value & (Bins - 1), value => value >> Low == high);
        return BitConverter.Int32BitsToSingle((high << Low) | low);
    }

    /// <summary>The tensor with only its largest entries, ⌊density · entries⌋ of them; of equal ones the first are kept.</summary>
    public static Tensor Trim(Tensor values, double density)
    {
        ArgumentNullException.ThrowIfNull(values);
        var threshold = Threshold(values, density);
        var magnitudes = values.abs();
        var above = magnitudes.gt(threshold).to(torch.float32);
        var equal = magnitudes.eq(threshold).to(torch.float32);
        var missing = Math.Floor(density * values.numel()) - above.sum(torch.float64).ToDouble();
        if (equal.sum(torch.float64).ToDouble() > missing)
            equal = equal * equal.reshape(-1).cumsum(0, torch.float64).le(missing).to(torch.float32).reshape(values.shape);
        return values * (above + equal);
    }

    /// <summary>The same of a task's tensor.</summary>
    public static Tensor Trim(TaskTensor task, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(options);
        return Trim(task.Make(), options.Density);
    }

    /// <summary>The tensor with each entry kept with probability density, and divided by it.</summary>
    /// <remarks>Source: DARE, arXiv:2311.03099. One stream a seed, module and adapter: another adapter changes no draw.</remarks>
    public static Tensor Drop(TaskTensor task, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(task);
        ArgumentNullException.ThrowIfNull(options);
        var values = task.Make();
        using var random = torch.GeneratorFor(options.Seed, $"dare.{task.Stream}");
        var mask = torch.rand(values.shape, torch.float32, generator: random).lt(options.Density);
        return Rescale(values, mask.to(values.dtype), options.Density);
    }

    /// <summary>What a mask leaves, divided by its density.</summary>
    public static Tensor Rescale(Tensor values, Tensor mask, double density)
    {
        ArgumentNullException.ThrowIfNull(values);
        return values * mask / density;
    }

    /// <summary>The sign of each entry of a sum, zero counted as positive.</summary>
    /// <remarks>Source: TIES, step 2, by total mass.</remarks>
    public static Tensor ElectedSign(Tensor sum)
    {
        ArgumentNullException.ThrowIfNull(sum);
        return sum.ge(0).to(sum.dtype) * 2 - 1;
    }

    /// <summary>The weighted sum of tensors.</summary>
    public static Tensor WeightedSum(IReadOnlyList<TaskTensor> tasks, Func<TaskTensor, Tensor> prepare)
    {
        ArgumentNullException.ThrowIfNull(tasks);
        return Accumulate(tasks, task => prepare(task) * task.Weight);
    }

    /// <summary>Elects signs, and averages over the tensors that agree with them.</summary>
    /// <remarks>
    /// Source: TIES, steps 2 and 3; PEFT's <c>disjoint_merge</c>: the divisor counts tensors, not weights, and is at least 1.
    /// Each tensor is made twice, so that they never exist together.
    /// </remarks>
    public static Tensor SignedMean(IReadOnlyList<TaskTensor> tasks, Func<TaskTensor, Tensor> prepare)
    {
        ArgumentNullException.ThrowIfNull(tasks);
        ArgumentNullException.ThrowIfNull(prepare);
        var sign = ElectedSign(Accumulate(tasks, prepare));
        var count = torch.zeros_like(sign);
        var sum = Accumulate(tasks, task =>
        {
            var values = prepare(task);
            var agrees = (values * sign).gt(0).to(values.dtype);
            count.add_(agrees);
            return values * agrees * task.Weight;
        });
        return sum / count.clamp(min: 1);
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

    // Counts the values of a key from the largest down, until k are reached: that key, and how many lie above it.
    private static (int Key, long Above) Bin(ReadOnlySpan<float> values, long k, Func<int, int> keyOf, Func<int, bool> counts)
    {
        var bins = new long[Bins];
        foreach (var value in values)
        {
            var bits = BitConverter.SingleToInt32Bits(value) & int.MaxValue;
            if (counts(bits))
                bins[keyOf(bits)]++;
        }
        var above = 0L;
        for (var key = Bins - 1; ; key--)
        {
            if (above + bins[key] >= k)
                return (key, above);
            above += bins[key];
        }
    }
}
