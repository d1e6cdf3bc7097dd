namespace Peft.Adapters.Merging;

/// <summary>What a static merge lost in one module, against the exact weighted sum of the updates.</summary>
/// <param name="Path">The module.</param>
/// <param name="Rank">Rank of the result there.</param>
/// <param name="ErrorEnergy">‖M − S‖²_F, M the merged update and S the exact sum.</param>
/// <param name="Energy">‖M‖²_F.</param>
/// <param name="ExactEnergy">‖S‖²_F.</param>
public sealed record ModuleLoss(string Path, int Rank, double ErrorEnergy, double Energy, double ExactEnergy)
{
    /// <summary>‖M − S‖_F / ‖S‖_F; 0 where both are zero.</summary>
    public double RelativeError =>
        ExactEnergy > 0 ? Math.Sqrt(ErrorEnergy / ExactEnergy) : ErrorEnergy > 0 ? double.PositiveInfinity : 0;

    /// <summary>‖M‖²_F / ‖S‖²_F.</summary>
    public double EnergyKept => ExactEnergy > 0 ? Energy / ExactEnergy : 1;
}

/// <summary>The outcome of a merge.</summary>
/// <param name="Method">The method.</param>
/// <param name="Names">The adapters' names.</param>
/// <param name="Losses">Of a static merge, a module each; empty for routed ones.</param>
/// <param name="Similarity">Of a routed merge; null for static ones.</param>
/// <param name="Notes">What the user is to know besides.</param>
public sealed record MergeReport(
    string Method, IReadOnlyList<string> Names, IReadOnlyList<ModuleLoss> Losses, ExpertSimilarity? Similarity,
    IReadOnlyList<string> Notes)
{
    /// <summary>The loss over all modules together.</summary>
    public ModuleLoss Total => new(
        "all", Losses.Select(loss => loss.Rank).DefaultIfEmpty(0)
            .Max(), Losses.Sum(loss => loss.ErrorEnergy), Losses.Sum(loss => loss.Energy),
        Losses.Sum(loss => loss.ExactEnergy));
}

/// <summary>How much the experts of a routed merge resemble each other, gathered module by module.</summary>
/// <remarks>Of updates: the cosine of B_i A_i and B_j A_j over all modules. Of vectors: the mean cosine of what they
/// are chosen by.</remarks>
public sealed class ExpertSimilarity
{
    private readonly double[,] _products;
    private readonly double[,] _cosines;
    private readonly int[,] _modules;

    /// <summary>Begins with nothing.</summary>
    public ExpertSimilarity(int experts)
    {
        Experts = experts;
        _products = new double[experts, experts];
        _cosines = new double[experts, experts];
        _modules = new int[experts, experts];
    }

    /// <summary>Number of experts.</summary>
    public int Experts { get; }

    /// <summary>Cosine of two experts' updates, all modules as one vector; 0 where one of them is zero.</summary>
    public double OfUpdates(int one, int other)
    {
        var norms = Math.Sqrt(_products[one, one] * _products[other, other]);
        return norms > 0 ? _products[one, other] / norms : 0;
    }

    /// <summary>Mean cosine of two experts' vectors over the modules that both adapt; 0 where there is none.</summary>
    public double OfVectors(int one, int other) =>
        _modules[one, other] > 0 ? _cosines[one, other] / _modules[one, other] : 0;

    /// <summary>Adds a module.</summary>
    /// <remarks>Shapes: vectors [P, D], a row an input.</remarks>
    public void Add(IReadOnlyList<MergeInput> inputs, Tensor vectors)
    {
        using var scope = torch.NewDisposeScope();
        var down = torch.cat([.. inputs.Select(input => input.Down * input.Scale)], 0);        // [C, D]
        var up = torch.cat([.. inputs.Select(input => input.Up)], 1);                          // [O, C]
        var products = LowRank.InnerProducts(down, up, [.. inputs.Select(input => (int)input.Down.shape[0])]);
        var unit = torch.nn.functional.normalize(vectors.to(torch.float32), dim: -1);
        var cosines = unit.mm(unit.t()).Values<float>();
        for (var i = 0; i < inputs.Count; i++)
        {
            for (var j = 0; j < inputs.Count; j++)
            {
                var (one, other) = (inputs[i].Adapter, inputs[j].Adapter);
                _products[one, other] += products[i, j];
                _cosines[one, other] += cosines[i * inputs.Count + j];
                _modules[one, other]++;
            }
        }
    }
}
