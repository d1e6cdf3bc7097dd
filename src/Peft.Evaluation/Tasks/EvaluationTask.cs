using System.Globalization;
using Peft.Chat;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats.Configuration;

namespace Peft.Evaluation.Tasks;

/// <summary>
/// What is measured: rows of a data source, how a row becomes a question, and by which metrics its answers are judged.
/// </summary>
/// <remarks>The properties with a key are those of a task file.</remarks>
public sealed record EvaluationTask
{
    /// <summary>The most tokens that an answer may be allowed.</summary>
    public const int MostNewTokens = 4096;

    /// <summary>Its name in commands and results.</summary>
    public required string Name { get; init; }

    /// <summary>How it is measured.</summary>
    public required TaskKind Kind { get; init; }

    /// <summary>
    /// Where the rows come from: prompt and answer by template, as in training. Choices and contexts are their fields.
    /// </summary>
    public required IReadOnlyList<DataSetOptions> Sources { get; init; }

    /// <summary>The answers there are, in the order of the choices.</summary>
    [Key]
    public IReadOnlyList<string> Labels { get; init; } = [];

    /// <summary>What may follow the prompt, one text for each label.</summary>
    public IReadOnlyList<TextTemplate> Choices { get; init; } = [];

    /// <summary>What stands between the prompt and each choice (partial evaluation); empty: nothing.</summary>
    public IReadOnlyList<TextTemplate> Contexts { get; init; } = [];

    /// <summary>The metrics, the first one the main one.</summary>
    [Key]
    public required IReadOnlyList<string> Metrics { get; init; }

    /// <summary>Solved examples before each prompt.</summary>
    [Key]
    public ShotOptions Shots { get; init; } = new();

    /// <summary>Whether prompts are put to the model as a user's message, through its chat template. Rows that are
    /// conversations always are.</summary>
    [Key]
    public bool ApplyChatTemplate { get; init; }

    /// <summary>Texts that end a generated answer.</summary>
    [Key]
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>What is done to prediction and answer before they are compared.</summary>
    [Key]
    public IReadOnlyList<string> Normalize { get; init; } = [];

    /// <summary>Most tokens of a generated answer.</summary>
    [Key(Min = 1, Max = MostNewTokens)]
    public int MaxNewTokens { get; init; } = 64;

    /// <summary>Most rows, from the start; null: all.</summary>
    [Key(Min = 1)]
    public int? Rows { get; init; }

    /// <summary>Longest sequence in tokens; null: the model's context.</summary>
    [Key(Min = 2)]
    public int? MaxLength { get; init; }

    /// <summary>Where it was written, for messages.</summary>
    public string Place { get; init; } = "";

    /// <summary>True when choices are compared by their likelihood.</summary>
    public bool HasChoices => Kind is TaskKind.MultipleChoice or TaskKind.Classification;

    /// <summary>True when the labels are numbers and answers lie between them (correlations).</summary>
    public bool IsGraded => Metrics.Any(name => name is "pearson" or "spearman");

    /// <summary>The files, for results.</summary>
    public string DataName => string.Join(", ", Sources.SelectMany(source => source.Files));

    /// <summary>A label or an answer as number, or null.</summary>
    public static double? Number(string text) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value)
            ? value : null;
}

/// <summary>How a task is measured.</summary>
public enum TaskKind
{
    /// <summary>The model writes an answer by greedy decoding.</summary>
    Generation,

    /// <summary>The likeliest of a row's own choices is the answer.</summary>
    MultipleChoice,

    /// <summary>The likeliest of fixed labels is the answer.</summary>
    Classification,

    /// <summary>How likely plain text is.</summary>
    Perplexity,
}

/// <summary>Names of the kinds, as in task files and results.</summary>
public static class TaskKinds
{
    /// <summary>The names, in the order of <see cref="TaskKind"/>.</summary>
    public static IReadOnlyList<string> Names { get; } =
    [
        "generation", "multiple_choice", "classification", "perplexity",
    ];

    /// <summary>The name of a kind.</summary>
    public static string NameOf(TaskKind kind) => Names[(int)kind];

    /// <summary>The kind of a name in <see cref="Names"/>.</summary>
    public static TaskKind Named(string name) => (TaskKind)Names.ToList().IndexOf(name);
}

/// <summary>Solved examples that are put before every prompt (key <c>shots:</c> of a task).</summary>
public sealed record ShotOptions
{
    /// <summary>How many; 0: none.</summary>
    [Key(Min = 0, Max = 100)]
    public int Count { get; init; }

    /// <summary>Where they come from; columns and templates are those of the task.</summary>
    [Key]
    public IReadOnlyList<string> Files { get; init; } = [];

    /// <summary>Which rows are drawn; the same for every prompt.</summary>
    [Key]
    public long Seed { get; init; }

    /// <summary>What is put behind each.</summary>
    [Key]
    public string Separator { get; init; } = "\n\n";
}

/// <summary>One question.</summary>
/// <param name="Index">Its number among the task's rows, from 0.</param>
/// <param name="Source">Where it came from.</param>
/// <param name="Prompt">What is given to the model, shots included; empty for plain text.</param>
/// <param name="Answer">What is expected; of plain text, the text.</param>
public sealed record TaskRow(int Index, RowId Source, string Prompt, string Answer)
{
    /// <summary>What stands before the answer where the row is a conversation; null for plain prompts.</summary>
    public Conversation? Conversation { get; init; }

    /// <summary>What may follow the prompt; choices that a row lacks (empty texts) are null.</summary>
    public IReadOnlyList<string?> Choices { get; init; } = [];

    /// <summary>What stands between the prompt and each choice.</summary>
    public IReadOnlyList<string> Contexts { get; init; } = [];

    /// <summary>Index of the expected choice; -1 where the answer is no label (text, numbers between labels).</summary>
    public int Gold { get; init; } = -1;

    /// <summary>The text before a choice.</summary>
    public string ContextOf(int choice) => Contexts.Count == 0 ? Prompt : Prompt + Contexts[choice];

    /// <summary>Characters (code points) of a choice, less the space that delimits it from the context.</summary>
    public int CharactersOf(int choice) => Undelimited(choice).EnumerateRunes().Count();

    /// <summary>Bytes of a choice in UTF-8, less the space that delimits it from the context.</summary>
    public int BytesOf(int choice) => System.Text.Encoding.UTF8.GetByteCount(Undelimited(choice));

    private string Undelimited(int choice) =>
        Choices[choice]!.StartsWith(' ') ? Choices[choice]![1..] : Choices[choice]!;
}
