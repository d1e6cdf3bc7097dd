using System.Runtime.ExceptionServices;
using Scriban.Runtime;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>
/// Renders templates within <see cref="TemplateLimits"/>. One engine serves any number of templates one after the
/// other, but not several threads at once.
/// </summary>
/// <remarks>
/// What is not there cannot be used: an unknown name, member or index is a fault that names what is known. A text is
/// not compared with a number: <c>'5' == 5</c> is a fault, not false. Lists and objects are not printed. Numbers and
/// dates are written in the invariant culture.
/// </remarks>
public sealed class TemplateEngine
{
    private readonly SandboxContext _context;
    private readonly TemplateOptions _options;

    /// <summary>Makes an engine.</summary>
    public TemplateEngine(TemplateOptions? options = null)
    {
        _options = options ?? new TemplateOptions();
        _context = new SandboxContext(_options);
    }

    /// <summary>Whether a name is that of a function.</summary>
    public bool HasFunction(string name) => _context.BuiltinObject.ContainsKey(name);

    /// <summary>The text that a template makes of values.</summary>
    /// <param name="template">The template.</param>
    /// <param name="values">Names and values; see <see cref="TemplateValues"/>.</param>
    /// <exception cref="TemplateException">It cannot be rendered.</exception>
    public string Render(ParsedTemplate template, ScriptObject values) => Run(template, values, isText: true).Text;

    /// <summary>The value of an expression: null, string, bool, a number, <see cref="ScriptArray"/> or
    /// <see cref="ScriptObject"/>.</summary>
    /// <exception cref="TemplateException">It has none.</exception>
    public object? Evaluate(ParsedTemplate expression, ScriptObject values) =>
        Run(expression, values, isText: false).Value;

    private (string Text, object? Value) Run(ParsedTemplate template, ScriptObject values, bool isText)
    {
        try
        {
            return _context.Run(template, values, isText);
        }
        catch (ScriptRuntimeException error)
        {
            _options.Cancellation.ThrowIfCancellationRequested();
            if (Inner<UserException>(error) is { } told)
                ExceptionDispatchInfo.Throw(told); // a function of ours says what the user can do
            var cause = Inner<SandboxException>(error) ?? error;
            var fault = TemplateFaults.Running(cause, template.Code(cause.Span), _options.Limits);
            throw new TemplateException(template.Name, [fault], error, (cause as SandboxException)?.MissingValue);
        }
        catch (Exception error) when (error is not (UserException or OperationCanceledException))
        {
            // What Scriban trips over in a template that it should have refused is the template's fault for its writer.
            throw new TemplateException(template.Name, [_context.Unforeseen(error)], error);
        }
    }

    // Scriban wraps what a function throws.
    private static T? Inner<T>(Exception? error)
        where T : Exception
    {
        for (; error is not null; error = error.InnerException)
        {
            if (error is T inner)
                return inner;
        }

        return null;
    }
}

/// <summary>How templates are rendered.</summary>
public sealed record TemplateOptions
{
    /// <summary>What a rendering may take.</summary>
    public TemplateLimits Limits { get; init; } = new();

    /// <summary>Whether null may be printed (as nothing) and handed to functions. If not, only conditions, comparisons,
    /// <c>??</c> and
    /// <c>object.</c> functions may meet one.</summary>
    public bool AllowsNull { get; init; }

    /// <summary>What is done to each printed value, for example to escape HTML; null for nothing.
    /// <c>{{ text | raw }}</c> is exempt.</summary>
    public Func<string, string>? Escape { get; init; }

    /// <summary>Further functions: name and delegate.</summary>
    public IReadOnlyDictionary<string, Delegate> Functions { get; init; } = new Dictionary<string, Delegate>();

    /// <summary>Names of functions that are not to be had.</summary>
    public IReadOnlyCollection<string> Without { get; init; } = [];

    /// <summary>Stops a rendering.</summary>
    public CancellationToken Cancellation { get; init; }
}

/// <summary>
/// What one rendering may take. A template may be a stranger's: it can reach no file, no network and no member of a
/// .NET type, and it ends. Scriban bounds loops, recursion, each text and each regular expression; time and memory are
/// counted here, since within those bounds many large texts or branching functions could still fill the machine.
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
