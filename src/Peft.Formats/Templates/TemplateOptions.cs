namespace Peft.Formats.Templates;

/// <summary>How templates are carried out.</summary>
public sealed record TemplateOptions
{
    /// <summary>What a rendering may take.</summary>
    public TemplateLimits Limits { get; init; } = new();

    /// <summary>Whether null may be printed (as nothing) and handed to functions. If not, only conditions, comparisons, <c>??</c> and
    /// <c>object.</c> functions may meet one.</summary>
    public bool AllowsNull { get; init; }

    /// <summary>What is done to each printed value, for example to escape HTML; null for nothing. <c>{{ text | raw }}</c> is exempt.</summary>
    public Func<string, string>? Escape { get; init; }

    /// <summary>Further functions: name and delegate.</summary>
    public IReadOnlyDictionary<string, Delegate> Functions { get; init; } = new Dictionary<string, Delegate>();

    /// <summary>Names of functions that are not to be had.</summary>
    public IReadOnlyCollection<string> Without { get; init; } = [];

    /// <summary>Stops a rendering.</summary>
    public CancellationToken Cancellation { get; init; }
}
