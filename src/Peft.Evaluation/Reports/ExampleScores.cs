namespace Peft.Evaluation.Reports;

/// <summary>Scores of rows by subject and task, in the order of the rows' numbers.</summary>
public sealed class ExampleScores
{
    private readonly Dictionary<(string Subject, string Task), (long[] Rows, double[] Scores)> _scores = [];

    /// <summary>Notes the scores of one subject on one task.</summary>
    public void Add(string subject, string task, IReadOnlyList<(long Row, double Score)> scores)
    {
        var ordered = scores.OrderBy(s => s.Row).ToList();
        _scores.TryAdd((subject, task), ([.. ordered.Select(s => s.Row)], [.. ordered.Select(s => s.Score)]));
    }

    /// <summary>The scores, or null where they are not known.</summary>
    public double[]? Of(string subject, string task) => _scores.TryGetValue((subject, task), out var found) ? found.Scores : null;

    /// <summary>Whether both subjects were scored on the same rows of a task.</summary>
    public bool AreSameRows(string task, string a, string b) =>
        _scores.TryGetValue((a, task), out var first) && _scores.TryGetValue((b, task), out var second) && first.Rows.AsSpan().SequenceEqual(second.Rows);
}
