using System.Globalization;
using System.Numerics;
using Scriban;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>A number that counts and compares as one and prints as it was written: <c>1.10</c> stays <c>1.10</c>.</summary>
public sealed class WrittenNumber : IScriptCustomType, IFormattable
{
    private readonly object _value;

    private WrittenNumber(string text, object value) => (Text, _value) = (text, value);

    /// <summary>The number as written.</summary>
    public string Text { get; }

    /// <inheritdoc/>
    public string TypeName => "number";

    /// <summary>A JSON number as a template sees it: a plain integer where that prints the same.</summary>
    /// <exception cref="FormatException">It is no number.</exception>
    public static object Of(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var culture = CultureInfo.InvariantCulture;
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var integer))
            return integer.ToString(culture) == text ? integer : new WrittenNumber(text, integer);
        if (text.AsSpan().IndexOfAny('.', 'e', 'E') < 0 && BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, culture, out var big))
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
        TemplateContext context, SourceSpan span, ScriptBinaryOperator op, SourceSpan leftSpan, object? leftValue, SourceSpan rightSpan,
        object? rightValue, out object? result)
    {
        result = ScriptBinaryExpression.Evaluate(context, span, op, leftSpan, Plain(leftValue)!, rightSpan, Plain(rightValue)!)!;
        return true;
    }

    /// <inheritdoc/>
    public bool TryEvaluate(TemplateContext context, SourceSpan span, ScriptUnaryOperator op, object? rightValue, out object result)
    {
        result = op switch
        {
            ScriptUnaryOperator.Negate => ScriptBinaryExpression.Evaluate(context, span, ScriptBinaryOperator.Subtract, 0, _value)!,
            ScriptUnaryOperator.Plus => _value,
            _ => false,
        };
        return true;
    }

    /// <inheritdoc/>
    public bool TryConvertTo(TemplateContext context, SourceSpan span, Type type, out object value)
    {
        ArgumentNullException.ThrowIfNull(context);
        value = type == typeof(string) ? Text : type == typeof(object) ? this : context.ToObject(span, _value, type)!;
        return true;
    }
}
