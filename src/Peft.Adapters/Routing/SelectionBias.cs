namespace Peft.Adapters.Routing;

/// <summary>A bias on the scores that choose experts, moved against their load after every step; it never weighs an output.</summary>
/// <remarks>
/// Source: loss-free balancing, arXiv:2408.15664, algorithm 1; FlyLoRA, arXiv:2510.08396: <c>b_i ← b_i + u · sign(mean(c) − c_i)</c>,
/// c the tokens each expert got in the whole step.
/// Shapes: [E]. Gradient: none; the bias is a buffer of the bundle, unknown to the optimizer.
/// </remarks>
public static class SelectionBias
{
    /// <summary>Name of the buffer.</summary>
    public const string Name = "selection_bias";

    /// <summary>Moves the bias by one step.</summary>
    /// <remarks>Shapes: bias and counts [E].</remarks>
    public static void Update(Tensor bias, Tensor counts, double rate)
    {
        ArgumentNullException.ThrowIfNull(bias);
        ArgumentNullException.ThrowIfNull(counts);
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var load = counts.to(torch.float32);
        bias.add_((load.mean() - load).sign() * rate);
    }
}

/// <summary>A router with a <see cref="SelectionBias"/>.</summary>
public interface ILoadBalanced
{
    /// <summary>Takes in how many real tokens of a step each expert got.</summary>
    /// <remarks>Shapes: counts [E] float32.</remarks>
    void Balance(Tensor counts);
}
