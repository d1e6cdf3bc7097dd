namespace Peft.Formats.Templates;

/// <summary>
/// What one rendering may take. A template may be a stranger's: it can reach no file, no network and no member of a .NET type, and
/// it ends. Scriban bounds loops, recursion, each text and each regular expression; time and memory are counted here, since
/// within those bounds many large texts or branching functions could still fill the machine.
/// </summary>
public sealed record TemplateLimits
{
    /// <summary>Rounds of all loops of a rendering, and of one built-in function.</summary>
    public int Loops { get; init; } = 1_000_000;

    /// <summary>Functions that call each other, and nested blocks.</summary>
    public int Depth { get; init; } = 100;

    /// <summary>Characters of the output and of each text in between.</summary>
    public int Characters { get; init; } = 64 << 20;

    /// <summary>Bytes that a rendering may take from memory, what it drops again counted too.</summary>
    public long Bytes { get; init; } = 2L << 30;

    /// <summary>Time of a rendering.</summary>
    public TimeSpan Time { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Time of one use of a regular expression.</summary>
    public TimeSpan RegexTime { get; init; } = TimeSpan.FromSeconds(1);
}
