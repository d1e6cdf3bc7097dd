namespace Peft.Models;

/// <summary>How text is generated.</summary>
public sealed record GenerationOptions
{
    /// <summary>Most tokens to add.</summary>
    /// <value>128 by default; at least 1.</value>
    public int MaxNewTokens { get; init; } = 128;

    /// <summary>Divides the logits before sampling.</summary>
    /// <value>0 by default: the likeliest token each time (greedy); 0.7 to 1 is usual for text.</value>
    public double Temperature { get; init; }

    /// <summary>Samples from the smallest set of likeliest tokens that holds this much probability.</summary>
    /// <value>1 by default: all tokens; above 0.</value>
    public double TopP { get; init; } = 1;

    /// <summary>Samples from this many likeliest tokens.</summary>
    /// <value>0 by default: all tokens.</value>
    public int TopK { get; init; }

    /// <summary>Seed of sampling; a prompt's stream depends on it and on the prompt, not on the batch around it.</summary>
    /// <value>0 by default.</value>
    public long Seed { get; init; }

    /// <summary>Tokens that end a text.</summary>
    /// <value>null by default: the model's own; empty: none.</value>
    public IReadOnlyList<int>? EosTokenIds { get; init; }

    /// <summary>Task of all prompts, for routers that go by task.</summary>
    /// <value>null by default: none.</value>
    public long? TaskId { get; init; }

    /// <summary>Asked after each token of a prompt's continuation whether that continuation ends there.</summary>
    /// <value>null by default: only <see cref="EosTokenIds"/> end a text.</value>
    public Func<IReadOnlyList<int>, bool>? IsFinished { get; init; }
}
