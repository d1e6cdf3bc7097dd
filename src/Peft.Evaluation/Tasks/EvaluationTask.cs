using Peft.Data.Examples;

namespace Peft.Evaluation.Tasks;

/// <summary>What is measured: rows of a data source, how a row becomes a question, and by which metrics its answers are judged.</summary>
public sealed record EvaluationTask
{
    /// <summary>Most tokens of a generated answer unless the task says otherwise.</summary>
    public const int DefaultNewTokens = 64;

    /// <summary>Its name in commands and results.</summary>
    public required string Name { get; init; }

    /// <summary>How it is measured.</summary>
    public required TaskKind Kind { get; init; }

    /// <summary>Where the rows come from: prompt and answer by template, as in training. Choices and contexts are their fields.</summary>
    public required IReadOnlyList<DataSetOptions> Sources { get; init; }

    /// <summary>The metrics, the first one the main one.</summary>
    public required IReadOnlyList<string> Metrics { get; init; }

    /// <summary>What may follow the prompt, one text for each label.</summary>
    public IReadOnlyList<TextTemplate> Choices { get; init; } = [];

    /// <summary>What stands between the prompt and each choice (partial evaluation); empty: nothing.</summary>
    public IReadOnlyList<TextTemplate> Contexts { get; init; } = [];

    /// <summary>The answers there are, in the order of the choices.</summary>
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>Solved examples before each prompt.</summary>
    public ShotOptions Shots { get; init; } = ShotOptions.None;

    /// <summary>Texts that end a generated answer.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>What is done to prediction and answer before they are compared.</summary>
    public IReadOnlyList<string> Normalize { get; init; } = [];

    /// <summary>Most tokens of a generated answer.</summary>
    public int MaxNewTokens { get; init; } = DefaultNewTokens;

    /// <summary>Most rows, from the start; null: all.</summary>
    public int? Rows { get; init; }

    /// <summary>Longest sequence in tokens; null: the model's context.</summary>
    public int? MaxLength { get; init; }

    /// <summary>Where it was written, for messages.</summary>
    public string Place { get; init; } = "";

    /// <summary>True when choices are compared by their likelihood.</summary>
    public bool HasChoices => Kind is TaskKind.MultipleChoice or TaskKind.Classification;

    /// <summary>True when the labels are numbers and answers lie between them (correlations).</summary>
    public bool IsGraded => Metrics.Any(name => name is "pearson" or "spearman");

    /// <summary>The files, for results.</summary>
    public string DataName => string.Join(", ", Sources.SelectMany(source => source.Files));
}
