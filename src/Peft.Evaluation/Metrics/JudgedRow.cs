using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Peft.Evaluation.Tasks;

namespace Peft.Evaluation.Metrics;

/// <summary>What a model did with one question.</summary>
/// <param name="Index">The row's number.</param>
/// <param name="Prediction">What was generated; empty for the other kinds.</param>
/// <param name="LogLikelihoods">Of each choice, in nats (minus infinity for a choice that the row lacks); of plain
/// text, one sum.</param>
/// <param name="Tokens">Tokens behind the sum of plain text.</param>
/// <param name="IsTruncated">Whether the prompt was cut from the left.</param>
public sealed record RowResult(
    int Index, string Prediction, IReadOnlyList<double> LogLikelihoods, int Tokens, bool IsTruncated)
{
    /// <summary>The form in which results go to files and to other ranks; numbers keep every bit.</summary>
    internal static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };
}

/// <summary>A question, what the model did with it, and what follows from both.</summary>
/// <param name="Task">The task.</param>
/// <param name="Row">The question.</param>
/// <param name="Result">What the model did.</param>
public sealed record JudgedRow(EvaluationTask Task, TaskRow Row, RowResult Result)
{
    /// <summary>The generated answer, normalised.</summary>
    public string Prediction => TextNormalization.Apply(Result.Prediction, Task.Normalize);

    /// <summary>The expected answer, normalised.</summary>
    public string Answer => TextNormalization.Apply(Row.Answer, Task.Normalize);

    /// <summary>Index of the likeliest choice; of equal ones the first.</summary>
    public int Likeliest => IndexOfLargest(Result.LogLikelihoods);

    /// <summary>Index of the choice of the largest log-likelihood per character; of equal ones the first.</summary>
    /// <remarks>Source: acc_norm of lm-evaluation-harness 0.4.9, lm_eval/api/task.py, process_results: the length is
    /// that of the choice without the delimiter, in characters.</remarks>
    public int LikeliestPerCharacter => LikeliestPer(Row.CharactersOf);

    /// <summary>Index of the choice of the largest log-likelihood per byte of UTF-8; of equal ones the first.</summary>
    /// <remarks>Source: acc_bytes of lm-evaluation-harness 0.4.9, lm_eval/api/task.py, process_results.</remarks>
    public int LikeliestPerByte => LikeliestPer(Row.BytesOf);

    /// <summary>Whether several choices share the largest log-likelihood.</summary>
    public bool IsTie =>
        Task.HasChoices && Result.LogLikelihoods.Count(value => value == Result.LogLikelihoods[Likeliest]) > 1;

    /// <summary>Whether the answer is the expected one.</summary>
    public bool IsCorrect => Task.HasChoices ? Likeliest == Row.Gold : Prediction == Answer;

    /// <summary>Mean of the labels' numbers, weighted by their probabilities among each other.</summary>
    public double ExpectedGrade
    {
        get
        {
            var largest = Result.LogLikelihoods.Max();
            var weights = Result.LogLikelihoods.Select(value => Math.Exp(value - largest)).ToArray();
            return weights.Zip(Task.Labels, (weight, label) => weight * EvaluationTask.Number(label)!.Value)
                .Sum() / weights.Sum();
        }
    }

    /// <summary>The expected answer as number.</summary>
    public double Grade => EvaluationTask.Number(Row.Answer)!.Value;

    /// <summary>What the model answered, in words.</summary>
    public string Shown => Task.Kind switch
    {
        TaskKind.Generation => Result.Prediction,
        TaskKind.Perplexity => "",
        _ when Task.IsGraded => ExpectedGrade.ToString("F3", CultureInfo.InvariantCulture),
        _ => Task.Labels[Task.Metrics[0] switch
        {
            "acc_norm" => LikeliestPerCharacter,
            "acc_bytes" => LikeliestPerByte,
            _ => Likeliest,
        }],
    };

    // Choices that are there have at least one character.
    private int LikeliestPer(Func<int, int> length) => IndexOfLargest(
        [
            .. Result.LogLikelihoods.Select(
                (value, at) => Row.Choices[at] is null ? double.NegativeInfinity : value / length(at)),
        ]);

    private static int IndexOfLargest(IReadOnlyList<double> values)
    {
        var best = 0;
        for (var i = 1; i < values.Count; i++)
        {
            if (values[i] > values[best])
                best = i;
        }
        return best;
    }
}
