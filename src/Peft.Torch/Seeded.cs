namespace Peft.Torch;

/// <summary>What the library draws from its one global generator only, drawn from a given one.</summary>
public static class Seeded
{
    /// <summary>Kaiming uniform (He et al. 2015, arXiv:1502.01852, eq. 10) over the fan in, for a leaky ReLU of slope a.</summary>
    /// <remarks>Shapes: [out, in]; values in U(-b, b) with b = sqrt(6 / ((1 + a^2) in)).</remarks>
    public static Tensor kaiming_uniform_(Tensor matrix, double a, Generator generator)
    {
        if (matrix.ndim != 2)
            throw new ArgumentException($"a matrix is expected, the shape is [{string.Join(", ", matrix.shape)}]", nameof(matrix));
        var bound = Math.Sqrt(6.0 / ((1 + (a * a)) * matrix.shape[1]));
        using var outside = torch.no_grad();
        return matrix.uniform_(-bound, bound, generator);
    }

    /// <summary>Normally distributed values.</summary>
    public static Tensor normal_(Tensor tensor, double mean, double std, Generator generator)
    {
        using var outside = torch.no_grad();
        return tensor.normal_(mean, std, generator);
    }

    /// <summary>Zeroes each value with probability p and scales the others by 1 / (1 - p). Gradient: to x.</summary>
    public static Tensor dropout(Tensor x, double p, Generator generator)
    {
        if (p is 0 or 1)
            return p == 0 ? x.alias() : torch.zeros_like(x);
        using var scope = torch.NewDisposeScope();
        Tensor kept;
        using (torch.no_grad())
            kept = torch.empty_like(x).bernoulli_(1 - p, generator).div_(1 - p);
        return (x * kept).MoveToOuterDisposeScope();
    }
}
