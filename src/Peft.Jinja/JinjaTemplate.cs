using System.Numerics;
using System.Text.Json;

namespace Peft.Jinja;

/// <summary>What a template wrote.</summary>
/// <param name="Text">The text.</param>
/// <param name="Generated">Stretches inside <c>{% generation %}</c>, as [start, end) in UTF-16 units of the
/// text.</param>
public sealed record Rendering(string Text, IReadOnlyList<(int Start, int End)> Generated);

/// <summary>A chat template: Jinja as transformers evaluates it.</summary>
/// <remarks>
/// Source: jinja2 3.1.2's ImmutableSandboxedEnvironment with <c>trim_blocks</c>, <c>lstrip_blocks</c> and loop
/// controls, and the
/// functions, the <c>tojson</c> and the <c>generation</c> tag of transformers' chat_template_utils.py. A template reads
/// what it is
/// given and writes text; it reaches nothing else.
/// </remarks>
public sealed class JinjaTemplate
{
    private readonly IReadOnlyList<Statement> _body;
    private readonly JinjaLimits _limits;

    private JinjaTemplate(IReadOnlyList<Statement> body, bool hasGeneration, JinjaLimits limits) =>
        (_body, HasGeneration, _limits) = (body, hasGeneration, limits);

    /// <summary>Whether <c>{% generation %}</c> stands anywhere in it.</summary>
    public bool HasGeneration { get; }

    /// <summary>Reads a template.</summary>
    /// <exception cref="JinjaException">It is not Jinja.</exception>
    public static JinjaTemplate Parse(string source, JinjaLimits? limits = null)
    {
        limits ??= JinjaLimits.Default;
        var (body, hasGeneration) = Parser.Parse(source, limits.Depth);
        return new JinjaTemplate(body, hasGeneration, limits);
    }

    /// <summary>Renders the template.</summary>
    /// <param name="variables">What it may read, as JSON.</param>
    /// <param name="now">What <c>strftime_now</c> says.</param>
    /// <exception cref="JinjaException">The template refuses its input, or cannot be evaluated on it.</exception>
    public Rendering Render(IEnumerable<KeyValuePair<string, JsonElement>> variables, DateTime now)
    {
        var values = variables.Select(variable => KeyValuePair.Create(variable.Key, FromJson(variable.Value)));
        var result = new Interpreter(_limits, now).Render(_body, values);
        return new Rendering(result.ToString()!, (result as Spanned)?.Spans ?? []);
    }

    private static object? FromJson(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.Undefined => null,
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.String => json.GetString(),
        JsonValueKind.Number => FromNumber(json.GetRawText()),
        JsonValueKind.Array => new PyList(json.EnumerateArray().Select(FromJson)),
        _ => Library.Dictionary(json.EnumerateObject()
            .Select(item => KeyValuePair.Create((object?)item.Name, FromJson(item.Value)))),
    };

    // Python tells 1 from 1.0.
    private static object FromNumber(string text) => text.AsSpan().ContainsAny(".eE")
        ? double.Parse(text, System.Globalization.CultureInfo.InvariantCulture)
        : BigInteger.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
}
