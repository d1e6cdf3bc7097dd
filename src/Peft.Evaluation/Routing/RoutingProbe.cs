using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Evaluation.Results;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Formats.HuggingFace;
using Peft.Models;

namespace Peft.Evaluation.Routing;

/// <summary>Watches the experts over the rows of the tasks, each prompt with its expected answer once.</summary>
/// <remarks>
/// A pass of its own rather than the passes that answer: every token counts once whatever the batch size, the number of
/// choices and the length of what is generated, and an interrupted evaluation need not keep what it saw.
/// </remarks>
public static class RoutingProbe
{
    private const int MostRows = 256; // of a task
    private const int MostOrderedRows = 16; // of a task, where the order of tokens counts: SRP and SCH look at windows
    private static readonly int[] Segments = [4, 16, 64];

    /// <summary>Measures one subject.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="adapted">The model with the adapter.</param>
    /// <param name="evaluator">Encodes the tasks' texts.</param>
    /// <param name="tasks">The tasks.</param>
    /// <param name="taskIdOf">Ids of tasks, for routers that go by task.</param>
    /// <param name="batchSize">Rows run together.</param>
    /// <returns>What the experts did; null where no module routes.</returns>
    public static SubjectRouting? Measure(
        string name, AdaptedModel adapted, TaskEvaluator evaluator, IReadOnlyList<TaskData> tasks,
        Func<string, long?> taskIdOf, int batchSize)
    {
        var modules = new Dictionary<string, ModuleCounts>(StringComparer.Ordinal);
        foreach (var (task, data) in tasks.Index())
        {
            var sequences = data.Rows.Take(MostRows)
                .Select(row => Sequence(evaluator.EncoderOf(data.Task), data.Task, row)).ToList();
            var ordered = 0;
            foreach (var batch in sequences.Chunk(batchSize))
            {
                Run(adapted.Model, batch, taskIdOf(data.Task.Name), (record, lengths) =>
                    Of(modules, record, tasks.Count)
                        .Add(task, record.Decision, lengths, Math.Max(0, MostOrderedRows - ordered)));
                ordered += batch.Length;
            }
        }
        return modules.Count == 0 ? null : Summary(name, adapted, tasks, [.. modules.Values]);
    }

    private static ModuleCounts Of(Dictionary<string, ModuleCounts> modules, RoutingRecord record, int tasks)
    {
        if (!modules.TryGetValue(record.Module, out var counts))
            modules.Add(record.Module, counts = new ModuleCounts(record.Module, record.Experts, tasks));
        return counts;
    }

    private static IReadOnlyList<int> Sequence(PromptEncoder encoder, EvaluationTask task, TaskRow row)
    {
        var ids = task.Kind switch
        {
            TaskKind.Perplexity => encoder.Windows(row.Answer) is [var first, ..] ? first.Ids : [],
            _ when row.Gold >= 0 => encoder.Pair(row.ContextOf(row.Gold), row.Choices[row.Gold]!).Ids,
            _ => encoder.Pair(row.Prompt, task.IsGraded ? " " + row.Answer : row.Answer).Ids,
        };
        return ids.Count > 1 ? [.. ids.Take(ids.Count - 1)] : ids;
    }

    // Padded on the right, where causality hides it.
    private static void Run(
        CausalLanguageModel model, IReadOnlyList<int>[] rows, long? taskId,
        Action<RoutingRecord, IReadOnlyList<int>> watch)
    {
        using var noGrad = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var (B, T) = (rows.Length, Math.Max(1, rows.Max(row => row.Count)));
        var ids = new long[B * T];
        var real = new bool[B * T];
        for (var row = 0; row < B; row++)
        {
            for (var t = 0; t < rows[row].Count; t++)
                (ids[row * T + t], real[row * T + t]) = (rows[row][t], true);
        }
        var pass = ForwardPass.ForInference(
            taskIds: ForwardPass.TaskIdsOf(taskId, B, model.Device),
            tokenMask: torch.tensor(real, [B, T], device: model.Device));
        model.Hidden(torch.tensor(ids, [B, T], device: model.Device), pass);
        foreach (var record in pass.Records<RoutingRecord>())
            watch(record, [.. rows.Select(row => row.Count)]);
    }

    private static SubjectRouting Summary(
        string name, AdaptedModel adapted, IReadOnlyList<TaskData> tasks, IReadOnlyList<ModuleCounts> modules)
    {
        var isUniform = modules.All(module => module.Experts == modules[0].Experts);
        return new(
            name, [.. tasks.Select(data => data.Task.Name)],
            [
                // The head belongs to no layer.
                .. modules.Select(module => module.Summary(
                    ModulePattern.LayerOf(module.Name) ?? -1, module.Name[(module.Name.LastIndexOf('.') + 1)..])),
            ],
            isUniform && tasks.Count > 1 ? ByTask(modules, tasks.Count) : null,
            isUniform ? Similarity(adapted, modules) : null,
            isUniform ? Srp(modules) : null, isUniform ? Sch(modules) : null)
        {
            SharedExperts = adapted.Options.Experts.Shared,
            TaskDistance = tasks.Count > 1 ? TaskDistance(modules, tasks.Count) : null,
        };
    }

    private static ExpertByTask ByTask(IReadOnlyList<ModuleCounts> modules, int tasks)
    {
        IReadOnlyList<IReadOnlyList<double>> matrix =
        [
            .. Enumerable.Range(0, tasks)
                .Select(task => (IReadOnlyList<double>)[.. Enumerable.Range(0, modules[0].Experts)
                .Select(expert => modules.Average(module => module.LoadOf(task)[expert]))]),
        ];
        return new(matrix, RoutingMath.MutualInformation(matrix), RoutingMath.NormalizedMutualInformation(matrix));
    }

    // Of two tasks the mutual information of task and expert is their Jensen-Shannon divergence, ln 2 at most.
    private static IReadOnlyList<IReadOnlyList<double>> TaskDistance(IReadOnlyList<ModuleCounts> modules, int tasks)
    {
        var all = Enumerable.Range(0, tasks);
        return [.. all.Select(a => (IReadOnlyList<double>)[.. all.Select(b => modules.Average(module =>
            RoutingMath.MutualInformation([module.LoadOf(a), module.LoadOf(b)]) / Math.Log(2)))])];
    }

    // Of experts that are ranks of one factor there is nothing to compare.
    private static IReadOnlyList<IReadOnlyList<double>>? Similarity(
        AdaptedModel adapted, IReadOnlyList<ModuleCounts> modules)
    {
        var experts = modules[0].Experts;
        using var noGrad = torch.no_grad();
        var each = experts < 2 ? [] : adapted.Modules.Where(module => module.Router is not null)
            .Select(module => Cosines(module, experts)).OfType<IReadOnlyList<IReadOnlyList<double>>>().ToList();
        if (each.Count == 0)
            return null;
        var all = Enumerable.Range(0, experts);
        return [.. all.Select(a => (IReadOnlyList<double>)[.. all.Select(b => Mean(each, a, b))])];
    }

    // Where an expert was never trained it has no direction: its cosine, with itself too, is 0 there.
    private static double Mean(List<IReadOnlyList<IReadOnlyList<double>>> each, int a, int b) =>
        each.Where(one => one[a][a] > 0 && one[b][b] > 0).Select(one => one[a][b]).DefaultIfEmpty(0).Average();

    // Of all experts that its router chooses from, those of a whole pool; null where it chooses ranks.
    private static IReadOnlyList<IReadOnlyList<double>>? Cosines(MixtureProjection module, int experts)
    {
        using var scope = torch.NewDisposeScope();
        var rank = module.Shape.Rank;
        var (down, up) = (module.AllDown(), module.AllUp());
        return up.shape[1] != (long)(experts + module.Shape.Shared) * rank ? null : ExpertSimilarity.Cosines(
            down.narrow(0, 0, (long)experts * rank), up.narrow(1, 0, (long)experts * rank),
            [.. Enumerable.Repeat(rank, experts)]);
    }

    private static SegmentRouting? Srp(IReadOnlyList<ModuleCounts> modules)
    {
        var (segments, values, ratios) = (new List<int>(), new List<double>(), new List<double>());
        foreach (var length in Segments)
        {
            var counter = new SegmentRoutingCounter(modules[0].Experts, length);
            foreach (var sequence in modules.SelectMany(module => module.Ordered))
                counter.Add(sequence);
            if (!counter.Any)
                continue;
            segments.Add(length);
            values.Add(counter.Value);
            ratios.Add(counter.SizeRatio);
        }
        return segments.Count == 0 ? null : new(segments, values) { SizeRatios = ratios };
    }

    private static SegmentCache? Sch(IReadOnlyList<ModuleCounts> modules)
    {
        var sequences = modules.SelectMany(module => module.Ordered).ToList();
        if (sequences.Count == 0)
            return null;
        int[] sizes = [.. Enumerable.Range(1, modules[0].Experts)];
        return new(Segments, sizes, [.. Segments.Select(length =>
        {
            var counter = new SegmentCacheCounter(modules[0].Experts, length);
            foreach (var sequence in sequences)
                counter.Add(sequence);
            return (IReadOnlyList<double>)[.. sizes.Select(counter.HitRate)];
        })]);
    }
}

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
                Add(
                    task, gates.AsSpan(at, experts), selected.AsSpan(at, experts),
                    probabilities is null ? default : probabilities.AsSpan(at, experts));
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
        name, layer, projection,
        Shares([.. Enumerable.Range(0, experts).Select(expert => _gates.Sum(own => own[expert]))]),
        _hasProbabilities ? [.. _probabilities.Select(sum => sum / Math.Max(1, _tokens))] : [],
        _hasProbabilities ? _entropy / Math.Max(1, _tokens) : null, _support / Math.Max(1, _tokens),
        _used.Sum() / Math.Max(1, _tokens),
        _used.Count(count => count == 0))
    {
        TaskInformation = tasks > 1
            ? RoutingMath.NormalizedMutualInformation([.. Enumerable.Range(0, tasks).Select(LoadOf)]) : null,
    };

    // Effective support ‖g‖₁² / ‖g‖₂² as in RoutingStatistics.
    private void Add(
        int task, ReadOnlySpan<float> gates, ReadOnlySpan<float> selected, ReadOnlySpan<float> probabilities)
    {
        _tokens++;
        var (sum, squares) = (0.0, 0.0);
        for (var expert = 0; expert < experts; expert++)
        {
            var gate = Math.Abs(gates[expert]);
            _gates[task][expert] += gate;
            _used[expert] += selected[expert];
            sum += gate;
            squares += (double)gate * gate;
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

    private static float[] Numbers(Tensor values) =>
        values.detach().to(ScalarType.Float32).Values<float>();
}
