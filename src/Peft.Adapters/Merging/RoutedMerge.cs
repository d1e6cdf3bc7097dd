using Peft.Adapters.Bundles;
using Peft.Adapters.Routing;

namespace Peft.Adapters.Merging;

/// <summary>A merge that keeps every adapter as an expert and routes tokens among them.</summary>
/// <param name="name">Its name; also the kind of its router.</param>
/// <param name="description">One line for help texts.</param>
public abstract class RoutedMerge(string name, string description) : MergeMethod(name, description)
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Uses(MergeOptions options) =>
        [MergeOptions.TopKName, MergeOptions.TemperatureName];

    /// <summary>The trained vectors it needs (<see cref="GateVectors"/>); null: none.</summary>
    public virtual string? VectorKind => null;

    /// <summary>The router of the result.</summary>
    public abstract RouterOptions Router(MergeOptions options, int topK);

    /// <summary>The vector that an adapter is chosen by in a module, or that tells most of how.</summary>
    /// <remarks>Shapes: [D] float32.</remarks>
    /// <param name="input">The adapter in this module.</param>
    /// <param name="trained">Its vector of <see cref="VectorKind"/>; null where that is null.</param>
    public abstract Tensor VectorOf(MergeInput input, Tensor? trained);

    /// <summary>Whether it goes by what <c>peft gate --describe</c> says of each adapter's task.</summary>
    public virtual bool GoesByTask => false;

    /// <summary>Whether the vectors can be trained further.</summary>
    public virtual bool LearnsVectors => true;

    /// <summary>Name of the router's tensor that holds a block for each adapter, one below the other.</summary>
    public virtual string TensorName => PrototypeRouter.VectorsName;

    /// <summary>The block's size where experts have a rank and an input width.</summary>
    public virtual (long Rows, long Columns) BlockShape(long rank, long width) => (1, width);

    /// <summary>What the router's tensor holds of an adapter.</summary>
    /// <remarks>Shapes: at most as <see cref="BlockShape"/> says; the rest stays zero.</remarks>
    /// <param name="input">The adapter in this module.</param>
    /// <param name="vector">Its vector.</param>
    /// <param name="options">The settings.</param>
    public virtual Tensor BlockOf(MergeInput input, Tensor vector, MergeOptions options) => vector.unsqueeze(0);
}

/// <summary>Routes by the gates that were trained on each adapter by itself.</summary>
/// <remarks>Source: PHATGOOSE, arXiv:2402.05859.</remarks>
public sealed class PhatgooseMerge()
    : RoutedMerge("phatgoose", "routed: the gate that peft gate trained for each adapter (PHATGOOSE)")
{
    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.Gate;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new PhatgooseRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}

/// <summary>Routes by the trained gates and by how near a prompt is to the description of an adapter's task.</summary>
/// <remarks>Source: GLIDER, arXiv:2410.07172.</remarks>
public sealed class GliderMerge()
    : RoutedMerge("glider", "routed: phatgoose's gates and the tasks that peft gate --describe describes (GLIDER)")
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Uses(MergeOptions options) =>
        [.. base.Uses(options), MergeOptions.AlphaName, MergeOptions.QueryName];

    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.Gate;

    /// <inheritdoc/>
    public override bool GoesByTask => true;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) => options is null
        ? new GliderRouterOptions { TopK = topK }
        : new GliderRouterOptions
        {
            TopK = topK, Temperature = options.Temperature, Alpha = options.Alpha, EmbeddingSize = options.Query.Count,
            Query = options.Query.Count == 0 ? GliderRouterOptions.Prompt : GliderRouterOptions.Given,
        };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}

/// <summary>Routes by the direction in which each update acts most.</summary>
/// <remarks>Source: Arrow, arXiv:2405.11157; by an exact SVD of the factors, where PEFT takes 15 power
/// iterations.</remarks>
public sealed class ArrowMerge()
    : RoutedMerge("arrow", "routed: the first right singular vector of each update (Arrow); no data needed")
{
    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new ArrowRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => Prototype(input);

    /// <summary>The first right singular vector of B A; its largest entry is positive. Zeros for an update of
    /// zero.</summary>
    /// <remarks>Shapes: [D], of length 1.</remarks>
    public static Tensor Prototype(MergeInput input)
    {
        // The scale changes no direction; with it the numbers are those that the merge itself stores, to the last bit.
        var (_, s, vh) = LowRank.Svd(new LowRankUpdate(input.Down, input.Up * input.Scale));
        var first = vh.select(0, 0);
        if (s.select(0, 0).ToDouble() == 0)
            return torch.zeros([input.Down.shape[1]], torch.float32);
        var largest = first.index_select(0, first.abs().argmax(0).reshape(1));
        return (first * largest.sign()).to(torch.float32);
    }
}

/// <summary>Routes by the mean input that each adapter's data gives a module.</summary>
/// <remarks>Source: PHATGOOSE's baseline, arXiv:2402.05859, section 4.</remarks>
public sealed class AverageActivationMerge()
    : RoutedMerge("average-activation", "routed: the mean input of each adapter's data (measured by peft gate)")
{
    /// <inheritdoc/>
    public override string? VectorKind => GateVectors.MeanInput;

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new AverageActivationRouterOptions { TopK = topK, Temperature = options is null ? 1 : options.Temperature };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => trained!;
}

/// <summary>Routes by how much each update changes a token: SpectR's score, from the small factors alone.</summary>
/// <remarks>
/// Source: SpectR, arXiv:2504.03454. Of <c>B A = U S Vᵀ</c> the paper keeps <c>A* = S Vᵀ</c> and scores
/// <c>‖A* x‖ = ‖B A x‖</c>; its released code scores <c>2 ‖Vᵀ x‖</c> and mixes A and B apart, which adds cross terms
/// that hang on the signs of the decomposition. Here updates are mixed whole, so that ranks may differ.
/// </remarks>
public sealed class SpectrMerge()
    : RoutedMerge("spectr", "routed: how much each update changes the token (SpectR); no data needed")
{
    private const double Tolerance = 1e-5;

    /// <inheritdoc/>
    public override IReadOnlyList<string> Uses(MergeOptions options) =>
        [MergeOptions.TopKName, MergeOptions.ScoreName];

    /// <inheritdoc/>
    public override bool LearnsVectors => false;

    /// <inheritdoc/>
    public override string TensorName => SpectrRouter.FactorsName;

    /// <inheritdoc/>
    public override (long Rows, long Columns) BlockShape(long rank, long width) => (rank, rank);

    /// <inheritdoc/>
    public override RouterOptions Router(MergeOptions options, int topK) =>
        new SpectrRouterOptions { TopK = topK, Score = options is null ? SpectrRouterOptions.Update : options.Score };

    /// <inheritdoc/>
    public override Tensor VectorOf(MergeInput input, Tensor? trained) => ArrowMerge.Prototype(input);

    /// <inheritdoc/>
    public override Tensor BlockOf(MergeInput input, Tensor vector, MergeOptions options) =>
        FactorOf(input, options is null ? SpectrRouterOptions.Update : options.Score);

    /// <summary>A small P with <c>‖P A x‖</c> the score of a token: R of s B = Q R where updates are compared, 2 Vᵀ A⁺
    /// where directions are.</summary>
    /// <remarks>Shapes: → [K, R] float32, K ≤ R.</remarks>
    public static Tensor FactorOf(MergeInput input, string score)
    {
        using var scope = torch.NewDisposeScope();
        var up = input.Up * input.Scale;
        if (score == SpectrRouterOptions.Update)
            return torch.linalg.qr(up.to(torch.float64)).R.to(torch.float32).MoveToOuterDisposeScope();
        var (_, s, vh) = LowRank.Svd(new LowRankUpdate(input.Down, up));
        var kept = LowRank.RankOf(s, Tolerance);
        return (vh.narrow(0, 0, kept).mm(torch.linalg.pinv(input.Down.to(torch.float64))) * 2)
            .to(torch.float32).MoveToOuterDisposeScope();
    }
}
