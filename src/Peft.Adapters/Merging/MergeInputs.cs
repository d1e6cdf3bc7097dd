namespace Peft.Adapters.Merging;

/// <summary>What one adapter brings to one module.</summary>
/// <param name="Adapter">Its place among the adapters.</param>
/// <param name="Name">Its name; also names its stream of random numbers.</param>
/// <param name="Weight">Its weight in the merge.</param>
/// <param name="Scale">Its own scale: alpha / r or what its method says.</param>
/// <param name="Down">A, [R, D] float32.</param>
/// <param name="Up">B, [O, R] float32.</param>
public sealed record MergeInput(int Adapter, string Name, double Weight, double Scale, Tensor Down, Tensor Up)
{
    /// <summary>Its update, scale included.</summary>
    /// <remarks>Shapes: [O, D].</remarks>
    public Tensor Update() => Up.mm(Down).mul_(Scale);
}

/// <summary>One module of a merge: the inputs of the adapters that adapt it. An adapter that does not counts as zero.</summary>
/// <param name="Path">The module's path.</param>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Adapters">How many adapters the merge has in all.</param>
/// <param name="Present">The adapters that adapt this module, in order.</param>
public sealed record MergeInputs(string Path, long Out, long In, int Adapters, IReadOnlyList<MergeInput> Present)
{
    /// <summary>The exact weighted sum Σ c_i s_i B_i A_i as one product: A stacked with its coefficient, B side by side.</summary>
    /// <remarks>Source: PEFT's <c>cat</c>. Shapes: A [Σ R, D], B [O, Σ R].</remarks>
    public LowRankUpdate Sum(Func<MergeInput, double> coefficient)
    {
        ArgumentNullException.ThrowIfNull(coefficient);
        return new LowRankUpdate(
            torch.cat([.. Present.Select(input => input.Down * (coefficient(input) * input.Scale))], 0),
            torch.cat([.. Present.Select(input => input.Up)], 1));
    }
}

/// <summary>The ranks that a module's merge begins with.</summary>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Ranks">The rank of each adapter that is there.</param>
public sealed record MergeSizes(long Out, long In, IReadOnlyList<int> Ranks)
{
    /// <summary>The sum of the ranks.</summary>
    public int Sum => Ranks.Sum();

    /// <summary>The largest rank that the module's product can have, up to a bound.</summary>
    public int AtMost(int rank) => (int)Math.Min(rank, Math.Min(Out, In));
}
