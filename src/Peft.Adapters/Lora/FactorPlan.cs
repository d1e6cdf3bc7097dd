using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Adapters.Lora;

/// <summary>A projection that experts are put on, as far as sharing goes by it.</summary>
/// <param name="Module">Which.</param>
/// <param name="Inputs">D.</param>
/// <param name="Outputs">O.</param>
/// <param name="Experts">E.</param>
public sealed record PlannedModule(SelectedModule Module, long Inputs, long Outputs, int Experts)
{
    /// <summary>Its path.</summary>
    public string Path => Module.Path;

    /// <summary>The last part of the path.</summary>
    public string Name => Path[(Path.LastIndexOf('.') + 1)..];
}

/// <summary>Which projection owns the matrices that several have in common, and whose experts are a pool.</summary>
/// <remarks>Source: huggingface/peft tuners/lily: projections are alike that have one name and shape, in the model's
/// order; the owner is the first of its neighbours. Those of a pool differ in their layer alone.</remarks>
public sealed class FactorPlan
{
    private readonly ExpertSharing _sharing;
    private readonly Dictionary<string, (List<PlannedModule> Alike, int Place)> _places = new(StringComparer.Ordinal);

    /// <summary>Makes the plan of the routed projections.</summary>
    /// <exception cref="UserException">A pool would have experts of unlike shapes.</exception>
    public FactorPlan(IEnumerable<PlannedModule> routed, ExpertSharing sharing)
    {
        _sharing = sharing;
        var byName = sharing.PoolLayers > 1;
        foreach (var group in routed.GroupBy(module => byName ? (object)ModulePattern.WithoutLayer(module.Path)
            : (module.Name, module.Inputs, module.Outputs, module.Experts, module.Module.R)))
        {
            var alike = group.ToList();
            foreach (var (place, module) in alike.Index())
                _places.Add(module.Path, (alike, place));
        }

        if (byName)
            RequireOneShape();
    }

    /// <summary>The projection that owns the A of another.</summary>
    public string DownOwner(string path) => _sharing.DownLayers > 1 ? First(path, _sharing.DownLayers) : path;

    /// <summary>The projection that owns the B of another.</summary>
    public string UpOwner(string path) => _sharing.UpAcrossLayers ? First(path, int.MaxValue) : path;

    /// <summary>The projections whose experts are one pool with those of one, itself among them.</summary>
    public IReadOnlyList<string> PoolOf(string path)
    {
        if (_sharing.PoolLayers < 2 || !_places.TryGetValue(path, out var at))
            return [path];
        var first = at.Place / _sharing.PoolLayers * _sharing.PoolLayers;
        return [.. at.Alike.Skip(first).Take(_sharing.PoolLayers).Select(module => module.Path)];
    }

    private string First(string path, int neighbours) =>
        _places.TryGetValue(path, out var at) ? at.Alike[at.Place / neighbours * neighbours].Path : path;

    private void RequireOneShape()
    {
        foreach (var (alike, place) in _places.Values)
        {
            var (module, first) = (alike[place], alike[place / _sharing.PoolLayers * _sharing.PoolLayers]);
            if (Shape(module) != Shape(first))
                throw UserException.At(
                    module.Path, Words(module), $"{Words(first)}, as {first.Path} has, whose experts it shares",
                    "adapt projections of one shape, or write a router without pools");
        }

        static (long, long, int, int, double) Shape(PlannedModule module) => (
            module.Inputs, module.Outputs, module.Experts, module.Module.R, module.Module.Alpha);
        static string Words(PlannedModule module) => string.Create(
            System.Globalization.CultureInfo.InvariantCulture,
            $"{module.Inputs} inputs, {module.Outputs} outputs, {module.Experts} experts, rank {module.Module.R}, "
                + $"alpha {module.Module.Alpha}");
    }
}

/// <summary>The matrices of a whole pool side by side, put together once a pass for all its projections.</summary>
/// <remarks>Shapes: Down [P E R, D], Up [O, P E R] of P projections. Gradient: through, to each projection's
/// own.</remarks>
/// <param name="Pool">The projections, in their order.</param>
/// <param name="Down">A of all.</param>
/// <param name="Up">B of all.</param>
public sealed record PoolFactors(IReadOnlyList<MixtureProjection> Pool, Tensor Down, Tensor Up) : IPassRecord
{
    /// <inheritdoc/>
    public IEnumerable<Tensor> Tensors => [Down, Up];

    /// <summary>A (dimension 0, in which its experts lie) or B (1).</summary>
    public Tensor On(int dimension) => dimension == 0 ? Down : Up;

    /// <summary>Those of a pool in this pass.</summary>
    public static PoolFactors Of(IReadOnlyList<MixtureProjection> pool, ForwardPass pass)
    {
        if (pass.Records<PoolFactors>().LastOrDefault(made => ReferenceEquals(made.Pool[0], pool[0])) is { } found)
            return found;
        var factors = new PoolFactors(pool, Joined(pool, 0), Joined(pool, 1));
        pass.Emit(factors);
        return factors;
    }

    /// <summary>A (dimension 0) or B (1) of a pool, and what one of its projections has beside it.</summary>
    public static Tensor Joined(IReadOnlyList<MixtureProjection> pool, int dimension, params Tensor[] beside) =>
        torch.cat([.. pool.Select(one => one.Routed(dimension)), .. beside], dimension);
}

/// <summary>The sizes and the scale of one wrapped projection.</summary>
/// <param name="Experts">Number of experts E that a router chooses among.</param>
/// <param name="Rank">Rank R of each.</param>
/// <param name="Scale">Factor on their output: alpha / r, or alpha / sqrt(r) with rsLoRA.</param>
/// <param name="Dropout">Share of the adapter's input dropped in training.</param>
public sealed record MixtureShape(int Experts, int Rank, double Scale, double Dropout = 0)
{
    /// <summary>Number of further experts S, which every token gets with weight 1.</summary>
    public int Shared { get; init; }

    /// <summary>Whether all experts have one A together.</summary>
    public bool HasOneDown { get; init; }

    /// <summary>Whether all experts have one B together too, and each a core between A and B.</summary>
    public bool HasCores { get; init; }

    /// <summary>What an expert is to the projection.</summary>
    public ExpertPart Part { get; init; }

    /// <summary>The most experts that a token gets of those E.</summary>
    public int Chosen { get; init; } = Experts;

    /// <summary>Columns of the B of all experts: C = (E + S) R.</summary>
    public long Columns => (long)(Experts + Shared) * Rank;

    /// <summary>Columns of B: C, or R where the experts have one.</summary>
    public long UpColumns => HasCores ? Rank : Columns;

    /// <summary>Rows of A: C, or R where the experts have one.</summary>
    public long DownRows => HasOneDown ? Rank : Columns;
}
