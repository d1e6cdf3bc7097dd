namespace Peft.Adapters.Merging;

/// <summary>One way of merging that recipes of models know by name.</summary>
/// <param name="name">Its name on the command line and in bundles.</param>
/// <param name="description">One line for help texts.</param>
public abstract class MergeMethod(string name, string description)
{
    /// <summary>Its name.</summary>
    public string Name { get; } = name;

    /// <summary>One line for help texts.</summary>
    public string Description { get; } = description;

    /// <summary>The options that it uses, as the command line names them; with others it would do the same without
    /// them.</summary>
    public abstract IReadOnlyList<string> Uses(MergeOptions options);

    /// <summary>The share of entries that it keeps unless <see cref="MergeOptions.Density"/> says otherwise.</summary>
    public virtual double FirstDensity => 0.5;

    /// <summary>The share of entries that it keeps.</summary>
    public double DensityOf(MergeOptions options) => options is { Density: { } given } ? given : FirstDensity;
}

/// <summary>A merge that ends in one plain LoRA: fixed weights, no router.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class StaticMerge(string name, string description) : MergeMethod(name, description)
{
    /// <summary>The weight of an adapter in the exact sum that this method stands for, and that its loss is measured
    /// against.</summary>
    public virtual double Coefficient(MergeOptions options, int adapter, int adapters) =>
        (OwnOptions.Contains(MergeOptions.LambdaName) ? options.Lambda : 1) * options.WeightOf(adapter);

    /// <summary>Whether A and B are merged apart, which needs equal ranks.</summary>
    public virtual bool JoinsFactors(MergeOptions options) => options is { Factors: true };

    /// <summary>Whether <see cref="MergeOptions.Factors"/> can be asked for.</summary>
    public virtual bool KnowsFactors => false;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Uses(MergeOptions options) =>
    [
        MergeOptions.WeightsName,
        .. KnowsFactors ? [MergeOptions.FactorsName] : Array.Empty<string>(),
        .. CutsRank && !JoinsFactors(options) ? [MergeOptions.RankName] : Array.Empty<string>(),
        .. SearchesWeights && options is { Weights.Count: 0 }
            ? [MergeOptions.SeedName, MergeOptions.ExamplesName, MergeOptions.StepsName] : Array.Empty<string>(),
        .. OwnOptions,
    ];

    /// <summary>Whether its weights are searched on examples where none are given.</summary>
    public virtual bool SearchesWeights => false;

    /// <summary>Whether the result can be cut down to a rank.</summary>
    public virtual bool CutsRank => true;

    /// <summary>Options of this method beside weights, factors and rank.</summary>
    protected virtual IReadOnlyList<string> OwnOptions => [];

    /// <summary>Rank of the result in a module.</summary>
    public abstract int RankOf(MergeSizes sizes, MergeOptions options);

    /// <summary>The method with what it must know of all modules together; itself where each stands alone.</summary>
    /// <param name="modules">Goes through the modules each time it is called; their tensors last for one step of
    /// it.</param>
    /// <param name="options">The settings.</param>
    public virtual StaticMerge Prepared(Func<IEnumerable<MergeInputs>> modules, MergeOptions options) => this;

    /// <summary>Merges one module.</summary>
    /// <remarks>Shapes: → A [R, D], B [O, R] float32 with R as <see cref="RankOf"/> says and scale 1. Gradient:
    /// none.</remarks>
    public abstract LowRankUpdate Merge(MergeInputs inputs, MergeOptions options);
}

/// <summary>An exact weighted sum, cut down to a rank only where one is asked for.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class SumMerge(string name, string description) : StaticMerge(name, description)
{
    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) =>
        Cut(sizes, options) is { } rank && rank < sizes.Sum ? rank : sizes.Sum;

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        var sum = inputs.Sum(input => Coefficient(options, input.Adapter, inputs.Adapters));
        var rank = RankOf(inputs.Sizes, options);
        return rank < inputs.Sizes.Sum ? LowRank.Truncate(sum, rank) : sum;
    }

    /// <summary>The rank to cut down to; null: none.</summary>
    protected virtual int? Cut(MergeSizes sizes, MergeOptions options) =>
        options is { Rank: { } rank } && sizes is not null ? sizes.AtMost(rank) : null;
}

/// <summary>What one adapter brings to one module.</summary>
/// <param name="Adapter">Its place among the adapters.</param>
/// <param name="Name">Its name; also names its stream of random numbers.</param>
/// <param name="Weight">Its weight in the merge.</param>
/// <param name="Scale">Its own scale: alpha / r or what its method says.</param>
/// <param name="Down">A, [R, D] float32.</param>
/// <param name="Up">B, [O, R] float32.</param>
public sealed record MergeInput(int Adapter, string Name, double Weight, double Scale, Tensor Down, Tensor Up);

/// <summary>One module of a merge: the inputs of the adapters that adapt it. An adapter that does not counts as
/// zero.</summary>
/// <param name="Path">The module's path.</param>
/// <param name="Out">Output width.</param>
/// <param name="In">Input width.</param>
/// <param name="Adapters">How many adapters the merge has in all.</param>
/// <param name="Present">The adapters that adapt this module, in order.</param>
public sealed record MergeInputs(string Path, long Out, long In, int Adapters, IReadOnlyList<MergeInput> Present)
{
    /// <summary>The exact weighted sum Σ c_i s_i B_i A_i as one product: A stacked with its coefficient, B side by
    /// side.</summary>
    /// <remarks>Source: PEFT's <c>cat</c>. Shapes: A [Σ R, D], B [O, Σ R].</remarks>
    public LowRankUpdate Sum(Func<MergeInput, double> coefficient) =>
        new LowRankUpdate(
            torch.cat([.. Present.Select(input => input.Down * (coefficient(input) * input.Scale))], 0),
            torch.cat([.. Present.Select(input => input.Up)], 1));

    /// <summary>The factors in float64, scale and weight of each adapter in its B.</summary>
    /// <remarks>Shapes: A [R, D] and B [O, R] an adapter.</remarks>
    public (List<Tensor> Downs, List<Tensor> Ups) InFloat64() => (
        [.. Present.Select(input => input.Down.to(torch.float64))],
        [.. Present.Select(input => input.Up.to(torch.float64) * (input.Weight * input.Scale))]);

    /// <summary>The sizes that the module's merge begins with.</summary>
    public MergeSizes Sizes => new(Out, In, [.. Present.Select(input => (int)input.Down.shape[0])]);
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

/// <summary>One matrix of an element-wise merge.</summary>
/// <param name="Stream">Names its random numbers.</param>
/// <param name="Weight">Its weight.</param>
/// <param name="Values">Its entries; those of an update never exist as a whole.</param>
public sealed record TaskMatrix(string Stream, double Weight, LazyMatrix Values);

/// <summary>A merge that goes entry by entry: over the updates B A, or over A and B apart.</summary>
/// <remarks>
/// Source: huggingface/peft, merge_utils.py. Over the updates (PEFT's names with <c>_svd</c>) adapters may differ in
/// rank, and the result is cut down to a rank; over the factors (PEFT's names without) each factor has the weight √|w
/// s|, and its sign on B.
/// </remarks>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class ElementwiseMerge(string name, string description) : StaticMerge(name, description)
{
    /// <inheritdoc/>
    public override bool KnowsFactors => true;

    /// <summary>Combines matrices of one shape.</summary>
    /// <remarks>Shapes: as the matrices. Gradient: none.</remarks>
    public abstract Tensor Combine(IReadOnlyList<TaskMatrix> tasks, MergeOptions options);

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) =>
        JoinsFactors(options) ? sizes.Ranks[0] : sizes.AtMost(options.Rank ?? sizes.Sum);

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        if (JoinsFactors(options))
            return new LowRankUpdate(
                Combine([
                    .. inputs.Present.Select(
                        input =>
                            Factor(inputs, input, "A", Math.Sqrt(Math.Abs(input.Weight * input.Scale)), input.Down))],
                            options),
                Combine([.. inputs.Present.Select(input => Factor(
                    inputs, input, "B", Math.Sign(input.Weight * input.Scale) * Math.Sqrt(
                        Math.Abs(input.Weight * input.Scale)), input.Up))], options));
        var dense = Dense(inputs, options);
        return LowRank.Truncate(dense, RankOf(inputs.Sizes, options));
    }

    // What helps to make it is gone before it is cut down to a rank.
    private Tensor Dense(MergeInputs inputs, MergeOptions options)
    {
        using var scope = torch.NewDisposeScope();
        return Combine(
            [.. inputs.Present.Select(
                input => new TaskMatrix(
                    $"{inputs.Path}.{input.Name}", input.Weight,
                    new LazyMatrix(input.Up, input.Down, input.Scale)))], options).MoveToOuterDisposeScope();
    }

    private static TaskMatrix Factor(
        MergeInputs inputs, MergeInput input, string factor, double weight, Tensor values) =>
        new($"{inputs.Path}.{input.Name}.{factor}", weight, new LazyMatrix(values));
}
