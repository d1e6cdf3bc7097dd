namespace Peft.Adapters.Merging;

/// <summary>λ times the weighted sum of the updates.</summary>
/// <remarks>Source: task arithmetic, arXiv:2212.04089: <c>θ = θ₀ + λ Σ w_i τ_i</c>.</remarks>
public sealed class TaskArithmeticMerge() : SumMerge("task-arithmetic", "lambda times the weighted sum of the updates")
{
    /// <inheritdoc/>
    public override double Coefficient(MergeOptions options, int adapter, int adapters)
    {
        ArgumentNullException.ThrowIfNull(options);
        return options.Lambda * options.WeightOf(adapter);
    }
}
