namespace Peft.Adapters.Routing;

/// <summary>Which matrices experts have in common, where a method says so.</summary>
public sealed record ExpertSharing
{
    /// <summary>Nothing: every expert of every projection has an A and a B of its own.</summary>
    public static ExpertSharing None { get; } = new();

    /// <summary>In how many neighbouring layers all experts of alike projections have one A together.</summary>
    /// <value>0: each expert has its own; 1: those of one projection share it.</value>
    public int DownLayers { get; init; }

    /// <summary>Whether alike projections of all layers have one set of B together.</summary>
    public bool UpAcrossLayers { get; init; }

    /// <summary>Whether the experts of a projection are R × R matrices between one A and one B.</summary>
    public bool HasCores { get; init; }

    /// <summary>How many neighbouring layers put their experts into a pool that each of their routers chooses
    /// from.</summary>
    /// <value>1: each layer has its own.</value>
    public int PoolLayers { get; init; } = 1;

    /// <summary>Whether the experts of a projection have one A together.</summary>
    public bool HasOneDown => DownLayers > 0;

    /// <summary>Whether a projection has matrices or experts of another.</summary>
    public bool CrossesLayers => DownLayers > 1 || UpAcrossLayers || PoolLayers > 1;
}

/// <summary>Weights by which the matrices of experts are averaged before they meet an input.</summary>
/// <remarks>Shapes: Weights [P, Q, E], Of [N] int64 with values below P. Gradient: through Weights.</remarks>
/// <param name="Weights">P sets of weights, one for each of Q blocks of inputs (of A) and of outputs (of B).</param>
/// <param name="Of">Which set each token has.</param>
public sealed record FactorMix(Tensor Weights, Tensor Of)
{
    /// <summary>The averaged A of each set, stacked.</summary>
    /// <remarks>Shapes: a [E·R, D], its inputs in Q blocks → [P·R, D].</remarks>
    public Tensor Down(Tensor a, int rank)
    {
        var (Q, width) = (Weights.shape[1], a.shape[1]);
        var blocks = a.view(-1, rank, Q, width / Q).permute(2, 0, 1, 3);                       // [Q, E, R, D / Q]
        return Averaged(blocks).permute(1, 2, 0, 3).reshape(-1, width);
    }

    /// <summary>The averaged B of each set, side by side.</summary>
    /// <remarks>Shapes: b [O, E·R], its outputs in Q blocks → [O, P·R].</remarks>
    public Tensor Up(Tensor b, int rank)
    {
        var (Q, height) = (Weights.shape[1], b.shape[0]);
        var blocks = b.view(Q, height / Q, -1, rank).permute(0, 2, 1, 3);                      // [Q, E, O / Q, R]
        return Averaged(blocks).permute(0, 2, 1, 3).reshape(height, -1);
    }

    // [Q, E, .., ..] → [Q, P, .., ..].
    private Tensor Averaged(Tensor blocks)
    {
        var (Q, E, m, n) = (blocks.shape[0], blocks.shape[1], blocks.shape[2], blocks.shape[3]);
        return Weights.permute(1, 0, 2).to(blocks.dtype).bmm(blocks.reshape(Q, E, m * n)).view(Q, -1, m, n);
    }
}
