namespace Peft.Jinja;

/// <summary>What kind of error a template made.</summary>
public enum JinjaErrorKind
{
    /// <summary>The template is not Jinja.</summary>
    Syntax,

    /// <summary>The template refused its input by <c>raise_exception</c>; the message is the template's own.</summary>
    Raised,

    /// <summary>An operation of the template cannot be done.</summary>
    Runtime,

    /// <summary>The template went beyond a limit of <see cref="JinjaLimits"/>.</summary>
    Limit,
}

/// <summary>An error of a template.</summary>
public sealed class JinjaException : Exception
{
    /// <summary>Makes the error.</summary>
    public JinjaException(JinjaErrorKind kind, string message, int line = 0)
        : base(message) => (Kind, Line) = (kind, line);

    /// <summary>What kind it is.</summary>
    public JinjaErrorKind Kind { get; }

    /// <summary>Line in the template, from 1; 0 where it is not known.</summary>
    public int Line { get; internal set; }
}

/// <summary>What a template that others wrote may use up.</summary>
/// <param name="Steps">Most expressions and statements evaluated.</param>
/// <param name="Depth">Deepest nesting of calls and loops.</param>
/// <param name="Time">Longest time of one rendering.</param>
public sealed record JinjaLimits(long Steps, int Depth, TimeSpan Time)
{
    /// <summary>Ample for real templates: 10 million steps, 200 levels deep, 20 seconds.</summary>
    public static JinjaLimits Default { get; } = new(10_000_000, 200, TimeSpan.FromSeconds(20));

    /// <summary>Characters of the longest text, and items of the longest list, that a template may build.</summary>
    internal const int Longest = 32_000_000;
}
