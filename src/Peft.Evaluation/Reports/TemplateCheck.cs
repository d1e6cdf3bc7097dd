using Peft.Formats;
using Peft.Formats.Templates;
using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Evaluation.Reports;

/// <summary>
/// Checks a template against the model before it is rendered: every name it asks for, in branches that are not taken
/// too. All faults at once, each with file, line and column and what is known there.
/// </summary>
internal sealed class TemplateCheck
{
    private const int DeepestBlock = 32; // what checks and renders them calls itself
    private static readonly string[] ListFunctions =
    [
        "reverse", "sort", "limit", "offset", "uniq", "compact", "filter",
    ];

    private readonly ParsedTemplate _template;
    private readonly Func<string, bool> _isFunction;
    private readonly Faults _faults;
    private readonly TemplateScopes _scopes = new();
    private int _depth;

    private TemplateCheck(ParsedTemplate template, Func<string, bool> isFunction, Faults faults) =>
        (_template, _isFunction, _faults) = (template, isFunction, faults);

    /// <summary>Reads a template and checks it.</summary>
    /// <param name="file">The template.</param>
    /// <param name="isFunction">Tells the names of functions.</param>
    /// <exception cref="FaultsException">It cannot be read, or asks for what is not there.</exception>
    public static ParsedTemplate Run(TemplateFile file, Func<string, bool> isFunction)
    {
        var faults = new Faults();
        ParsedTemplate? template = null;
        try
        {
            template = ParsedTemplate.Parse(file.Text, file.Name);
            new TemplateCheck(template, isFunction, faults).Walk(template.Root);
        }
        catch (TemplateException e)
        {
            var old = file.Text.Contains("{{#", StringComparison.Ordinal)
                || file.Text.Contains("{{/", StringComparison.Ordinal)
                ? "blocks are written {{ for subject in subjects }} ... {{ end }} and {{ if ... }} ... {{ else }} ... "
                    + "{{ end }}" : null;
            foreach (var fault in e.Faults)
                faults.Add((fault with { Advice = old ?? fault.Advice }).In(file.Name));
        }
        faults.ThrowIfAny($"template {file.Name}");
        return template!;
    }

    private void Walk(ScriptNode? node)
    {
        if (node is null)
            return;
        if (node is ScriptBlockStatement && _depth == DeepestBlock)
        {
            Add(node.Span, "blocks nested too deeply", $"at most {DeepestBlock} blocks inside one another");
            return;
        }
        _depth += node is ScriptBlockStatement ? 1 : 0;
        WalkStatement(node);
        _depth -= node is ScriptBlockStatement ? 1 : 0;
    }

    private void WalkStatement(ScriptNode node)
    {
        switch (node)
        {
            case ScriptExpressionStatement statement:
                Print(statement);
                break;
            case ScriptForStatement loop:
                WalkLoop(loop);
                break;
            case ScriptWithStatement with:
                var shape = ShapeOf(with.Name);
                _scopes.Within(
                    (shape?.Names ?? [])
                        .Select(name => KeyValuePair.Create(name, shape!.Member(name))), false, () => Walk(with.Body));
                break;
            case ScriptWhileStatement loop:
                CheckCondition(loop.Condition);
                _scopes.Within([], isLoop: true, () => Walk(loop.Body));
                break;
            case ScriptIfStatement choice:
                CheckCondition(choice.Condition);
                Walk(choice.Then);
                Walk(choice.Else);
                break;
            case ScriptCaptureStatement capture:
                Walk(capture.Body);
                Made(capture.Target, TemplateShape.Text);
                break;
            case ScriptFunction function:
                Made(function.NameOrDoToken, null);
                var names = (function.Parameters ?? []).Select(p => p.Name?.Name ?? "").ToList();
                if (names.GroupBy(name => name).FirstOrDefault(group => group.Count() > 1) is { } twice)
                    Add(node.Span, $"two parameters {Quote.Of(twice.Key)}", "names that differ");
                var parameters = names.Select(name => KeyValuePair.Create(name, (TemplateShape?)null));
                _scopes.Within(parameters, false, () => Walk(function.Body));
                break;
            case ScriptImportStatement:
                Add(node.Span, Quoted(node), "names of the model, one by one");
                break;
            case ScriptExpression expression:
                ShapeOf(expression);
                break;
            default:
                WalkChildren(node);
                break;
        }
    }

    private void WalkChildren(ScriptNode node)
    {
        for (var i = 0; i < node.ChildrenCount; i++)
            Walk(node.GetChildren(i));
    }

    private void WalkLoop(ScriptForStatement loop)
    {
        var list = ShapeOf(loop.Iterator);
        if (list is { Item: null })
            Add(
                loop.Iterator!.Span, Quoted(loop.Iterator), "a list",
                list.IsValue ? $"print it with {{{{ {_template.Code(loop.Iterator.Span)} }}}}" : null);
        var name = (loop.Variable as ScriptVariable)?.Name ?? "";
        _scopes.Within([KeyValuePair.Create(name, list?.Item)], isLoop: true, () => Walk(loop.Body));
        Walk(loop.Else);
    }

    private void Print(ScriptExpressionStatement statement)
    {
        if (ShapeOf(statement.Expression) is not { IsValue: false } shape)
            return;
        var code = _template.Code(statement.Expression!.Span);
        Add(statement.Expression.Span, $"{Quote.Of(code)}, {(shape.Item is null ? "an object" : "a list")}", "a value",
            shape.Item is null ? $"its names are {Words.AllOf(shape.Names)}: print {code}.{shape.Names[0]}"
                : $"use {{{{ for item in {code} }}}} ... {{{{ end }}}}");
    }

    // In Scriban only null and false are false: an empty list or text would be taken for true.
    private void CheckCondition(ScriptExpression? condition)
    {
        switch (condition)
        {
            case null: // the parser lets a condition go that is not there
                Add(_template.Root.Span, "a condition without a test", "{{ if NAME }}");
                return;
            case ScriptNestedExpression nested:
                CheckCondition(nested.Expression);
                return;
            case ScriptUnaryExpression { Operator: ScriptUnaryOperator.Not } not:
                CheckCondition(not.Right);
                return;
            case ScriptBinaryExpression { Operator: ScriptBinaryOperator.And or ScriptBinaryOperator.Or } both:
                CheckCondition(both.Left);
                CheckCondition(both.Right);
                return;
        }
        if (ShapeOf(condition) is not { IsTruth: false } shape)
            return;
        var code = _template.Code(condition.Span);
        Add(condition.Span, $"{Quote.Of(code)}, which is always true", "something that is true or false",
            shape.Item is not null
                ? $"ask {code}.size > 0"
                : shape.IsText ? $"ask {code} != \"\"" : shape.IsValue ? $"ask {code} != 0" : null);
    }

    // Null where it cannot be told before rendering, or where a fault was noted.
    private TemplateShape? ShapeOf(ScriptExpression? expression)
    {
        switch (expression)
        {
            case ScriptVariableGlobal variable:
                return ShapeOfName(variable);
            case ScriptThisExpression:
                Add(expression.Span, Quoted(expression), "names of the model, one by one");
                return null;
            case ScriptMemberExpression member:
                return ShapeOfMember(member);
            case ScriptIndexerExpression indexer:
                ShapeOf(indexer.Index);
                return ShapeOf(indexer.Target)?.Item;
            case ScriptNestedExpression nested:
                return ShapeOf(nested.Expression);
            case ScriptLiteral literal:
                return literal.Value switch
                {
                    string => TemplateShape.Text,
                    bool => TemplateShape.Truth,
                    null => null,
                    _ => TemplateShape.Number,
                };
            case ScriptAssignExpression assignment:
                var value = ShapeOf(assignment.Value);
                if (assignment.Target is ScriptVariable)
                    Made(assignment.Target, value);
                else
                    ShapeOf(assignment.Target);
                return null;
            case ScriptConditionalExpression choice:
                CheckCondition(choice.Condition);
                ShapeOf(choice.ElseValue);
                return ShapeOf(choice.ThenValue);
            case ScriptPipeCall pipe:
                return ShapeOfPipe(pipe.To, ShapeOf(pipe.From));
            case ScriptFunctionCall call:
                return ShapeOfCall(call, null);
            case ScriptNamedArgument argument: // its name is no use of one
                return ShapeOf(argument.Value);
            case not null:
                WalkChildren(expression);
                break;
        }
        return null;
    }

    private TemplateShape? ShapeOfName(ScriptVariableGlobal variable)
    {
        if (_scopes.TryGet(variable.Name, out var shape))
            return shape;
        if (ReportFunctions.Refused.Contains(variable.Name))
            Add(variable.Span, Quoted(variable), "{{ NAME }}", "what models wrote is never inserted as markup");
        else if (!_isFunction(variable.Name))
            Unknown(variable, variable.Name, _scopes.Names.Concat(ReportFunctions.Names));
        return null;
    }

    private TemplateShape? ShapeOfMember(ScriptMemberExpression member)
    {
        var name = member.Member?.Name ?? "";
        if (member.Target is ScriptVariableGlobal { Name: "for" or "while" })
        {
            if (_scopes.OfLoop.Count == 0)
                Add(member.Span, $"{Quoted(member)} outside of a loop", "it inside {{ for ... }}");
            else if (!_scopes.OfLoop.Contains(name))
                Unknown(member, name, _scopes.OfLoop);
            return name is "first" or "last" or "even" or "odd" or "changed"
                ? TemplateShape.Truth : TemplateShape.Number;
        }
        if (
            member.Target is ScriptVariableGlobal group && !_scopes.TryGet(group.Name, out _)
                && _isFunction(group.Name))
        {
            if (TemplateFunctions.Of(group.Name) is { Count: > 0 } functions && !functions.Contains(name))
                Unknown(member, name, functions);
            return null;
        }
        if (ShapeOf(member.Target) is not { } shape)
            return null;
        if (name == "size" && (shape.Item is not null || shape.IsText))
            return TemplateShape.Number;
        if (shape.Member(name) is { } found)
            return found;
        if (shape.Item is not null)
            Add(
                member.Span, Quoted(member), "size, which is all that a list has",
                $"use {{{{ for item in {_template.Code(member.Target!.Span)} }}}} ... {{{{ end }}}}");
        else if (shape.IsValue)
            Add(
                member.Span, Quoted(member), "no name after a value",
                $"write {{{{ {_template.Code(member.Target!.Span)} }}}}");
        else
            Unknown(member, name, shape.Names);
        return null;
    }

    // a | b | c is read as a | (b | c).
    private TemplateShape? ShapeOfPipe(ScriptExpression? to, TemplateShape? piped) =>
        to is ScriptPipeCall further
            ? ShapeOfPipe(further.To, ShapeOfCall(further.From, piped)) : ShapeOfCall(to, piped);

    // Of a list's functions what comes out is known; of others it is seen when they are carried out.
    private TemplateShape? ShapeOfCall(ScriptExpression? function, TemplateShape? piped)
    {
        var call = function as ScriptFunctionCall;
        var target = call?.Target ?? function;
        ShapeOf(target);
        var arguments = (call?.Arguments ?? []).Select(ShapeOf).ToList();
        if (call is { Target: ScriptVariableGlobal { Name: ReportFunctions.Inline } }
            && call.Arguments is [ScriptLiteral { Value: string file }] && !ReportFunctions.Inlined.Contains(file))
            Add(call.Span, Quoted(call), Words.OneOf([.. ReportFunctions.Inlined.Select(name => $"\"{name}\"")]));
        if (target is not ScriptMemberExpression { Target: ScriptVariableGlobal { Name: "array" } } member
            || member.Member?.Name is not { } name)
            return null;
        var list = piped ?? arguments.FirstOrDefault();
        return name is "first" or "last"
            ? list?.Item : name == "size" ? TemplateShape.Number : ListFunctions.Contains(name) ? list : null;
    }

    private void Made(ScriptNode? target, TemplateShape? shape)
    {
        if (target is ScriptVariable variable)
            _scopes.Make(variable.Name, shape);
    }

    private void Unknown(ScriptNode node, string name, IEnumerable<string> known)
    {
        var names = known.ToList();
        var near = NearestName.Of(name, names) is { } found ? $"did you mean {found}?" : null;
        Add(node.Span, Quoted(node), $"a name known here: {Words.OneOf(names)}", near);
    }

    private string Quoted(ScriptNode node) => Quote.Of(_template.Code(node.Span));

    private void Add(SourceSpan span, string found, string allowed, string? advice = null) =>
        _faults.Add(
            new TemplateFault(span.Start.Line + 1, span.Start.Column + 1, found, allowed, advice).In(_template.Name));
}
