using System.Globalization;
using System.Text.RegularExpressions;
using Scriban;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>A template that cannot be read or rendered. The message names the template, line and column; who
/// has a better place (a row of a file, a recipe's key) makes an own message of <see cref="Faults"/>.</summary>
public sealed class TemplateException : UserException
{
    internal TemplateException(
        string name, IReadOnlyList<TemplateFault> faults, Exception? inner = null, string? missing = null)
        : base(string.Join('\n', faults.Select(fault => fault.In(name).ToString())), inner
            ?? new FormatException("template"))
    {
        Name = name;
        Faults = faults;
        MissingValue = missing;
    }

    /// <summary>The template's name: a file, or a recipe's key.</summary>
    public string Name { get; }

    /// <summary>What is wrong, at least one: all faults of its syntax, or the first that was met while it was
    /// rendered.</summary>
    public IReadOnlyList<TemplateFault> Faults { get; }

    /// <summary>What was to be used and has no value (<c>row.title</c>); null where something else is wrong.</summary>
    public string? MissingValue { get; }
}

/// <summary>One thing that is wrong in a template, at its place.</summary>
/// <param name="Line">Line in the template, from 1.</param>
/// <param name="Column">Column in that line, from 1.</param>
/// <param name="Found">As in <see cref="Fault"/>.</param>
/// <param name="Expected">As in <see cref="Fault"/>.</param>
/// <param name="Advice">As in <see cref="Fault"/>.</param>
public sealed record TemplateFault(int Line, int Column, string Found, string? Expected = null, string? Advice = null)
{
    /// <summary>What was found with its place in the text, where the text itself is a value at another place.</summary>
    public string FoundInText =>
        string.Create(CultureInfo.InvariantCulture, $"line {Line}, column {Column} of the text: {Found}");

    /// <summary>The fault of a template of this name, at <c>name:line:column</c>.</summary>
    public Fault In(string name) =>
        new(string.Create(CultureInfo.InvariantCulture, $"{name}:{Line}:{Column}"), Found, Expected, Advice);
}

/// <summary>Scriban's complaints in words for people.</summary>
internal static partial class TemplateFaults
{
    public const string Documentation = "see https://scriban.github.io/docs for the language of templates";

    private const int MostKnown = 30;

    public static TemplateFault Syntax(LogMessage message, string text)
    {
        var lines = text.Split('\n');
        // At the end of the text Scriban has no place.
        var (line, column) = message.Span.Start is { Line: >= 0 } start && start.Line < lines.Length
            ? (start.Line, start.Column)
            : (lines.Length - 1, lines[^1].Length);
        if (message.Message.Contains("depth limit", StringComparison.Ordinal))
            return new TemplateFault(
                line + 1, column + 1, "nested too deeply",
                $"at most {ParsedTemplate.DeepestNesting} brackets, operators and blocks inside one another");
        return new TemplateFault(
            line + 1, column + 1, $"{Quote.Of(lines[line].Trim())}: {Plain(message.Message)}", null, AdviceOn(text)
                ?? Documentation);
    }

    public static TemplateFault UnknownName(SourceSpan span, string name, IReadOnlyCollection<string> known)
    {
        var near = NearestName.Of(name, known.Concat(TemplateFunctions.Names));
        return At(
            span, $"unknown name {Quote.Of(name)}", Known(known),
            near is null ? BracesAdvice(span, name) : $"did you mean {near}?");
    }

    public static TemplateFault UnknownMember(SourceSpan span, string name, IReadOnlyCollection<string> known)
    {
        var near = NearestName.Of(name, known);
        return At(
            span, $"unknown member {Quote.Of(name)}", Known(known), near is null ? null : $"did you mean {near}?");
    }

    /// <summary>What went wrong while a template was rendered.</summary>
    public static TemplateFault Running(ScriptRuntimeException error, string code, TemplateLimits limits)
    {
        if (error is SandboxException own)
            return own.Fault;
        var words = error.OriginalMessage ?? error.Message;
        var (found, expected) = LimitOf(error, words, limits) ?? ($"{Quote.Of(code)}: {Lowered(words)}", null);
        return At(error.Span, found, expected);
    }

    public static TemplateFault At(SourceSpan span, string found, string? expected = null, string? advice = null) =>
        new(span.Start.Line + 1, span.Start.Column + 1, found, expected, advice);

    public static string Counted(long count) => count.ToString("N0", CultureInfo.InvariantCulture);

    // The words are the library's; whether they are found is tested with each limit.
    private static (string Found, string? Expected)? LimitOf(
        ScriptRuntimeException error, string words, TemplateLimits limits) => words switch
        {
            _ when error is ScriptAbortException => ("interrupted before its end", null),
            _ when error.InnerException is RegexMatchTimeoutException =>
                ("the regular expression takes too long", $"at most {limits.RegexTime.TotalSeconds:0.#} s"),
            _ when words.Contains("iteration limit", StringComparison.Ordinal)
                || words.Contains("LoopLimit", StringComparison.Ordinal) =>
                ("a loop runs too long", $"at most {Counted(limits.Loops)} iterations"),
            _ when words.Contains("LimitToString", StringComparison.Ordinal)
                || words.Contains("OutputLimit", StringComparison.Ordinal) =>
                ("the text grows too long", $"at most {Counted(limits.Characters)} characters"),
            _ when words.Contains("recursive depth", StringComparison.Ordinal)
                || words.Contains("too deeply nested", StringComparison.Ordinal) =>
                ("nested too deeply", $"at most {Counted(limits.Depth)} levels"),
            _ when words.Contains("No TemplateLoader", StringComparison.Ordinal) =>
                ("a template cannot include another one", null),
            _ => null,
        };

    private static string? Known(IReadOnlyCollection<string> known) => known.Count == 0
        ? null
        : known.Count <= MostKnown ? Words.OneOf([.. known])
        : $"{string.Join(", ", known.Take(MostKnown))} or one of {known.Count - MostKnown} more";

    // Only the short form's span is that of the braces.
    private static string? BracesAdvice(SourceSpan span, string name) =>
        span.Length == name.Length + 2 ? "write a brace that is text as {{ \"{\" }}" : null;

    private static string? AdviceOn(string text) =>
        SqlWords().IsMatch(text)
            ? "SQL is not understood here: write ==, !=, &&, ||, ! and functions such as string.contains"
            : null;

    // "Error while parsing binary expression: Expecting an <expression> to the right of the operator instead of `}}`
    // in: <expression> operator ..." in words that need no grammar.
    private static string Plain(string words)
    {
        var complaint = Parsing().Replace(words, "");
        if (Missing().Match(complaint) is not { Success: true } missing)
            return Lowered(complaint);
        var (what, found) = (missing.Groups["what"].Value, missing.Groups["found"].Value);
        return $"{(what is "expression" ? "a value" : what)} is missing "
            + (found is "<eof>" or "" ? "at the end" : $"before {found}");
    }

    [GeneratedRegex("^Error while parsing [^:]*: ")]
    private static partial Regex Parsing();

    [GeneratedRegex("^Expecting (?:an? )?<(?<what>[a-z]+)>.*? instead of `(?<found>[^`]*)`")]
    private static partial Regex Missing();

    private static string Lowered(string words) =>
        words.Length > 1 && char.IsUpper(words[0]) && !char.IsUpper(words[1])
            ? char.ToLowerInvariant(words[0]) + words[1..].TrimEnd('.')
            : words.TrimEnd('.');

    [GeneratedRegex(@"<>|::|\b(AND|OR|NOT|LIKE|IN|IS|BETWEEN|CASE|CAST|SELECT)\b")]
    private static partial Regex SqlWords();
}
