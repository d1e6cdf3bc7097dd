using Peft.Adapters.Lora;
using Peft.Formats;

namespace Peft.Adapters.Merging;

/// <summary>Weighted sums of A and of B apart, their weights searched on a few examples.</summary>
/// <remarks>
/// Source: LoraHub, arXiv:2307.13269; sail-sg/lorahub, algorithm.py: <c>A = Σ w_i A_i</c>, <c>B = Σ w_i B_i</c>, whose
/// product has cross terms w_i w_j. An adapter's scale is put half into each factor, which is s B A where all have the
/// same.
/// </remarks>
public sealed class LoraHubMerge()
    : StaticMerge("lorahub", "sums of A and of B apart, weights searched on a few examples (LoraHub); equal ranks")
{
    /// <inheritdoc/>
    public override bool SearchesWeights => true;

    /// <inheritdoc/>
    public override bool JoinsFactors(MergeOptions options) => true;

    /// <inheritdoc/>
    public override int RankOf(MergeSizes sizes, MergeOptions options) => sizes.Ranks[0];

    /// <inheritdoc/>
    public override LowRankUpdate Merge(MergeInputs inputs, MergeOptions options)
    {
        TaskMatrix Of(MergeInput input, Tensor factor) =>
            new("", input.Weight * Math.Sqrt(input.Scale), new LazyMatrix(factor));
        return new LowRankUpdate(
            Pruning.WeightedSum([.. inputs.Present.Select(input => Of(input, input.Down))]),
            Pruning.WeightedSum([.. inputs.Present.Select(input => Of(input, input.Up))]));
    }
}

/// <summary>The weighted sum of the updates, its weights searched on a few examples: LoraHub without cross terms, and
/// the only form where ranks differ.</summary>
/// <remarks>Source: as <see cref="LoraHubMerge"/>, with <c>Σ w_i s_i B_i A_i</c>.</remarks>
public sealed class LoraHubUpdatesMerge()
    : SumMerge("lorahub-updates", "sum of the updates, weights searched on a few examples (LoraHub, any ranks)")
{
    /// <inheritdoc/>
    public override bool SearchesWeights => true;
}

/// <summary>Looks for weights without gradients.</summary>
/// <remarks>
/// Source: LoraHub, arXiv:2307.13269: from zero, within ±1.5, 40 tries, the loss on the examples + 0.05 · mean |w|. The
/// paper takes nevergrad's NGOpt, which chooses among optimizers; this is its one-plus-one evolution strategy with
/// nevergrad's constants: steps of half a unit at first, twice as long after a success, 0.84 times after a failure.
/// </remarks>
public static class WeightSearch
{
    /// <summary>Largest magnitude of a weight.</summary>
    public const double Bound = 1.5;

    private const double FirstStep = 0.5; // nevergrad: a sixth of the range
    private const double Success = 2;
    private const double Failure = 0.84;
    private const double Penalty = 0.05;

    /// <summary>What is added to the loss: 0.05 · mean |w|.</summary>
    public static double PenaltyOf(IReadOnlyList<double> weights) => Penalty * weights.Average(Math.Abs);

    /// <summary>The best weights of all that were tried.</summary>
    /// <param name="count">How many weights.</param>
    /// <param name="steps">How many tries, zeros the first.</param>
    /// <param name="seed">Seed of the draws.</param>
    /// <param name="loss">The loss of weights on the examples.</param>
    public static FoundWeights Run(int count, int steps, long seed, Func<IReadOnlyList<double>, double> loss)
    {
        using var random = Seeds.GeneratorFor(seed, "lorahub");
        var best = new double[count];
        var first = loss(best);
        var (value, lowest, step) = (first, first, FirstStep);
        for (var tried = 1; tried < steps; tried++)
        {
            var draws = torch.randn([count], torch.float64, generator: random).Values<double>();
            double[] weights = [
                .. best.Zip(draws, (weight, draw) => Math.Clamp(weight + step * draw, -Bound, Bound))];
            var found = loss(weights);
            // A loss that is no number is no success.
            var isBetter = found + PenaltyOf(weights) <= value;
            if (isBetter)
                (best, lowest, value) = (weights, found, found + PenaltyOf(weights));
            step *= isBetter ? Success : Failure;
        }
        return new(best, first, lowest);
    }
}

/// <summary>What a search for weights found.</summary>
/// <param name="Weights">One a adapter.</param>
/// <param name="FirstLoss">The loss with zeros: that of the base.</param>
/// <param name="Loss">The loss with these weights.</param>
public sealed record FoundWeights(IReadOnlyList<double> Weights, double FirstLoss, double Loss);

/// <summary>The adapters of a static merge in memory, merged anew for other weights into a model.</summary>
public sealed class HeldMerge : IDisposable
{
    private readonly StaticMerge _method;
    private readonly MergeOptions _options;
    private readonly Dictionary<string, MergeInputs> _inputs;
    private readonly AdapterOptions _adapter;

    /// <summary>Reads them.</summary>
    /// <exception cref="UserException">They do not fit together, or one of them is damaged.</exception>
    public HeldMerge(IReadOnlyList<MergeSource> sources, StaticMerge method, MergeOptions options)
    {
        // Any weights will do to see whether they fit.
        options = options with { Found = [.. sources.Select(_ => 1.0)] };
        MergeChecks.Require(sources, method, options);
        (_method, _options) = (method, options);
        using var work = new StaticWork(sources, method, options);
        _adapter = MergedOptions.Of(sources, method, options, work.Modules);
        _inputs = work.All().Select(inputs => inputs with
        {
            Present = [
                .. inputs.Present.Select(
                    input => input with { Down = input.Down.clone().DetachFromDisposeScope(),
                        Up = input.Up.clone().DetachFromDisposeScope() })],
        }).ToDictionary(inputs => inputs.Path, StringComparer.Ordinal);
    }

    /// <summary>Puts an adapter of the result's shapes on a base.</summary>
    public AdaptedModel Attach(CausalLanguageModel model) =>
        AdapterAttachment.Attach(model, _adapter, 0, strict: false);

    /// <summary>Gives it the values that weights lead to.</summary>
    public void Fill(AdaptedModel adapted, IReadOnlyList<double> weights)
    {
        using var off = torch.no_grad();
        var options = _options with { Found = [.. weights] };
        foreach (var module in adapted.Modules)
        {
            using var scope = torch.NewDisposeScope();
            var inputs = _inputs[module.Path];
            var (down, up) = _method.Merge(
                inputs with
                {
                    Present = [.. inputs.Present.Select(input => input with { Weight = weights[input.Adapter] })],
                }, options);
            module.Down.copy_(down);
            module.Up.copy_(up);
        }
    }

    /// <summary>Frees the adapters.</summary>
    public void Dispose()
    {
        foreach (var input in _inputs.Values.SelectMany(inputs => inputs.Present))
        {
            input.Down.Dispose();
            input.Up.Dispose();
        }
    }
}
