using Peft.Evaluation.Metrics;

namespace Peft.Evaluation.Results;

/// <summary>One adapter after each data set of a sequence that it was trained on, measured on the tasks of
/// all.</summary>
/// <param name="Stages">Names of subjects: the adapter after the first data set, after the second, ...</param>
/// <param name="Tasks">The task of each data set, in the same order.</param>
public sealed record MeasuredSequence(IReadOnlyList<string> Stages, IReadOnlyList<string> Tasks);

/// <summary>What an adapter forgot over a sequence of data sets, by the main metric of each task.</summary>
/// <remarks>
/// Source: R[i, j] is the score on task j after data set i of T. Forgetting of j: the best of R[0 … T − 2, j] less
/// R[T − 1, j] (Chaudhry et al. 2018, arXiv:1801.10112). Backward transfer of j: R[T − 1, j] less R[j, j] (Lopez-Paz
/// and Ranzato 2017, arXiv:1706.08840). Both over all tasks but the last, differences taken so that more is better:
/// those of an error rate have the other sign.
/// </remarks>
public sealed class Forgetting
{
    private readonly ResultsDocument _results;
    private readonly MeasuredSequence _sequence;

    /// <summary>Of one sequence of these results.</summary>
    public Forgetting(ResultsDocument results, MeasuredSequence sequence) =>
        (_results, _sequence) = (results, sequence);

    /// <summary>Number of stages, and of tasks.</summary>
    public int Count => _sequence.Stages.Count;

    /// <summary>The score of a task after a stage; null where it was not measured.</summary>
    public double? Score(int stage, int task) => MeasuredOn(task) is { } measured
        ? _results.ScoreOf(_sequence.Stages[stage], measured.Name, measured.Main.Name)?.Value : null;

    /// <summary>What was forgotten of a task; below 0 where it went on getting better. Null for the last one.</summary>
    public double? Forgotten(int task) => task < Count - 1 && Gain(Count - 1, task) is { } last
        && Enumerable.Range(0, Count - 1).Select(stage => Gain(stage, task)).Max() is { } best ? best - last : null;

    /// <summary>What learning the rest did to a task; null for the last one.</summary>
    public double? Transferred(int task) => task < Count - 1 && Gain(Count - 1, task) is { } last
        && Gain(task, task) is { } learned ? last - learned : null;

    /// <summary>Mean forgetting.</summary>
    public double? Mean => MeanOf(Forgotten);

    /// <summary>Mean backward transfer.</summary>
    public double? BackwardTransfer => MeanOf(Transferred);

    private double? MeanOf(Func<int, double?> value) =>
        Enumerable.Range(0, Count - 1).Select(value).OfType<double>().ToList() is { Count: > 0 } values
            ? values.Average() : null;

    private double? Gain(int stage, int task) =>
        Score(stage, task) is not { } score ? null : MeasuredOn(task)!.Main.HigherIsBetter ? score : -score;

    private MeasuredTask? MeasuredOn(int task) =>
        _results.Tasks.FirstOrDefault(measured => measured.Name == _sequence.Tasks[task]);
}
