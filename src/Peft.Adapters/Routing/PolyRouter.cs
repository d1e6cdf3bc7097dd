using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="PolyRouter"/>.</summary>
public sealed record PolyRouterOptions : RouterOptions
{
    /// <summary>How many tasks have weights: those of <c>data.train</c>, in order.</summary>
    /// <value>Default: as many as experts; from 1.</value>
    [Key(Min = 1, Max = 100_000)]
    public int Tasks { get; init; } = 1;

    /// <summary>Blocks of inputs and outputs that have weights of their own: 1 is Polytropon, more are MHR's
    /// heads.</summary>
    /// <value>Default 1; from 1. It must divide inputs and outputs of every projection.</value>
    [Key(Min = 1, Max = 4096)]
    public int Splits { get; init; } = 1;

    /// <summary>Whether training draws relaxed Bernoulli weights, as PEFT does, or takes their means, as mttl
    /// does.</summary>
    /// <value>Default true.</value>
    [Key]
    public bool Sampled { get; init; } = true;

    /// <inheritdoc/>
    public override double? ScaleOf(int rank) => 1.0 / rank;

    /// <inheritdoc/>
    public override long FirstInputsOf(long width) => width / Splits;

    /// <inheritdoc/>
    public override TaskRule? TaskRule(int experts) => new(Tasks, "router poly", "raise adapter.router.tasks");

    /// <inheritdoc/>
    protected override RouterOptions FirstValues(OptionReader reader, RouterSize size) =>
        this with { Tasks = size.Experts };
}

/// <summary>The matrices of all experts averaged by weights of the row's task.</summary>
/// <remarks>
/// Source: Polytropon, arXiv:2202.13914; MHR, arXiv:2211.03831; huggingface/peft tuners/poly:
/// <c>ẑ = RelaxedBernoulli(T = 1, Z[task])</c> in training, a draw a row, <c>σ(Z[task])</c> otherwise;
/// <c>w = ẑ / (Σ ẑ + 1e-12)</c> in each split; <c>y = W x + x (Σ w A) (Σ w B) / r</c>: factors are averaged, not
/// products.
/// Shapes: x [B, T, D], pass.TaskIds [B] or [B, T] → gates [N, E], the mean of w over the splits.
/// Gradient: reaches Z through the averaged matrices.
/// Errors: <see cref="TaskIdException"/> where task ids are missing or have no weights.
/// </remarks>
public sealed class PolyRouter : Router
{
    private const double Spread = 1e-3;
    private const double Tiny = 1e-12;
    private static readonly TaskWords Words = new(
        "poly", "give each data source a task", "one set of weights for each task",
        "raise adapter.router.tasks");

    private readonly PolyRouterOptions _options;
    private readonly Parameter _logits;

    /// <summary>Makes the router of one projection.</summary>
    /// <exception cref="UserException">Its inputs or outputs do not fall into so many blocks.</exception>
    public PolyRouter(PolyRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        if (context.Width % options.Splits != 0 || context.Outputs % options.Splits != 0)
            throw UserException.At(
                context.Path, $"{context.Width} inputs and {context.Outputs} outputs",
                $"multiples of adapter.router.splits = {options.Splits}");
        _logits = Take("logits", [options.Tasks, (long)options.Splits * context.Experts], logits =>
        {
            using var random = Seeds.GeneratorFor(context.Seed, $"{context.Path}.router.logits");
            logits.uniform_(-Spread, Spread, random);
        });
        register_parameter("logits", _logits);
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        var tasks = TaskIds.OfTokens(x, pass, Context.Path, _options.Tasks, Words);            // [N]
        var (drawn, of) = Sets(tasks, pass);
        var z = _logits.index_select(0, drawn).view(-1, _options.Splits, Context.Experts);     // [P, Q, E]
        var relaxed = (pass.Drops && _options.Sampled ? z + Noise(x, drawn, pass) : z).sigmoid();
        var weights = relaxed / (relaxed.sum(-1, keepdim: true) + Tiny);
        var gates = weights.mean([1]).index_select(0, of);                                     // [N, E]
        return RoutingDecision.OfAll(gates, gates) with { Mix = new FactorMix(weights, of) };
    }

    // The task of each set of weights, and the set of each token: in training a set for each row, which has a draw of
    // its own; otherwise, and where sequences share rows, one for each task that is there.
    private (Tensor Tasks, Tensor Of) Sets(Tensor tasks, ForwardPass pass)
    {
        using var off = torch.no_grad();
        if (pass.Drops && _options.Sampled && HasRows(pass))
        {
            var rows = pass.TaskIds!.shape[0];
            var index = torch.arange(rows, torch.int64, tasks.device).repeat_interleave(tasks.shape[0] / rows, 0);
            return (tasks.view(rows, -1).select(1, 0), index);
        }

        var (unique, inverse, _) = tasks.unique(sorted: true, return_inverse: true);
        return (unique, inverse!);
    }

    // Logistic noise: its sum with a logit, through a sigmoid, is a relaxed Bernoulli draw of temperature 1.
    // Where sequences share rows each task of the catalog has a draw, so that none hangs on which others are there.
    private Tensor Noise(Tensor x, Tensor drawn, ForwardPass pass)
    {
        using var off = torch.no_grad();
        var random = pass.Random ?? throw new InvalidOperationException(
            $"{Context.Path}: router poly draws weights, and the training pass has no random numbers; give it a "
                + "generator");
        const double Edge = 1e-7;
        var u = (HasRows(pass) ? pass.Draw(x, Shape(drawn.shape[0]), Uniform)
            : Uniform(Shape(_options.Tasks), random).index_select(0, drawn)).clamp(Edge, 1 - Edge);
        return u.log() - (1 - u).log();

        long[] Shape(long sets) => [sets, _options.Splits, Context.Experts];

        Tensor Uniform(long[] shape, Generator generator) =>
            torch.rand(shape, torch.float32, _logits.device, generator: generator);
    }

    // Whether each row is of one task.
    private static bool HasRows(ForwardPass pass) => pass.TaskIds!.dim() == 1;
}
