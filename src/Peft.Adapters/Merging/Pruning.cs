namespace Peft.Adapters.Merging;

/// <summary>What the element-wise merges have in common: trimming, dropping, electing signs.</summary>
public static class Pruning
{
    /// <summary>Of each matrix its largest entries, ⌊density · entries⌋ of them; of equal ones the first.</summary>
    /// <remarks>Source: TIES, arXiv:2306.01708, step 1; PEFT's <c>magnitude_based_pruning</c>.</remarks>
    public static Pruned Trimmed(IReadOnlyList<TaskMatrix> tasks, double density) =>
        new(Fused.keep_largest([.. tasks.Select(task => task.Values)], density), 1);

    /// <summary>Of each matrix every entry with probability density, divided by it.</summary>
    /// <remarks>Source: DARE, arXiv:2311.03099. One stream a seed, module and adapter: another adapter changes no
    /// draw.</remarks>
    public static Pruned Dropped(IReadOnlyList<TaskMatrix> tasks, double density, long seed)
    {
        List<Generator> generators = [
            .. tasks.Select(task => Seeds.GeneratorFor(seed, $"dare.{task.Stream}"))];
        try
        {
            var (rows, columns) = (tasks[0].Values.Rows, tasks[0].Values.Columns);
            return new Pruned(Fused.keep_random(generators, rows, columns, density), density);
        }
        finally
        {
            generators.ForEach(generator => generator.Dispose());
        }
    }

    /// <summary>The weighted sum of matrices, or of what is left of them.</summary>
    /// <remarks>Shapes: as the matrices.</remarks>
    public static Tensor WeightedSum(IReadOnlyList<TaskMatrix> tasks, Pruned? left = null) => Fused.kept_sum(
        [.. tasks.Select(task => task.Values)], left?.Marks, [.. tasks.Select(task => task.Weight)],
        left?.Divisor ?? 1);

    /// <summary>Elects signs, and averages over the matrices that agree with them.</summary>
    /// <remarks>Source: TIES, steps 2 and 3; PEFT's <c>disjoint_merge</c>. Shapes: as the matrices.</remarks>
    public static Tensor SignedMean(IReadOnlyList<TaskMatrix> tasks, Pruned left) => Fused.signed_mean(
        [.. tasks.Select(task => task.Values)], left.Marks, [.. tasks.Select(task => task.Weight)], left.Divisor);
}

/// <summary>What is left of matrices.</summary>
/// <param name="Marks">The entries that are, as <see cref="Fused.kept_sum"/> takes them.</param>
/// <param name="Divisor">What they are divided by, so that the mean stays.</param>
public sealed record Pruned(Tensor Marks, double Divisor);
