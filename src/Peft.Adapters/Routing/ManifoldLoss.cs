using Peft.Formats;
using Peft.Formats.Configuration;

namespace Peft.Adapters.Routing;

/// <summary>Settings of RoMA (recipe key <c>training.manifold</c>): trained routers are tuned alone, so that texts that
/// mean alike are routed alike.</summary>
public sealed record ManifoldOptions
{
    /// <summary>Weight of the term; 0: none.</summary>
    /// <value>Default 0; from 0. The paper does not report its own.</value>
    [Key(Min = 0)]
    public double Coefficient { get; init; }

    /// <summary>Neighbours of a row among those that are answered correctly.</summary>
    /// <value>Default 3, the paper's; at least 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int Neighbors { get; init; } = 3;

    /// <summary>Width of the Gaussian of distances between embeddings, which have length 1.</summary>
    /// <value>Default 0.5 (inferred: unreported); above 0.</value>
    [Key(Min = 1e-6)]
    public double Sigma { get; init; } = 0.5;

    /// <summary>How many of the last layers' routers are tuned and compared; the others stay.</summary>
    /// <value>Default 5, the paper's; at least 1.</value>
    [Key(Min = 1, Max = 65536)]
    public int Layers { get; init; } = 5;

    /// <summary>Keys of this section that do nothing as things are.</summary>
    public IEnumerable<IneffectiveKey> Ineffective()
    {
        var first = new ManifoldOptions();
        const string Off = "manifold.coefficient: 0";
        return
        [
            .. IneffectiveKey.If(Coefficient == 0, "manifold.neighbors", Neighbors, first.Neighbors, Off),
            .. IneffectiveKey.If(Coefficient == 0, "manifold.sigma", Sigma, first.Sigma, Off),
            .. IneffectiveKey.If(Coefficient == 0, "manifold.layers", Layers, first.Layers, Off),
        ];
    }
}

/// <summary>RoMA's term: routing weights near those of the nearest rows.</summary>
/// <remarks>Source: RoMA, arXiv:2511.07419, eq. 3 and 5 to 7: <c>Σ_j W_ij ‖r_i − r_j‖²</c> over the k nearest rows j by
/// embedding, <c>W_ij = g_ij / Σ_j g_ij</c>, <c>g = exp(−‖E_i − E_j‖² / 2σ²)</c>. The r_j are fixed.</remarks>
public static class ManifoldLoss
{
    private const int RowsAtOnce = 256;

    /// <summary>The nearest of some rows for each row, itself left out, and their weights.</summary>
    /// <remarks>Shapes: embeddings [N, H], among [M] int64 rows of them → [N, K] int64 rows and [N, K] float32, K the
    /// neighbours asked for, where M has so many beside the row itself; weights of a row that has none are 0.</remarks>
    public static (Tensor Rows, Tensor Weights) Neighbors(Tensor embeddings, Tensor among, int k, double sigma)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (count, candidates) = (embeddings.shape[0], embeddings.index_select(0, among));
        var kept = Math.Min(k, (int)among.shape[0]);
        List<Tensor> rows = [], weights = [];
        for (var start = 0L; start < count; start += RowsAtOnce)
        {
            using var part = torch.NewDisposeScope();
            var size = Math.Min(RowsAtOnce, count - start);
            var own = torch.arange(start, start + size, 1, ScalarType.Int64, embeddings.device).unsqueeze(1);
            var rowsHere = embeddings.narrow(0, start, size);
            var squares = (rowsHere.pow(2).sum(-1, keepdim: true) + candidates.pow(2).sum(-1)
                - rowsHere.mm(candidates.t()) * 2).clamp(min: 0)
                .masked_fill(own.eq(among.unsqueeze(0)), double.PositiveInfinity);         // [n, M]
            var (nearest, places) = squares.topk(kept, -1, largest: false);                // [n, K]
            // Of the Gaussians only ratios count: the nearest has 1, so that none of far rows all vanish.
            var apart = nearest - nearest.narrow(1, 0, 1);
            var gaussians = (apart / (-2 * sigma * sigma)).exp().masked_fill(nearest.isinf(), 0);
            rows.Add(among.index_select(0, places.reshape(-1)).reshape(size, kept).MoveToOuterDisposeScope());
            weights.Add((gaussians / gaussians.sum(-1, keepdim: true).clamp(min: 1e-30)).MoveToOuterDisposeScope());
        }
        return (torch.cat(rows, 0).MoveToOuterDisposeScope(), torch.cat(weights, 0).MoveToOuterDisposeScope());
    }

    /// <summary>The term of each row.</summary>
    /// <remarks>Shapes: routing [B, F], that of its neighbours [B, K, F], weights [B, K] → [B]. Gradient: to routing
    /// alone.</remarks>
    public static Tensor PerRow(Tensor routing, Tensor neighbors, Tensor weights) =>
        ((routing.unsqueeze(1) - neighbors.detach()).pow(2).sum(-1) * weights).sum(-1);

    /// <summary>The routing weights of one token of each row in some modules, side by side.</summary>
    /// <remarks>Shapes: records of [B·T, E], token [B] int64 in the flattened B·T → [B, F], F the modules' experts
    /// together. Gradient: to the routers.</remarks>
    public static Tensor RoutingOf(
        IReadOnlyList<RoutingRecord> records, IReadOnlySet<string> modules, Tensor token) => torch.cat(
        [.. records.Where(record => modules.Contains(record.Module)).Select(record =>
            (record.Decision.Probabilities ?? record.Decision.Gates).index_select(0, token))], -1);
}
