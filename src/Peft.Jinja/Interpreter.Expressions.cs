using System.Numerics;

namespace Peft.Jinja;

/// <content>Expressions.</content>
internal sealed partial class Interpreter
{
    private object? Evaluate(Expression expression, Scope scope)
    {
        Step();
        return expression switch
        {
            Constant constant => constant.Value,
            NameOf name =>
                scope.TryGet(name.Name, out var value) ? value : new Undefined($"'{name.Name}' is undefined"),
            AttributeOf attribute => Members.Attribute(Evaluate(attribute.Target, scope), attribute.Name),
            ItemOf { Key: SliceOf slice } item => Slice(Evaluate(item.Target, scope), slice, scope),
            ItemOf item => Members.Item(Evaluate(item.Target, scope), Evaluate(item.Key, scope)),
            FilterOf filter => Filtered(filter, null, scope),
            TestOf test => Test(test, scope),
            CallOf call => Call(call, scope, null),
            CompareOf compare => Compare(compare, scope),
            ConcatOf concat => Concat(concat, scope),
            ChoiceOf choice => Choose(choice, scope),
            UnaryOf { Operator: "not" } not => !Python.IsTrue(Evaluate(not.Operand, scope)),
            UnaryOf unary => Python.Unary(unary.Operator, Evaluate(unary.Operand, scope)),
            BinaryOf { Operator: "and" or "or" } binary => Logical(binary, scope),
            BinaryOf binary =>
                Python.Binary(binary.Operator, Evaluate(binary.Left, scope), Evaluate(binary.Right, scope)),
            ListOf { IsTuple: true } tuple => new PyTuple(tuple.Items.Select(item => Evaluate(item, scope))),
            ListOf list => new PyList(list.Items.Select(item => Evaluate(item, scope))),
            DictOf dict => Library.Dictionary(dict.Items.Select(item =>
                KeyValuePair.Create(Evaluate(item.Key, scope), Evaluate(item.Value, scope)))),
            _ => throw new InvalidOperationException($"an expression of an unknown kind, {expression.GetType().Name}"),
        };
    }

    private object? Logical(BinaryOf binary, Scope scope)
    {
        var left = Evaluate(binary.Left, scope);
        return Python.IsTrue(left) == (binary.Operator == "or") ? left : Evaluate(binary.Right, scope);
    }

    private object? Choose(ChoiceOf choice, Scope scope) =>
        Python.IsTrue(Evaluate(choice.Test, scope)) ? Evaluate(choice.Then, scope)
        : choice.Otherwise is not null ? Evaluate(choice.Otherwise, scope)
        : new Undefined("the inline if-expression evaluated to false and no else section was defined");

    private object Concat(ConcatOf concat, Scope scope)
    {
        object result = "";
        foreach (var part in concat.Parts)
        {
            var value = Evaluate(part, scope);
            result = PythonText.Concat(result, value is Spanned ? value : PythonText.Str(value));
            Python.RequireLength(result.ToString()!.Length);
        }

        return result;
    }

    private bool Compare(CompareOf compare, Scope scope)
    {
        var left = Evaluate(compare.First, scope);
        foreach (var (symbol, operand) in compare.Steps)
        {
            var right = Evaluate(operand, scope);
            var holds = symbol switch
            {
                "==" => Python.AreEqual(left, right),
                "!=" => !Python.AreEqual(left, right),
                "in" => Python.Contains(right, left),
                "not in" => !Python.Contains(right, left),
                "<" => Python.Compare(left, right, symbol) < 0,
                "<=" => Python.Compare(left, right, symbol) <= 0,
                ">" => Python.Compare(left, right, symbol) > 0,
                _ => Python.Compare(left, right, symbol) >= 0,
            };
            if (!holds)
                return false;
            left = right;
        }

        return true;
    }

    private object? Slice(object? value, SliceOf slice, Scope scope)
    {
        int? Bound(Expression? bound)
        {
            if (bound is null || Evaluate(bound, scope) is not { } given)
                return null;
            Python.RequireDefined(given);
            return (int)BigInteger.Clamp(Python.ToInteger(given), int.MinValue + 1, int.MaxValue);
        }

        return Members.Slice(value, Bound(slice.Start), Bound(slice.Stop), Bound(slice.Step));
    }

    private object? Call(CallOf call, Scope scope, Callable? caller)
    {
        var target = Evaluate(call.Target, scope);
        var arguments = Arguments(call.Arguments, scope, caller);
        Python.RequireDefined(target);
        Enter();
        var result = target switch
        {
            Callable callable => callable.Call(arguments),
            LoopState loop => loop.Again(arguments.Required(0, "iterable")),
            _ => throw Python.TypeError($"'{Python.TypeName(target)}' object is not callable"),
        };
        _depth--;
        if (result is string text)
            Python.RequireLength(text.Length);
        return result;
    }

    private CallArguments Arguments(ArgumentList list, Scope scope, Callable? caller = null)
    {
        if (list == ArgumentList.Empty && caller is null)
            return CallArguments.Empty;
        var values = list.Values.Select(value => Evaluate(value, scope)).ToList();
        var named = new Dictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in list.Named)
        {
            if (!named.TryAdd(name, Evaluate(value, scope)))
                throw new JinjaException(JinjaErrorKind.Syntax, $"keyword argument repeated: {name}");
        }

        if (list.Rest is not null)
            values.AddRange(Python.Iterate(Evaluate(list.Rest, scope)));
        if (list.NamedRest is not null && Evaluate(list.NamedRest, scope) is PyDict more)
        {
            foreach (var (name, value) in more)
                named[Python.RequireText(name)] = value;
        }

        if (caller is not null)
            named["caller"] = caller;
        return new CallArguments(values, named);
    }

    // The value at the head of a chain of filters is given where the chain stands at the head of a block.
    private object? Filtered(FilterOf filter, object? head, Scope scope)
    {
        var value = filter.Value switch
        {
            null => head,
            FilterOf inner => Filtered(inner, head, scope),
            _ => Evaluate(filter.Value, scope),
        };
        return Library.Filter(filter.Name, value, Arguments(filter.Arguments, scope));
    }

    private object Test(TestOf test, Scope scope)
    {
        var holds = Library.Test(test.Name, Evaluate(test.Value, scope), Arguments(test.Arguments, scope));
        return holds != test.IsNegated;
    }
}
