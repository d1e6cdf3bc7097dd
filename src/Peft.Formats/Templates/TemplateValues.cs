using System.Collections;
using System.Globalization;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using Scriban;
using Scriban.Parsing;
using Scriban.Runtime;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>Values as templates see them: texts, numbers, truth values, dates, lists and objects of these. Nothing
/// else, so that a template never meets a .NET type.</summary>
public static class TemplateValues
{
    /// <summary>A dictionary, list, JSON value or plain value as a template sees it.</summary>
    /// <exception cref="ArgumentException">It is of another kind.</exception>
    public static object? Of(object? value) => value switch
    {
        null or string or bool or int or long or double or decimal or DateTime or ScriptObject or ScriptArray
            or WrittenNumber => value,
        float single => (double)single,
        JsonElement element => OfJson(element),
        JsonNode node => OfJson(JsonSerializer.SerializeToElement(node)),
        IEnumerable<KeyValuePair<string, object?>> pairs => OfPairs(pairs),
        IEnumerable list => OfList(list),
        _ => throw new ArgumentException($"a template cannot be given a {value.GetType().Name}", nameof(value)),
    };

    /// <summary>The names and values that a template starts from.</summary>
    public static ScriptObject OfPairs(IEnumerable<KeyValuePair<string, object?>> pairs)
    {
        var made = new ScriptObject(StringComparer.Ordinal);
        foreach (var (name, value) in pairs)
            made.SetValue(name, Of(value)!, readOnly: false);
        return made;
    }

    /// <summary>A JSON value; numbers print as they are written there.</summary>
    public static object? OfJson(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object =>
            OfPairs(element.EnumerateObject().Select(member => KeyValuePair.Create(member.Name, OfJson(member.Value)))),
        JsonValueKind.Array => OfList(element.EnumerateArray()),
        JsonValueKind.String => element.GetString(),
        JsonValueKind.Number => WrittenNumber.Of(element.GetRawText()),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    private static ScriptArray OfList(IEnumerable list)
    {
        var made = new ScriptArray();
        foreach (var value in list)
            made.Add(Of(value)!);
        return made;
    }
}

/// <summary>A number that counts and compares as one and prints as it was written: <c>1.10</c> stays
/// <c>1.10</c>.</summary>
public sealed class WrittenNumber : IScriptCustomType, IFormattable
{
    private readonly object _value;

    private WrittenNumber(string text, object value) => (Text, _value) = (text, value);

    /// <summary>The number as written.</summary>
    public string Text { get; }

    /// <summary>Whether the text is a number in JSON, too.</summary>
    internal bool IsJson =>
        Text.Length > 0 && char.IsAsciiDigit(Text[^1]) && (char.IsAsciiDigit(Text[0]) || Text[0] == '-');

    /// <inheritdoc/>
    public string TypeName => "number";

    /// <summary>A JSON number as a template sees it: a plain integer where that prints the same.</summary>
    /// <exception cref="FormatException">It is no number.</exception>
    public static object Of(string text)
    {
        var culture = CultureInfo.InvariantCulture;
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var integer))
            return integer.ToString(culture) == text ? integer : new WrittenNumber(text, integer);
        if (text.AsSpan().IndexOfAny('.', 'e', 'E') < 0
            && BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var big))
            return new WrittenNumber(text, big);
        return new WrittenNumber(text, double.Parse(text, NumberStyles.Float, culture));
    }

    /// <summary>A number with the text that it is to print as.</summary>
    public static WrittenNumber Of(string text, object value) => new(text, value);

    /// <summary>The number, of whatever is or is not one of these.</summary>
    internal static object? Plain(object? value) => value is WrittenNumber written ? written._value : value;

    /// <inheritdoc/>
    public override string ToString() => Text;

    /// <inheritdoc/>
    public string ToString(string? format, IFormatProvider? formatProvider) =>
        string.IsNullOrEmpty(format) ? Text : ((IFormattable)_value).ToString(format, formatProvider);

    /// <inheritdoc/>
    public bool TryEvaluate(
        TemplateContext context, SourceSpan span, ScriptBinaryOperator op, SourceSpan leftSpan, object? leftValue,
            SourceSpan rightSpan,
        object? rightValue, out object? result)
    {
        result = ScriptBinaryExpression.Evaluate(
            context, span, op, leftSpan, Plain(leftValue)!, rightSpan, Plain(rightValue)!)!;
        return true;
    }

    /// <inheritdoc/>
    public bool TryEvaluate(
        TemplateContext context, SourceSpan span, ScriptUnaryOperator op, object? rightValue, out object result)
    {
        result = op switch
        {
            ScriptUnaryOperator.Negate =>
                ScriptBinaryExpression.Evaluate(context, span, ScriptBinaryOperator.Subtract, 0, _value)!,
            ScriptUnaryOperator.Plus => _value,
            _ => false,
        };
        return true;
    }

    /// <inheritdoc/>
    public bool TryConvertTo(TemplateContext context, SourceSpan span, Type type, out object value)
    {
        value = type == typeof(string) ? Text : type == typeof(object) ? this : context.ToObject(span, _value, type)!;
        return true;
    }
}
