namespace Peft.Evaluation.Tasks;

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
    public static IReadOnlyList<string> Names { get; } = ["generation", "multiple_choice", "classification", "perplexity"];

    /// <summary>The name of a kind.</summary>
    public static string NameOf(TaskKind kind) => Names[(int)kind];

    /// <summary>The kind of a name in <see cref="Names"/>.</summary>
    public static TaskKind Named(string name) => (TaskKind)Names.ToList().IndexOf(name);
}
