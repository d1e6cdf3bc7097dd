namespace Peft.Adapters.Merging;

/// <summary>How much the experts of a routed merge resemble each other, gathered module by module.</summary>
/// <remarks>Of updates: the cosine of B_i A_i and B_j A_j over all modules. Of vectors: the mean cosine of what they are chosen by.</remarks>
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
    public double OfVectors(int one, int other) => _modules[one, other] > 0 ? _cosines[one, other] / _modules[one, other] : 0;

    /// <summary>Adds a module.</summary>
    /// <remarks>Shapes: vectors [P, D], a row an input.</remarks>
    public void Add(IReadOnlyList<MergeInput> inputs, Tensor vectors)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ArgumentNullException.ThrowIfNull(vectors);
        using var scope = torch.NewDisposeScope();
        var down = torch.cat([.. inputs.Select(input => input.Down * input.Scale)], 0);        // [C, D]
        var up = torch.cat([.. inputs.Select(input => input.Up)], 1);                          // [O, C]
        var products = LowRank.InnerProducts(down, up, [.. inputs.Select(input => (int)input.Down.shape[0])]);
        var unit = torch.nn.functional.normalize(vectors.to(torch.float32), dim: -1);
        var cosines = unit.mm(unit.t()).contiguous().data<float>().ToArray();
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
