namespace Peft.Recipes.Evaluation;

/// <summary>What is to be evaluated, as a command line says it.</summary>
public sealed record EvaluationRequest
{
    /// <summary>Bundles, or LoRA directories of Hugging Face PEFT.</summary>
    public IReadOnlyList<string> Adapters { get; init; } = [];

    /// <summary>The base model; null: the one that the first adapter names.</summary>
    public string? Base { get; init; }

    /// <summary>Whether the bare base is measured too.</summary>
    public bool MeasuresBase { get; init; } = true;

    /// <summary>A recipe whose tasks are known; null: those of the adapters.</summary>
    public string? Recipe { get; init; }

    /// <summary>Names of tasks or task files; empty: those of the recipes.</summary>
    public IReadOnlyList<string> Tasks { get; init; } = [];

    /// <summary>Most rows of each task; null: what the tasks say.</summary>
    public int? Rows { get; init; }

    /// <summary>Rows answered together.</summary>
    public int BatchSize { get; init; } = 16;

    /// <summary>Seed of shots, resampling and permutations.</summary>
    public int Seed { get; init; }

    /// <summary>Folder of the tasks' data.</summary>
    public string? Data { get; init; }

    /// <summary>Type of the base weights.</summary>
    public string Dtype { get; init; } = "auto";

    /// <summary>Where to compute.</summary>
    public required Device Device { get; init; }
}
