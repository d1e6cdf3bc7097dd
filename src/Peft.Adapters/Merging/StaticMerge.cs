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
}

/// <summary>A merge that ends in one plain LoRA: fixed weights, no router.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class StaticMerge(string name, string description) : MergeMethod(name, description)
{
    /// <summary>The weight of an adapter in the exact sum that this method stands for, and that its loss is measured against.</summary>
    public virtual double Coefficient(MergeOptions options, int adapter, int adapters)
    {
        ArgumentNullException.ThrowIfNull(options);
        return options.WeightOf(adapter);
    }

    /// <summary>Whether A and B are merged apart, which needs equal ranks.</summary>
    public virtual bool JoinsFactors(MergeOptions options) => options is { Factors: true };

    /// <summary>Whether <see cref="MergeOptions.Factors"/> can be asked for.</summary>
    public virtual bool KnowsFactors => false;

    /// <summary>Rank of the result in a module.</summary>
    public abstract int RankOf(MergeSizes sizes, MergeOptions options);

    /// <summary>Merges one module.</summary>
    /// <remarks>Shapes: → A [R, D], B [O, R] float32 with R as <see cref="RankOf"/> says and scale 1. Gradient: none.</remarks>
    public abstract LowRankUpdate Merge(MergeInputs inputs, MergeOptions options);
}

/// <summary>An exact weighted sum, cut down to a rank only where one is asked for.</summary>
/// <param name="name">Its name.</param>
/// <param name="description">One line for help texts.</param>
public abstract class SumMerge(string name, string description) : StaticMerge(name, description)
{
    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(sizes);
        ArgumentNullException.ThrowIfNull(options);
        return Cut(sizes, options) is { } rank && rank < sizes.Sum ? rank : sizes.Sum;
    }

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        var sum = inputs.Sum(input => Coefficient(options, input.Adapter, inputs.Adapters));
        var sizes = new MergeSizes(inputs.Out, inputs.In, [.. inputs.Present.Select(input => (int)input.Down.shape[0])]);
        var rank = RankOf(sizes, options);
        return rank < sizes.Sum ? LowRank.Truncate(sum, rank) : sum;
    }

    /// <summary>The rank to cut down to; null: none.</summary>
    protected virtual int? Cut(MergeSizes sizes, MergeOptions options) =>
        options is { Rank: { } rank } && sizes is not null ? sizes.AtMost(rank) : null;
}
