using Peft.Adapters.Routing;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Probing;

/// <summary>Sums over the tokens that one module routed, by task.</summary>
internal sealed class ModuleCounts(string name, int experts, int tasks)
{
    private const double Tiny = 1e-20;

    private readonly double[][] _gates = [.. Enumerable.Range(0, tasks).Select(_ => new double[experts])];
    private readonly double[] _probabilities = new double[experts];
    private readonly double[] _used = new double[experts];
    private double _entropy;
    private double _support;
    private long _tokens;
    private bool _hasProbabilities;

    /// <summary>Path of the projection.</summary>
    public string Name => name;

    /// <summary>Number of experts E.</summary>
    public int Experts => experts;

    /// <summary>The experts that each token used, sequence by sequence.</summary>
    public List<IReadOnlyList<IReadOnlyList<int>>> Ordered { get; } = [];

    /// <summary>Counts the real tokens of a batch.</summary>
    /// <param name="task">Index of the task.</param>
    /// <param name="decision">Of B rows of T tokens, flattened: [B·T, E].</param>
    /// <param name="lengths">Real tokens of each row, from its start.</param>
    /// <param name="ordered">Rows, from the first, whose order of tokens is kept.</param>
    public void Add(int task, RoutingDecision decision, IReadOnlyList<int> lengths, int ordered)
    {
        var gates = Numbers(decision.Gates);
        var selected = Numbers(decision.Selected);
        var probabilities = decision.Probabilities is null ? null : Numbers(decision.Probabilities);
        _hasProbabilities |= probabilities is not null;
        var length = gates.Length / experts / lengths.Count;
        for (var row = 0; row < lengths.Count; row++)
        {
            var tokens = new List<IReadOnlyList<int>>();
            for (var t = 0; t < lengths[row]; t++)
            {
                var at = (row * length + t) * experts;
                Add(task, gates.AsSpan(at, experts), selected.AsSpan(at, experts), probabilities is null ? default : probabilities.AsSpan(at, experts));
                if (row < ordered)
                    tokens.Add([.. Enumerable.Range(0, experts).Where(expert => selected[at + expert] != 0)]);
            }
            if (row < ordered)
                Ordered.Add(tokens);
        }
    }

    /// <summary>Share of a task's gate weight that each expert got; zeros where it had none.</summary>
    public double[] LoadOf(int task) => Shares(_gates[task]);

    /// <summary>What results.json says of the module.</summary>
    public ModuleRouting Summary(int layer, string projection) => new(
        name, layer, projection, Shares([.. Enumerable.Range(0, experts).Select(expert => _gates.Sum(own => own[expert]))]),
        _hasProbabilities ? [.. _probabilities.Select(sum => sum / Math.Max(1, _tokens))] : [],
        _hasProbabilities ? _entropy / Math.Max(1, _tokens) : null, _support / Math.Max(1, _tokens), _used.Sum() / Math.Max(1, _tokens),
        _used.Count(count => count == 0));

    // Effective support ‖g‖₁² / ‖g‖₂² as in RoutingStatistics.
    private void Add(int task, ReadOnlySpan<float> gates, ReadOnlySpan<float> selected, ReadOnlySpan<float> probabilities)
    {
        _tokens++;
        var (sum, squares) = (0.0, 0.0);
        for (var expert = 0; expert < experts; expert++)
        {
            _gates[task][expert] += gates[expert];
            _used[expert] += selected[expert];
            sum += gates[expert];
            squares += (double)gates[expert] * gates[expert];
            if (probabilities.IsEmpty)
                continue;
            _probabilities[expert] += probabilities[expert];
            _entropy -= probabilities[expert] * Math.Log(Math.Max(Tiny, probabilities[expert]));
        }
        _support += sum * sum / Math.Max(Tiny, squares);
    }

    private static double[] Shares(IReadOnlyList<double> sums)
    {
        var total = sums.Sum();
        return [.. sums.Select(sum => total > 0 ? sum / total : 0)];
    }

    private static float[] Numbers(Tensor values) => values.detach().to(ScalarType.Float32).to(torch.CPU).contiguous().data<float>().ToArray();
}
