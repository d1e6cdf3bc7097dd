using Peft.Adapters.Routing;
using Peft.Formats;
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
/// order; the owner is the first of its neighbours.</remarks>
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
        foreach (var group in routed.GroupBy(
            module => byName ? (object)module.Name : (module.Name, module.Inputs, module.Outputs, module.Experts,
                module.Module.R)))
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
