using Peft.Adapters.Routing;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>Settings of continual training (recipe key <c>training.continual</c>): one task after the other, each
/// stage going on from the bundle of the one before.</summary>
public sealed record ContinualOptions
{
    /// <summary>Nothing is done.</summary>
    public const string None = "none";

    /// <summary>SAME.</summary>
    public const string Same = "same";

    /// <summary>The paper's formulas.</summary>
    public const string Paper = "paper";

    /// <summary>Those of the released code.</summary>
    public const string Code = "code";

    /// <summary>The method.</summary>
    /// <value>Default none; none or same.</value>
    [Key(Choices = [None, Same])]
    public string Kind { get; init; } = None;

    /// <summary>Whose formulas shape the gradients.</summary>
    /// <value>Default paper: variances of the inputs of all tasks damp the router, those of the tasks before scale the
    /// experts; code: standard deviations of this task's centred inputs do both.</value>
    [Key(Choices = [Paper, Code], When = "kind=same")]
    public string Form { get; init; } = Paper;

    /// <summary>μ: a direction counts as used where its variance is large beside it (beside its square root with form:
    /// code).</summary>
    /// <value>Default 0.9 (the paper's best); above 0. That the router has the experts' μ is inferred.</value>
    [Key(Above = 0, When = "kind=same")]
    public double Mu { get; init; } = 0.9;

    /// <summary>Share of the variance that the directions hold which gradients are changed in.</summary>
    /// <value>Default 0.9 (the code's); above 0, up to 1.</value>
    [Key(Above = 0, Max = 1, When = "kind=same")]
    public double Energy { get; init; } = 0.9;

    /// <summary>Score below which an expert stays as it is in a later stage.</summary>
    /// <value>Default 0.1 (the code's); from −1, where none does, to 1.</value>
    [Key(Min = -1, Max = 1, When = "kind=same")]
    public double Tau { get; init; } = 0.1;

    /// <summary>The most training rows that are run before the first step and after the last, spread evenly.</summary>
    /// <value>Default 512 (ours); at least 1.</value>
    [Key(Min = 1, When = "kind=same")]
    public int Rows { get; init; } = 512;

    /// <summary>Whether anything is done.</summary>
    public bool IsOn => Kind != None;
}

/// <summary>What a projection saw, and how its router used the experts.</summary>
/// <param name="Covariance">The mean of x xᵀ, [D, D] float64.</param>
/// <param name="Mean">The mean of x, [D] float64; null for several stages together.</param>
/// <param name="Tokens">How many tokens.</param>
/// <param name="Use">The mean share of each expert, [E] float64; null without a router or for several stages.</param>
/// <param name="Importance">The mean of share times ‖x‖², [E] float64; null without a router.</param>
public sealed record InputStatistics(
    Tensor Covariance, Tensor? Mean, long Tokens, Tensor? Use, Tensor? Importance)
{
    /// <summary>Those of the stages before and this one: <c>(α C + n Ĉ) / (α + n)</c>.</summary>
    /// <remarks>Source: SAME, arXiv:2602.01990; that C is not centred is inferred.</remarks>
    public InputStatistics After(InputStatistics? before)
    {
        if (before is null)
            return this with { Mean = null, Use = null };
        var share = (double)Tokens / (before.Tokens + Tokens);
        Tensor Together(Tensor earlier, Tensor own) => earlier * (1 - share) + own * share;
        return new(
            Together(before.Covariance, Covariance), null, before.Tokens + Tokens, null,
            Importance is null ? null : Together(before.Importance!, Importance));
    }

    /// <summary>Every tensor.</summary>
    public IEnumerable<Tensor> Tensors =>
        new[] { Covariance, Mean, Use, Importance }.OfType<Tensor>();
}

/// <summary>What the stages of a continual training leave to the next one.</summary>
/// <param name="Stages">How many there were.</param>
/// <param name="Modules">The statistics of each adapted projection, by its path.</param>
public sealed record ContinualState(int Stages, IReadOnlyDictionary<string, InputStatistics> Modules);

/// <summary>A change of gradients of the rows of a matrix, by directions of its input: <c>G ↦ Σ_i s_i (G v_i) v_iᵀ +
/// outside · (G − G V Vᵀ)</c>.</summary>
/// <param name="Directions">V, orthonormal columns, [D, k] float32.</param>
/// <param name="Scale">s, [k] float32.</param>
/// <param name="Outside">What all other directions are multiplied by.</param>
public sealed record GradientShape(Tensor Directions, Tensor Scale, double Outside)
{
    /// <summary>Changes a gradient in place.</summary>
    /// <remarks>Shapes: gradient [.., D].</remarks>
    public void Apply(Tensor gradient)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var along = gradient.mm(Directions) * (Scale - Outside);                               // [.., k]
        gradient.mul_(Outside).add_(along.mm(Directions.t()));
    }
}

/// <summary>SAME's formulas.</summary>
/// <remarks>
/// Source: SAME, arXiv:2602.01990; LAMDA-CL/Prism PEFT/tuners/custom/same.py. Form paper: with the eigenvectors V of C
/// that hold the first share of its trace, the router's gradient is damped along them by <c>1 / (1 + σ / μ)</c>
/// (inferred), C of all tasks; A's is multiplied by <c>V (Σ + μ)⁻¹ Vᵀ + (I − V Vᵀ) / μ</c>, C of the tasks before. Form
/// code: S are standard deviations of this task; the router has the least of 1 / S, a mean over three neighbours, as
/// the smallest factor allows, and A has <c>1 / (S + μ)</c>. B is not changed. The code takes S from random sketches of
/// single batches; here they are exact.
/// </remarks>
public static class SameRule
{
    private const int Window = 3;
    private const double LeastFactor = 0.8;
    private const double Tiny = 1e-8;

    /// <summary>The change of the router's gradient.</summary>
    /// <param name="all">Of all stages, this one among them.</param>
    /// <param name="own">Of this stage.</param>
    /// <param name="options">The settings.</param>
    public static GradientShape Router(InputStatistics all, InputStatistics own, ContinualOptions options)
    {
        if (options.Form == ContinualOptions.Paper)
            return Shape(all.Covariance, options, 1, variance => 1 / (1 + variance / options.Mu));
        return Shape(Centred(own), options, 1, variance =>
        {
            var deviation = variance.sqrt();
            var smooth = torch.stack([.. Enumerable.Range(0, (int)variance.shape[0]).Select(at =>
                deviation.narrow(0, Math.Max(0, at - Window + 1), Math.Min(at + 1, Window)).mean())], 0);
            var inverse = 1 / (smooth + Tiny);
            return (inverse / inverse.max()).clamp(min: LeastFactor);
        });
    }

    /// <summary>The change of A's gradient; null in the first stage.</summary>
    /// <param name="before">Of the stages before; null: there was none.</param>
    /// <param name="own">Of this stage.</param>
    /// <param name="options">The settings.</param>
    public static GradientShape? Experts(InputStatistics? before, InputStatistics own, ContinualOptions options) =>
        before is null ? null
        : options.Form == ContinualOptions.Paper
            ? Shape(before.Covariance, options, 1 / options.Mu, variance => 1 / (variance + options.Mu))
            : Shape(Centred(own), options, 1 / options.Mu, variance => 1 / (variance.sqrt() + options.Mu));

    /// <summary>How much an expert does for this task beside what it did for those before.</summary>
    /// <remarks>Shapes: use and importance [E] → [E], from −1 to 1.</remarks>
    public static Tensor Score(Tensor use, Tensor importance)
    {
        return Ranged(use) - Ranged(importance);

        static Tensor Ranged(Tensor values) => (values - values.min()) / (values.max() - values.min() + Tiny);
    }

    /// <summary>The experts that stay as they are: those of a low score, the task's own aside.</summary>
    /// <param name="score">[E].</param>
    /// <param name="stage">The stage's number, from 0; its own expert is the one of that number, counted round.</param>
    /// <param name="options">The settings.</param>
    public static IReadOnlyList<int> Frozen(Tensor score, int stage, ContinualOptions options)
    {
        var values = score.to(torch.CPU).to(torch.float64).Values<double>();
        return [.. Enumerable.Range(0, values.Length)
            .Where(expert => values[expert] < options.Tau && expert != stage % values.Length)];
    }

    // Unbiased, as torch.std has it.
    private static Tensor Centred(InputStatistics own) =>
        (own.Covariance - own.Mean!.unsqueeze(1).mm(own.Mean.unsqueeze(0)))
            * ((double)own.Tokens / Math.Max(1, own.Tokens - 1));

    private static GradientShape Shape(
        Tensor covariance, ContinualOptions options, double outside, Func<Tensor, Tensor> scaleOf)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        // Symmetric and not negative: its singular vectors are its eigenvectors, the largest first.
        var (vectors, falling, _) = torch.linalg.svd(covariance, fullMatrices: false);         // [D, D], [D]
        var share = falling.cumsum(0) / falling.sum().clamp(min: double.Epsilon);
        var below = options.Form == ContinualOptions.Paper ? share.lt(options.Energy) : share.le(options.Energy);
        var count = Math.Min(below.sum().ToInt64() + 1, falling.shape[0]);
        var directions = vectors.narrow(1, 0, count).to(torch.float32).contiguous();   // [D, k]
        return new(
            directions.MoveToOuterDisposeScope(),
            scaleOf(falling.narrow(0, 0, count)).to(torch.float32).MoveToOuterDisposeScope(), outside);
    }
}

/// <summary>Gathers <see cref="InputStatistics"/> of an adapted model's projections while passes without a graph run;
/// disposing it leaves the model as it was.</summary>
/// <remarks>The head sees some of the tokens alone and is left out.</remarks>
public sealed class InputWatch : IDisposable
{
    private readonly AdaptedModel _adapted;
    private readonly IReadOnlyList<MixtureProjection> _modules;
    private readonly Dictionary<string, Sums> _sums = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (Tensor Squares, Tensor? Mask)> _pass = new(StringComparer.Ordinal);

    /// <summary>Begins to watch.</summary>
    public InputWatch(AdaptedModel adapted)
    {
        _adapted = adapted;
        _modules = [.. adapted.Modules.Where(module => module.Path != adapted.Model.HeadProjection.Path)];
        foreach (var module in _modules)
            adapted.Model.Wrap(module.Path, inner => new Watched(inner, See));
    }

    /// <summary>Takes in the routing of a pass that has run; the pass's tensors may go then.</summary>
    public void AfterPass(ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        foreach (var record in pass.Records<RoutingRecord>())
        {
            if (!_pass.TryGetValue(record.Module, out var seen))
                continue;
            var shares = (record.Decision.Probabilities ?? record.Decision.Gates).to(torch.float64);  // [N, E]
            if (seen.Mask is not null)
                shares = shares * seen.Mask;
            var sums = _sums[record.Module];
            sums.Use = Added(sums.Use, shares.sum(0L));
            sums.Importance = Added(sums.Importance, (shares * seen.Squares).sum(0L));
        }

        foreach (var (squares, mask) in _pass.Values)
        {
            squares.Dispose();
            mask?.Dispose();
        }
        _pass.Clear();
    }

    /// <summary>The statistics of each module; they belong to the scope that is open.</summary>
    public IReadOnlyDictionary<string, InputStatistics> Statistics()
    {
        using var off = torch.no_grad();
        return _sums.ToDictionary(
            pair => pair.Key,
            pair => new InputStatistics(
                pair.Value.Products! / pair.Value.Tokens, pair.Value.Values! / pair.Value.Tokens, pair.Value.Tokens,
                pair.Value.Use is null ? null : pair.Value.Use / pair.Value.Tokens,
                pair.Value.Importance is null ? null : pair.Value.Importance / pair.Value.Tokens),
            StringComparer.Ordinal);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var module in _modules)
            _adapted.Model.Wrap(module.Path, _ => module);
        foreach (var sums in _sums.Values)
        {
            foreach (var tensor in new[] { sums.Products, sums.Values, sums.Use, sums.Importance }.OfType<Tensor>())
                tensor.Dispose();
        }
        foreach (var (squares, mask) in _pass.Values)
        {
            squares.Dispose();
            mask?.Dispose();
        }
    }

    private void See(string path, Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var rows = x.reshape(-1, x.shape[^1]).to(torch.float32);                               // [N, D]
        var mask = pass.TokenMask?.reshape(-1, 1);
        var real = mask is null ? rows : rows * mask.to(torch.float32);
        if (!_sums.TryGetValue(path, out var sums))
            _sums[path] = sums = new Sums();
        sums.Products = Added(sums.Products, real.t().mm(real).to(torch.float64));
        sums.Values = Added(sums.Values, real.sum(0L, type: torch.float64));
        sums.Tokens += mask is null ? rows.shape[0] : mask.sum().ToInt64();
        _pass[path] = (
            real.square().sum(1L, keepdim: true, type: torch.float64).DetachFromDisposeScope(),
            mask?.to(torch.float64).DetachFromDisposeScope());
    }

    private static Tensor Added(Tensor? sum, Tensor more)
    {
        sum?.add_(more);
        return sum ?? more.DetachFromDisposeScope();
    }

    private sealed class Sums
    {
        public Tensor? Products { get; set; }

        public Tensor? Values { get; set; }

        public long Tokens { get; set; }

        public Tensor? Use { get; set; }

        public Tensor? Importance { get; set; }
    }

    // It owns nothing: what it stands before goes back to its place.
    private sealed class Watched(Projection inner, Action<string, Tensor, ForwardPass> see)
        : Projection(inner.Path, inner.InFeatures, inner.OutFeatures)
    {
        public override Tensor Forward(Tensor x, ForwardPass pass)
        {
            if (!pass.IsPreliminary)
                see(Path, x, pass);
            return inner.Forward(x, pass);
        }
    }
}
