using System.Globalization;
using System.Text.RegularExpressions;
using Scriban;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>A template that cannot be read, or not be carried out. The message names the template, line and column; who has a
/// better place (a row of a file, a recipe's key) makes an own message of <see cref="Faults"/>.</summary>
public sealed class TemplateException : UserException
{
    internal TemplateException(string name, IReadOnlyList<TemplateFault> faults, Exception? inner = null, string? missing = null)
        : base(string.Join('\n', faults.Select(fault => fault.Describe(name))), inner ?? new FormatException("template"))
    {
        Name = name;
        Faults = faults;
        MissingValue = missing;
    }

    /// <summary>The template's name: a file, or a recipe's key.</summary>
    public string Name { get; }

    /// <summary>What is wrong, at least one: all faults of its syntax, or the first that was met while it was carried out.</summary>
    public IReadOnlyList<TemplateFault> Faults { get; }

    /// <summary>What was to be used and has no value (<c>row.title</c>); null where something else is wrong.</summary>
    public string? MissingValue { get; }
}

/// <summary>One thing that is wrong in a template, at its place.</summary>
/// <param name="Line">Line in the template, from 1.</param>
/// <param name="Column">Column in that line, from 1.</param>
/// <param name="Found">What stands there.</param>
/// <param name="Allowed">What may stand there.</param>
/// <param name="Advice">What to do, where that is not plain from <paramref name="Allowed"/>.</param>
public sealed record TemplateFault(int Line, int Column, string Found, string Allowed, string? Advice = null)
{
    /// <summary>The place as <c>name:line:column</c>.</summary>
    public string At(string name) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{name}:{Line}:{Column}");

    /// <summary>The house's form for one error.</summary>
    internal string Describe(string name) => Fault.Text(At(name), Found, Allowed, Advice);
}

/// <summary>Scriban's complaints in words for people.</summary>
internal static partial class TemplateFaults
{
    private const int MostKnown = 30;

    public static TemplateFault Syntax(LogMessage message, string text)
    {
        var lines = text.Split('\n');
        // At the end of the text Scriban has no place.
        var (line, column) = message.Span.Start is { Line: >= 0 } start && start.Line < lines.Length ? (start.Line, start.Column) : (lines.Length - 1, lines[^1].Length);
        if (message.Message.Contains("depth limit", StringComparison.Ordinal))
            return new TemplateFault(line + 1, column + 1, "nested too deeply", $"at most {ParsedTemplate.DeepestNesting} brackets, operators and blocks in one another");
        return new TemplateFault(
            line + 1, column + 1, $"{Quote.Of(lines[line].Trim())}: {Lowered(message.Message)}", "a template in Scriban's language (https://scriban.github.io/docs)", AdviceOn(text));
    }

    public static TemplateFault UnknownName(SourceSpan span, string name, IReadOnlyCollection<string> known)
    {
        var near = NearestName.Of(name, known.Concat(TemplateFunctions.Names));
        return At(span, $"{Quote.Of(name)} is not there", Known(known), near is null ? BracesAdvice(span, name) : $"did you mean {near}?");
    }

    public static TemplateFault UnknownMember(SourceSpan span, string name, IReadOnlyCollection<string> known)
    {
        var near = NearestName.Of(name, known);
        return At(span, $"{Quote.Of(name)} is not there", Known(known), near is null ? null : $"did you mean {near}?");
    }

    /// <summary>What went wrong while a template was carried out.</summary>
    public static TemplateFault Running(ScriptRuntimeException error, string code, TemplateLimits limits)
    {
        if (error is SandboxException own)
            return own.Fault;
        var words = error.OriginalMessage ?? error.Message;
        var (found, allowed) = LimitOf(error, words, limits) ?? ($"{Quote.Of(code)}: {Lowered(words)}", "an expression that has a value");
        return At(error.Span, found, allowed, null);
    }

    public static TemplateFault At(SourceSpan span, string found, string allowed, string? advice = null) =>
        new(span.Start.Line + 1, span.Start.Column + 1, found, allowed, advice);

    public static string Counted(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    // The words are the library's; whether they are found is tested with each limit.
    private static (string Found, string Allowed)? LimitOf(ScriptRuntimeException error, string words, TemplateLimits limits) => words switch
    {
        _ when error is ScriptAbortException => ("stopped before its end", "a rendering that is not interrupted"),
        _ when error.InnerException is RegexMatchTimeoutException =>
            ("the regular expression goes on for too long", $"one that ends within {limits.RegexTime.TotalSeconds:0.#} s"),
        _ when words.Contains("iteration limit", StringComparison.Ordinal) || words.Contains("LoopLimit", StringComparison.Ordinal) =>
            ("loops without end, or nearly so", $"at most {Counted(limits.Loops)} rounds"),
        _ when words.Contains("LimitToString", StringComparison.Ordinal) || words.Contains("OutputLimit", StringComparison.Ordinal) =>
            ("the text grows too long", $"at most {Counted(limits.Characters)} characters"),
        _ when words.Contains("recursive depth", StringComparison.Ordinal) || words.Contains("too deeply nested", StringComparison.Ordinal) =>
            ("nested too deeply", $"at most {Counted(limits.Depth)} levels"),
        _ when words.Contains("No TemplateLoader", StringComparison.Ordinal) =>
            ("a template cannot include another one", "a template of its own"),
        _ => null,
    };

    private static string Known(IReadOnlyCollection<string> known) => known.Count == 0
        ? "nothing is known here"
        : "known here: " + string.Join(", ", known.Take(MostKnown)) + (known.Count > MostKnown ? ", ..." : "");

    // Only the short form's span is that of the braces.
    private static string? BracesAdvice(SourceSpan span, string name) =>
        span.Length == name.Length + 2 ? "a brace that is text is written {{ \"{\" }}" : null;

    private static string? AdviceOn(string text) =>
        SqlWords().IsMatch(text) ? "SQL is not understood here: write ==, !=, &&, ||, ! and functions such as string.contains" : null;

    private static string Lowered(string words) =>
        words.Length > 1 && char.IsUpper(words[0]) && !char.IsUpper(words[1]) ? char.ToLowerInvariant(words[0]) + words[1..].TrimEnd('.') : words.TrimEnd('.');

    [GeneratedRegex(@"<>|::|\b(AND|OR|NOT|LIKE|IN|IS|BETWEEN|CASE|CAST|SELECT)\b")]
    private static partial Regex SqlWords();
}
