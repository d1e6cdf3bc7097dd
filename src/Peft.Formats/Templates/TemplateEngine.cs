using System.Runtime.ExceptionServices;
using Scriban.Runtime;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>
/// Carries templates out, within <see cref="TemplateLimits"/>. One engine serves any number of templates one after the other, but not
/// several threads at once.
/// </summary>
/// <remarks>
/// What is not there cannot be used: an unknown name, member or index is a fault that names what is known. A text is not compared with a
/// number: <c>'5' == 5</c> is a fault, not false. Lists and objects are not printed. Numbers and dates are written in the invariant
/// culture.
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
    /// <exception cref="TemplateException">It cannot be carried out.</exception>
    public string Render(ParsedTemplate template, ScriptObject values) => Run(template, values, isText: true).Text;

    /// <summary>The value of an expression: null, string, bool, a number, <see cref="ScriptArray"/> or <see cref="ScriptObject"/>.</summary>
    /// <exception cref="TemplateException">It has none.</exception>
    public object? Evaluate(ParsedTemplate expression, ScriptObject values) => Run(expression, values, isText: false).Value;

    private (string Text, object? Value) Run(ParsedTemplate template, ScriptObject values, bool isText)
    {
        ArgumentNullException.ThrowIfNull(template);
        ArgumentNullException.ThrowIfNull(values);
        try
        {
            return _context.Run(template, values, isText);
        }
        catch (ScriptRuntimeException error)
        {
            if (_options.Cancellation.IsCancellationRequested)
                throw new OperationCanceledException(_options.Cancellation);
            if (Inner<UserException>(error) is { } told)
                ExceptionDispatchInfo.Throw(told); // a function of ours says what the user can do
            var cause = Inner<SandboxException>(error) ?? error;
            throw new TemplateException(
                template.Name, [TemplateFaults.Running(cause, template.Code(cause.Span), _options.Limits)], error, (cause as SandboxException)?.MissingValue);
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
