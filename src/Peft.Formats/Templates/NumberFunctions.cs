using System.Collections;
using System.Globalization;
using System.Numerics;
using System.Text;
using Scriban;
using Scriban.Functions;
using Scriban.Parsing;
using Scriban.Runtime;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>
/// Scriban's functions that look at a value's .NET type, for values of ours too: <c>1.10</c> is in a list that has
/// <c>1.1</c>, sorts among other numbers, and is written to JSON as <c>1.10</c>.
/// </summary>
internal static class NumberFunctions
{
    /// <summary>Puts them in place of Scriban's.</summary>
    public static void Put(ScriptObject functions)
    {
        void In(string group, string name, Delegate function)
        {
            var members = (ScriptObject)functions[group]!;
            members.Remove(name); // one that is there is not replaced
            members.Import(name, function);
        }

        In("array", "contains", Contains);
        In("array", "sort", Sort);
        In("array", "uniq", Uniq);
        In("math", "format", Format);
        In("math", "is_number", IsNumber);
        In("object", "typeof", TypeOf);
        In("object", "to_json", ToJson);
    }

    private static bool Contains(IEnumerable? list, object? item) =>
        list?.Cast<object?>().Any(element => ByValue.Instance.Equals(element, item)) == true;

    private static ScriptArray Sort(TemplateContext context, SourceSpan span, object? list, string? member = null)
    {
        var items = (list as IEnumerable)?.Cast<object?>().ToList() ?? [];
        object? KeyOf(object? item) => member is null ? item
            : item is ScriptObject map && map.TryGetValue(context, span, member, out var value) ? value : null;
        try
        {
            return [.. items.OrderBy(KeyOf, ByValue.Instance)];
        }
        catch (InvalidOperationException error)
        {
            throw new ScriptRuntimeException(span, "the list has values of types that have no order", error);
        }
    }

    private static ScriptArray Uniq(IEnumerable? list) =>
        [.. (list?.Cast<object?>() ?? []).Distinct(ByValue.Instance)];

    private static string Format(
        TemplateContext context, SourceSpan span, object? value, string format, string? culture = null) =>
        MathFunctions.Format(context, span, WrittenNumber.Plain(value)!, format, culture!)!;

    private static bool IsNumber(object? value) =>
        WrittenNumber.Plain(value) is { } plain && MathFunctions.IsNumber(plain);

    private static string? TypeOf(object? value) => ObjectFunctions.Typeof(WrittenNumber.Plain(value)!);

    private static string ToJson(TemplateContext context, SourceSpan span, object? value)
    {
        var text = new StringBuilder();
        Write(context, span, text, value, 0);
        return text.ToString();
    }

    private static void Write(TemplateContext context, SourceSpan span, StringBuilder text, object? value, int depth)
    {
        // The words are those by which TemplateFaults knows Scriban's own limits.
        if (depth > context.ObjectRecursionLimit)
            throw new ScriptRuntimeException(span, "too deeply nested");
        if (text.Length > context.LimitToString)
            throw new ScriptRuntimeException(span, "LimitToString");
        switch (value)
        {
            case WrittenNumber { IsJson: true } number:
                text.Append(number.Text);
                break;
            case ScriptObject map:
                WriteAll(text, '{', '}', map, pair =>
                {
                    text.Append(ObjectFunctions.ToJson(context, pair.Key)).Append(':');
                    Write(context, span, text, pair.Value, depth + 1);
                });
                break;
            case string or not IEnumerable:
                text.Append(ObjectFunctions.ToJson(context, WrittenNumber.Plain(value)!));
                break;
            case IEnumerable list:
                WriteAll(text, '[', ']', list.Cast<object?>(), item => Write(context, span, text, item, depth + 1));
                break;
        }
    }

    private static void WriteAll<T>(StringBuilder text, char open, char close, IEnumerable<T> items, Action<T> write)
    {
        text.Append(open);
        foreach (var (i, item) in items.Index())
        {
            text.Append(i > 0 ? "," : "");
            write(item);
        }

        text.Append(close);
    }

    /// <summary>Equality and order of values: numbers by their value, whatever their type; all others as they
    /// are.</summary>
    private sealed class ByValue : IEqualityComparer<object?>, IComparer<object?>
    {
        public static readonly ByValue Instance = new();

        public new bool Equals(object? x, object? y)
        {
            var (a, b) = (WrittenNumber.Plain(x), WrittenNumber.Plain(y));
            return IsNumber(a) && IsNumber(b) ? Compare(a, b) == 0 : object.Equals(a, b);
        }

        public int GetHashCode(object? value) => WrittenNumber.Plain(value) is not { } plain ? 0
            : IsNumber(plain) ? ToDouble(plain).GetHashCode() : plain.GetHashCode();

        public int Compare(object? x, object? y)
        {
            var (a, b) = (WrittenNumber.Plain(x), WrittenNumber.Plain(y));
            if (!IsNumber(a) || !IsNumber(b))
                return Comparer<object?>.Default.Compare(a, b);
            // Whole numbers beyond 2^53 are told apart; a double is not made exact by being compared with one.
            return a is double or float or decimal || b is double or float or decimal
                ? ToDouble(a!).CompareTo(ToDouble(b!))
                : ToWhole(a!).CompareTo(ToWhole(b!));
        }

        private static double ToDouble(object value) =>
            value is BigInteger big ? (double)big : Convert.ToDouble(value, CultureInfo.InvariantCulture);

        private static BigInteger ToWhole(object value) =>
            value is BigInteger big ? big : new BigInteger(Convert.ToInt64(value, CultureInfo.InvariantCulture));
    }
}
