using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>Where a template may meet null although it may not use one: conditions, comparisons, <c>??</c>, assignments, <c>object.</c> functions.</summary>
internal static class NullAllowed
{
    public static bool At(ScriptNode node, bool isText) => node.Parent switch
    {
        ScriptNestedExpression nested => At(nested, isText),
        ScriptBinaryExpression { Operator: ScriptBinaryOperator.And or ScriptBinaryOperator.Or or ScriptBinaryOperator.EmptyCoalescing
            or ScriptBinaryOperator.NotEmptyCoalescing or ScriptBinaryOperator.CompareEqual or ScriptBinaryOperator.CompareNotEqual
            or ScriptBinaryOperator.CompareLess or ScriptBinaryOperator.CompareLessOrEqual
            or ScriptBinaryOperator.CompareGreater or ScriptBinaryOperator.CompareGreaterOrEqual } => true,
        ScriptUnaryExpression { Operator: ScriptUnaryOperator.Not } => true,
        ScriptIfStatement statement => statement.Condition == node,
        ScriptConditionalExpression conditional => conditional.Condition == node || At(conditional, isText),
        ScriptWhileStatement or ScriptIsEmptyExpression or ScriptAssignExpression or ScriptCaseStatement or ScriptWhenStatement => true,
        ScriptMemberExpression or ScriptIndexerExpression => false,
        ScriptPipeCall pipe => pipe.From == node ? IsObjectFunction(pipe.To) : At(pipe, isText),
        ScriptFunctionCall call => IsObjectFunction(call),
        // A list of arguments stands between a call and its arguments.
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
