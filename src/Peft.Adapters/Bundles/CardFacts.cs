namespace Peft.Adapters.Bundles;

/// <summary>One number of an evaluation, as a model card tells it.</summary>
/// <param name="Task">The task.</param>
/// <param name="Metric">The metric's name.</param>
/// <param name="Value">The value.</param>
/// <param name="Rows">Rows it was measured on.</param>
public sealed record CardMetric(string Task, string Metric, double Value, int Rows);

/// <summary>What a model card tells beside the settings.</summary>
public sealed record CardFacts
{
    /// <summary>Nothing more.</summary>
    public static CardFacts None { get; } = new();

    /// <summary>Evaluation numbers.</summary>
    public IReadOnlyList<CardMetric> Metrics { get; init; } = [];

    /// <summary>The licence in the Hub's spelling; null where it is not known.</summary>
    public string? License { get; init; }
}
