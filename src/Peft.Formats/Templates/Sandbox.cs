using System.Collections;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Scriban;
using Scriban.Parsing;
using Scriban.Runtime;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>Scriban's context, closed and counted.</summary>
internal sealed class SandboxContext : TemplateContext
{
    private const int CheckedEvery = 16; // nodes
    private readonly TemplateOptions _options;
    private readonly TemplateGlobals _globals = new();
    private readonly StringBuilder _text = new();
    private ParsedTemplate? _template;
    private ScriptExpression? _printed; // of the statement at work
    private bool _isText;
    private int _steps;
    private long _startTime;
    private long _startBytes;

    public SandboxContext(TemplateOptions options)
        : base(TemplateFunctions.With(options.Functions, options.Without), StringComparer.Ordinal)
    {
        _options = options;
        var limits = options.Limits;
        LoopLimit = limits.Loops;
        LoopLimitQueryable = limits.Loops;
        RecursiveLimit = limits.Depth;
        ObjectRecursionLimit = limits.Depth;
        LimitToString = limits.Characters;
        OutputLimit = limits.Characters;
        OnStringLimit = OnOutputLimit = ScriptLimitBehavior.Throw;
        RegexTimeOut = limits.RegexTime;
        CancellationToken = options.Cancellation;
        StrictVariables = true;
        EnableRelaxedTargetAccess = EnableRelaxedMemberAccess = EnableRelaxedFunctionAccess =
            EnableRelaxedIndexerAccess = false;
        EnableNullIndexer = false;
        AutoIndent = false; // a text of several lines is to be printed as it is
        NewLine = "\n";
        // Of .NET types no member but key and value of what a loop over an object gives.
        MemberFilter = member =>
            member.DeclaringType is { IsGenericType: true } type
            && type.GetGenericTypeDefinition() == typeof(KeyValuePair<,>);
        TryGetVariable = FindVariable;
        TryGetMember = FindMember;
        PushCulture(CultureInfo.InvariantCulture);
    }

    /// <summary>Carries out a template; its variables are gone afterwards.</summary>
    public (string Text, object? Value) Run(ParsedTemplate template, ScriptObject values, bool isText)
    {
        (_template, _globals.Given, _isText) = (template, values, isText);
        (_steps, _startTime, _startBytes) = (0, Stopwatch.GetTimestamp(), GC.GetAllocatedBytesForCurrentThread());
        Reset(); // the output and the rounds that Scriban has counted are those of all renderings since
        var (globals, outputs) = (GlobalCount, OutputCount);
        PushGlobal(_globals);
        PushOutput(new StringBuilderOutput(_text));
        EnableOutput = isText;
        try
        {
            var value = Evaluate(template.Root, false);
            return (_text.ToString(), WrittenNumber.Plain(value));
        }
        finally
        {
            while (OutputCount > outputs)
                PopOutput();
            while (GlobalCount > globals)
                PopGlobal();
            (_template, _printed) = (null, null);
            _globals.Clear();
            _text.Clear();
        }
    }

    /// <summary>The fault where Scriban itself failed over a template.</summary>
    public TemplateFault Unforeseen(Exception error) =>
        TemplateFaults.At(
            CurrentSpan, $"cannot be evaluated: {error.Message.TrimEnd('.')}", null, TemplateFaults.Documentation);

    public override object? Evaluate(ScriptNode? scriptNode, bool aliasReturnedFunction)
    {
        if (++_steps % CheckedEvery == 0)
            CheckBudget(scriptNode);
        if (scriptNode is ScriptBinaryExpression { Left: { } left, Right: { } right } comparison
            && IsComparison(comparison.Operator))
            return Compare(comparison, left, Evaluate(left, false), right, Evaluate(right, false));
        if (scriptNode is ScriptExpressionStatement { Expression: { } printed })
            _printed = printed;
        var value = base.Evaluate(scriptNode!, aliasReturnedFunction);
        if (value is null && !_options.AllowsNull && IsValue(scriptNode) && !NullAllowed.At(scriptNode!, _isText)
            && !IsPrinter(scriptNode))
            throw Missing(scriptNode!);
        return value;
    }

    public override TemplateContext Write(SourceSpan span, object? textAsObject)
    {
        // Scriban's span is that of all the braces.
        var place = _printed?.Span ?? span;
        switch (textAsObject)
        {
            case null when !_options.AllowsNull:
                throw Missing(place);
            case RawText raw:
                return Write(raw.Text);
            case double and (double.NaN or double.PositiveInfinity or double.NegativeInfinity):
                throw Fault(
                    place, "{0} is no finite number", "a number", "look for a division by 0, or ask with if before it");
            case IScriptCustomFunction:
                throw Fault(place, "{0} is a function without its arguments", "a value");
            case not string and (IEnumerable or IScriptObject):
                throw Fault(
                    place, "{0} is a list or an object", "a text, a number, true or false",
                    "take it apart with for, array.join or object.to_json");
            default:
                return _options.Escape is { } escape
                    ? Write(escape(ObjectToString(textAsObject!) ?? ""))
                    : base.Write(span, textAsObject!);
        }
    }

    private static bool IsComparison(ScriptBinaryOperator op) =>
        op is ScriptBinaryOperator.CompareEqual or ScriptBinaryOperator.CompareNotEqual
        or ScriptBinaryOperator.CompareLess or ScriptBinaryOperator.CompareLessOrEqual
        or ScriptBinaryOperator.CompareGreater or ScriptBinaryOperator.CompareGreaterOrEqual;

    private static bool IsValue(ScriptNode? node) =>
        node is ScriptVariable or ScriptMemberExpression or ScriptIndexerExpression or ScriptPipeCall;

    // A function of the template's own that prints has no value.
    private bool IsPrinter(ScriptNode? node) =>
        node is ScriptVariable variable && GetValue(variable) is IScriptCustomFunction;

    private object? Compare(
        ScriptBinaryExpression node, ScriptExpression leftNode, object? left, ScriptExpression rightNode, object? right)
    {
        (left, right) = (WrittenNumber.Plain(left), WrittenNumber.Plain(right));
        if (left is string && IsNumberOrTruth(right) || right is string && IsNumberOrTruth(left))
        {
            var text = left is string ? leftNode : rightNode;
            var other = left is string ? right : left;
            // f x > 3 is f (x > 3).
            var advice = node.Parent is ScriptFunctionCall or ScriptList { Parent: ScriptFunctionCall }
                ? "put a call that is compared in brackets: (string.size title) > 10"
                : other is bool ? "compare with 'true' or 'false' in quotes"
                : $"write {Code(text.Span)} | string.to_int (or string.to_float), or the number in quotes";
            throw new SandboxException(node.Span, TemplateFaults.At(
                node.Span,
                $"{Quote.Of(Code(node.Span))} compares a text with {(other is bool ? "true or false" : "a number")}",
                "two values of one type", advice));
        }

        return left is string a && right is string b
            ? IsTrue(node.Operator, string.CompareOrdinal(a, b))
            : ScriptBinaryExpression.Evaluate(
                this, node.Span, node.Operator, leftNode.Span, left!, rightNode.Span, right!);
    }

    private static bool IsTrue(ScriptBinaryOperator op, int order) => op switch
    {
        ScriptBinaryOperator.CompareEqual => order == 0,
        ScriptBinaryOperator.CompareNotEqual => order != 0,
        ScriptBinaryOperator.CompareLess => order < 0,
        ScriptBinaryOperator.CompareLessOrEqual => order <= 0,
        ScriptBinaryOperator.CompareGreater => order > 0,
        _ => order >= 0,
    };

    private static bool IsNumberOrTruth(object? value) =>
        value is bool or int or long or double or decimal or float or System.Numerics.BigInteger;

    private bool FindVariable(TemplateContext context, SourceSpan span, ScriptVariable variable, out object? value)
    {
        value = null;
        throw new SandboxException(span, TemplateFaults.UnknownName(span, variable.Name, [.. _globals.Given.Keys]));
    }

    private bool FindMember(TemplateContext context, SourceSpan span, object target, string member, out object? value)
    {
        value = null;
        throw new SandboxException(span, TemplateFaults.UnknownMember(
            span, member, target is ScriptObject known ? [.. known.Keys] : []));
    }

    private SandboxException Missing(ScriptNode node) => Missing(node.Span);

    private SandboxException Missing(SourceSpan span)
    {
        var code = Code(span);
        var fault = TemplateFaults.At(
            span, $"{Quote.Of(code)} has no value", null, "test for it first: {{ if ... != null }}");
        return new SandboxException(span, fault, code);
    }

    private SandboxException Fault(SourceSpan span, string found, string expected, string? advice = null) =>
        Told(span, string.Format(CultureInfo.InvariantCulture, found, Quote.Of(Code(span))), expected, advice);

    private static SandboxException Told(SourceSpan span, string found, string expected, string? advice = null) =>
        new(span, TemplateFaults.At(span, found, expected, advice));

    // Without the braces, which are in the place of what is printed.
    private string Code(SourceSpan span) => (_template?.Code(span) ?? "").Trim('{', '}', '-', '~', ' ');

    private void CheckBudget(ScriptNode? node)
    {
        var limits = _options.Limits;
        var span = node?.Span ?? CurrentSpan;
        if (GC.GetAllocatedBytesForCurrentThread() - _startBytes > limits.Bytes)
            throw Told(span, "takes too much memory", $"at most {limits.Bytes >> 20} MiB for one rendering");
        if (Stopwatch.GetElapsedTime(_startTime) > limits.Time)
            throw Told(span, "takes too long", $"at most {limits.Time.TotalSeconds:0.#} s for one rendering");
    }
}

/// <summary>A fault of our own that goes up through Scriban.</summary>
internal sealed class SandboxException(SourceSpan span, TemplateFault fault, string? missing = null)
    : ScriptRuntimeException(span, fault.Found)
{
    public TemplateFault Fault => fault;

    public string? MissingValue => missing;
}

/// <summary>The values that a template was given, below those that it assigns: it cannot change what it was
/// given.</summary>
internal sealed class TemplateGlobals() : ScriptObject(StringComparer.Ordinal)
{
    public ScriptObject Given { get; set; } = [];

    public override bool Contains(string member) => base.Contains(member) || Given.Contains(member);

    public override bool TryGetValue(TemplateContext? context, SourceSpan span, string member, out object? value) =>
        base.TryGetValue(context!, span, member, out value!) || Given.TryGetValue(context!, span, member, out value!);
}

/// <summary>Where a template may meet null although it may not use one: conditions, comparisons, <c>??</c>,
/// assignments, <c>object.</c> functions.</summary>
internal static class NullAllowed
{
    public static bool At(ScriptNode node, bool isText) => node.Parent switch
    {
        ScriptNestedExpression nested => At(nested, isText),
        ScriptBinaryExpression
        {
            Operator: ScriptBinaryOperator.And or ScriptBinaryOperator.Or or ScriptBinaryOperator.EmptyCoalescing
            or ScriptBinaryOperator.NotEmptyCoalescing or ScriptBinaryOperator.CompareEqual
                or ScriptBinaryOperator.CompareNotEqual
            or ScriptBinaryOperator.CompareLess or ScriptBinaryOperator.CompareLessOrEqual
            or ScriptBinaryOperator.CompareGreater or ScriptBinaryOperator.CompareGreaterOrEqual
        } => true,
        ScriptUnaryExpression { Operator: ScriptUnaryOperator.Not } => true,
        ScriptIfStatement statement => statement.Condition == node,
        ScriptConditionalExpression conditional => conditional.Condition == node || At(conditional, isText),
        ScriptWhileStatement or ScriptIsEmptyExpression or ScriptAssignExpression or ScriptCaseStatement
            or ScriptWhenStatement => true,
        ScriptMemberExpression or ScriptIndexerExpression => false,
        ScriptPipeCall pipe => pipe.From == node ? IsObjectFunction(pipe.To) : At(pipe, isText),
        ScriptFunctionCall call => IsObjectFunction(call),
        // A list of arguments is between a call and its arguments.
        ScriptList { Parent: ScriptFunctionCall call } => IsObjectFunction(call),
        ScriptExpressionStatement => !isText, // of an expression by itself the caller looks at the value
        _ => false,
    };

    private static bool IsObjectFunction(ScriptExpression? function) => function switch
    {
        ScriptFunctionCall call => IsObjectFunction(call.Target),
        ScriptMemberExpression { Target: ScriptVariable { Name: "object" } } => true,
        _ => false,
    };
}
