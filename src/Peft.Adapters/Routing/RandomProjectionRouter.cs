using System.Globalization;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Models;

namespace Peft.Adapters.Routing;

/// <summary>Settings of <see cref="RandomProjectionRouter"/>.</summary>
public sealed record RandomProjectionRouterOptions : RouterOptions
{
    /// <summary>Ranks with the largest |score|, as in the paper.</summary>
    public const string Magnitude = "magnitude";

    /// <summary>Ranks with the largest score, as in the reference's training code.</summary>
    public const string Signed = "signed";

    /// <summary>Ranks that work for each token.</summary>
    /// <value>Default a quarter of r (8 of 32 in the paper); from 1 to r.</value>
    [Key(Min = 1), UpTo(Limit.Ranks)]
    public int TopK { get; init; } = 8;

    /// <summary>Which ranks are the strongest.</summary>
    /// <value>Default magnitude; magnitude or signed.</value>
    [Key(Choices = [Magnitude, Signed])]
    public string SelectionScore { get; init; } = Magnitude;

    /// <summary>Whether the adapter hands no gradient to the layers below.</summary>
    /// <value>Default true, as in the reference's training code; false is the mathematical gradient.</value>
    [Key]
    public bool DetachProjection { get; init; } = true;

    /// <summary>Share of non-zeros in each row of A.</summary>
    /// <value>Default top_k / r; above 0, up to 1. A row gets floor(density · D) of them; none is refused.</value>
    [Key(Min = 1e-9, Max = 1)]
    public double Density { get; init; } = 0.25;

    /// <summary>Seed of A; null: the run's.</summary>
    /// <value>Default null. Adapters that are to be merged want different ones.</value>
    [Key]
    public int? ProjectionSeed { get; init; }

    /// <summary>Step of the bias that evens out the use of the ranks after each training step.</summary>
    /// <value>Default 0.001; 0 leaves the bias at zero.</value>
    [Key(Min = 0)]
    public double BiasRate { get; init; } = 0.001;

    /// <inheritdoc/>
    public override bool TrainsDown => false;

    /// <inheritdoc/>
    public override bool RoutesRanks => true;

    /// <inheritdoc/>
    protected override RouterOptions FirstValues(OptionReader reader, RouterSize size)
    {
        // A quarter of the ranks works for a token, and each row of A is as dense.
        var k = Math.Max(1, size.Rank / 4);
        var stated = reader.Node("top_k") is ConfigScalar text && text.TryInteger(out var number) && number >= 1
            && number <= size.Rank ? number : k;
        return this with { TopK = k, Density = (double)stated / size.Rank };
    }

    /// <inheritdoc/>
    /// <remarks>
    /// Source: FlyLoRA, arXiv:2510.08396, section on initialisation; flylora.py: every row of A has exactly p =
    /// floor(density · D) non-zeros at distinct columns, drawn from N(0, 1/r²).
    /// </remarks>
    public override Tensor FirstDown(string path, int rank, long width, long seed)
    {
        var nonZeros = (long)Math.Floor(width * Density);
        if (nonZeros < 1)
            throw UserException.At(
                path, string.Create(
                    CultureInfo.InvariantCulture,
                    $"rows of A without a number (adapter.router.density: {Density} of {width} inputs)"),
                string.Create(CultureInfo.InvariantCulture, $"a density of at least {1.0 / width:0.######}"));
        using var off = torch.no_grad();
        var down = torch.zeros([rank, width], torch.float32);
        using var scope = torch.NewDisposeScope();
        using var random = Seeds.GeneratorFor(ProjectionSeed ?? seed, $"{path}.lora_A.projection");
        for (var row = 0; row < rank; row++)
        {
            var columns = torch.randperm(width, generator: random).narrow(0, 0, nonZeros);
            var values = torch.randn([nonZeros], generator: random) / rank;
            down.select(0, row).scatter_(0, columns, values);
        }
        return down;
    }
}

/// <summary>Lets the ranks work that respond most strongly to a token; the frozen sparse A is the router.</summary>
/// <remarks>
/// Source: FlyLoRA, arXiv:2510.08396; gfyddha/FlyLoRA: <c>f(x) = W x + (alpha / r) Σ_{i ∈ top-k} b_i (a_i · x)</c>,
/// ranks chosen by
/// <c>|a_i · x + d_i|</c> (magnitude) or <c>a_i · x + d_i</c> (signed); d serves the choice only and moves against the
/// load after each training step (the reference also moves it in evaluation).
/// Shapes: x [N, D] → gates [N, R], 1 for the chosen ranks.
/// Gradient: only B learns; to x as detach_projection says.
/// </remarks>
public sealed class RandomProjectionRouter : Router, ILoadBalanced
{
    private readonly RandomProjectionRouterOptions _options;
    private readonly Tensor _bias;

    /// <summary>Makes the router of one projection.</summary>
    public RandomProjectionRouter(RandomProjectionRouterOptions options, RouterContext context)
        : base(context)
    {
        _options = options;
        if (context.Down is null)
            throw new ArgumentException(
                $"{context.Path}: router random-projection chooses by A, and none was given", nameof(context));
        RequireSecondCopy(context, context.Down);
        _bias = NewBuffer(SelectionBias.Name, torch.zeros([context.Rank], torch.float32));
    }

    /// <inheritdoc/>
    public override RoutingDecision Route(Tensor x, ForwardPass pass)
    {
        using var off = torch.no_grad();
        var score = Score(x, Context.Down!) + _bias;                                                   // [N, R]
        var selected = Selection.TopMask(
            _options.SelectionScore == RandomProjectionRouterOptions.Magnitude ? score.abs() : score, _options.TopK);
        return new RoutingDecision(selected.to(torch.float32), selected) { DetachesInput = _options.DetachProjection };
    }

    /// <inheritdoc/>
    public void Balance(StepLoad load) => SelectionBias.Update(_bias, load.Counts, _options.BiasRate);

    // Bundles of earlier versions hold A twice.
    private static void RequireSecondCopy(RouterContext context, Parameter down)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var name = $"{context.Path}.router._down";
        if (context.Tensors.TakeIfHeld(name, down.dtype, down.shape) is { } second
            && second.shape.SequenceEqual(down.shape) && !second.SameAs(down.to(torch.CPU)))
            throw UserException.At(
                name, $"not the numbers of {context.Path}.lora_A", "the same, since this router chooses by A");
    }
}
