using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;

namespace Peft.Jinja;

/// <summary>Text being written, with the spans of <c>{% generation %}</c>.</summary>
internal sealed class Writer
{
    private readonly StringBuilder _text = new();
    private readonly List<(int Start, int End)> _spans = [];

    public int Position => _text.Length;

    public void Write(object? value)
    {
        if (value is Spanned spanned)
            _spans.AddRange(spanned.Spans.Select(span => (span.Start + Position, span.End + Position)));
        var text = PythonText.Str(value);
        Python.RequireLength((long)_text.Length + text.Length);
        _text.Append(text);
    }

    public void Mark(int start) => _spans.Add((start, Position));

    public object Result() => _spans.Count == 0 ? _text.ToString() : new Spanned(_text.ToString(), _spans);
}

/// <summary>Names and their values; what is set here is not seen outside.</summary>
internal sealed class Scope(Scope? parent)
{
    private readonly Dictionary<string, object?> _values = new(StringComparer.Ordinal);

    public object? this[string name]
    {
        set => _values[name] = value;
    }

    public bool TryGet(string name, out object? value)
    {
        for (var scope = this; scope is not null; scope = scope.Parent)
        {
            if (scope._values.TryGetValue(name, out value))
                return true;
        }

        value = null;
        return false;
    }

    private Scope? Parent => parent;
}

/// <summary>Runs a template: statements. Expressions are in the other half of this class.</summary>
internal sealed partial class Interpreter(JinjaLimits limits, DateTime now)
{
    private readonly long _deadline = Stopwatch.GetTimestamp() + (long)(limits.Time.TotalSeconds * Stopwatch.Frequency);
    private long _steps;
    private int _depth;

    private enum Flow
    {
        Next,
        Break,
        Continue,
    }

    /// <summary>When the template asks what time it is.</summary>
    public DateTime Now => now;

    public object Render(IReadOnlyList<Statement> body, IEnumerable<KeyValuePair<string, object?>> variables)
    {
        var globals = new Scope(null);
        foreach (var (name, value) in Library.Globals(this).Concat(variables))
            globals[name] = value;
        var writer = new Writer();
        Run(body, new Scope(globals), writer);
        return writer.Result();
    }

    private Flow Run(IReadOnlyList<Statement> body, Scope scope, Writer writer)
    {
        foreach (var statement in body)
        {
            Flow flow;
            try
            {
                Step();
                flow = Run(statement, scope, writer);
            }
            catch (JinjaException error) when (error.Line == 0)
            {
                error.Line = statement.Line;
                throw;
            }

            if (flow != Flow.Next)
                return flow;
        }

        return Flow.Next;
    }

    private Flow Run(Statement statement, Scope scope, Writer writer)
    {
        switch (statement)
        {
            case Data data:
                writer.Write(data.Text);
                return Flow.Next;
            case Print print:
                foreach (var value in print.Values)
                    writer.Write(Evaluate(value, scope));
                return Flow.Next;
            case If choice:
                return RunIf(choice, scope, writer);
            case For loop:
                RunFor(loop, Evaluate(loop.Items, scope), scope, writer, 0);
                return Flow.Next;
            case LoopControl control:
                return control.Breaks ? Flow.Break : Flow.Continue;
            case Set set:
                Assign(set.Target, Evaluate(set.Value, scope), scope);
                return Flow.Next;
            case SetBlock block:
                var text = Captured(block.Body, new Scope(scope));
                Assign(block.Target, block.Filter is null ? text : Filtered(block.Filter, text, scope), scope);
                return Flow.Next;
            case With with:
                RunWith(with, scope, writer);
                return Flow.Next;
            case MacroOf macro:
                scope[macro.Name!] = Macro(macro, scope);
                return Flow.Next;
            case CallBlock call:
                writer.Write(Call(call.Call, scope, Macro(call.Caller, scope)));
                return Flow.Next;
            case FilterBlock block:
                writer.Write(Filtered(block.Filter, Captured(block.Body, new Scope(scope)), scope));
                return Flow.Next;
            case Generation generation:
                var start = writer.Position;
                Run(generation.Body, new Scope(scope), writer);
                writer.Mark(start);
                return Flow.Next;
            case Block block:
                Run(block.Body, new Scope(scope), writer);
                return Flow.Next;
            default:
                throw new JinjaException(JinjaErrorKind.Runtime, "no loader for this environment specified");
        }
    }

    private Flow RunIf(If choice, Scope scope, Writer writer)
    {
        foreach (var (test, body) in choice.Branches)
        {
            if (Python.IsTrue(Evaluate(test, scope)))
                return Run(body, scope, writer);
        }

        return Run(choice.Otherwise, scope, writer);
    }

    private void RunFor(For loop, object? items, Scope scope, Writer writer, int depth)
    {
        Enter();
        var values = Filter(loop, Python.Iterate(items), scope);
        var state = new LoopState(values, depth, inner =>
        {
            var nested = new Writer();
            RunFor(loop, inner, scope, nested, depth + 1);
            return nested.Result();
        });
        for (state.At = 0; state.At < values.Count; state.At++)
        {
            var own = new Scope(scope) { ["loop"] = state };
            Assign(loop.Target, values[state.At], own);
            if (Run(loop.Body, own, writer) == Flow.Break)
                break;
        }

        if (values.Count == 0)
            Run(loop.Otherwise, new Scope(scope), writer);
        _depth--;
    }

    private List<object?> Filter(For loop, IEnumerable<object?> items, Scope scope)
    {
        var kept = new List<object?>();
        foreach (var item in items)
        {
            Step();
            if (loop.Filter is not null)
            {
                var own = new Scope(scope);
                Assign(loop.Target, item, own);
                if (!Python.IsTrue(Evaluate(loop.Filter, own)))
                    continue;
            }

            kept.Add(item);
        }

        return kept;
    }

    private void RunWith(With with, Scope scope, Writer writer)
    {
        var own = new Scope(scope);
        foreach (var (target, value) in with.Values)
            Assign(target, Evaluate(value, scope), own);
        Run(with.Body, own, writer);
    }

    private object Captured(IReadOnlyList<Statement> body, Scope scope)
    {
        var writer = new Writer();
        Run(body, scope, writer);
        return writer.Result();
    }

    private void Assign(Expression target, object? value, Scope scope)
    {
        switch (target)
        {
            case NameOf name:
                scope[name.Name] = value;
                return;
            case AttributeOf attribute:
                if (Evaluate(attribute.Target, scope) is not Namespace space)
                    throw new JinjaException(JinjaErrorKind.Runtime, "cannot assign attribute on non-namespace object");
                space.Attributes[attribute.Name] = value;
                return;
            default:
                var targets = ((ListOf)target).Items;
                Python.RequireDefined(value);
                var values = Python.Iterate(value).Take(targets.Count + 1).ToList();
                if (values.Count > targets.Count)
                    throw new JinjaException(JinjaErrorKind.Runtime,
                        $"too many values to unpack (expected {targets.Count})");
                if (values.Count < targets.Count)
                    throw new JinjaException(JinjaErrorKind.Runtime,
                        $"not enough values to unpack (expected {targets.Count}, got {values.Count})");
                for (var i = 0; i < values.Count; i++)
                    Assign(targets[i], values[i], scope);
                return;
        }
    }

    private Callable Macro(MacroOf macro, Scope definition) => new(macro.Name ?? "caller", arguments =>
    {
        Enter();
        var writer = new Writer();
        Run(macro.Body, Bind(macro, arguments, definition), writer);
        _depth--;
        return writer.Result();
    });

    private Scope Bind(MacroOf macro, CallArguments arguments, Scope definition)
    {
        var name = macro.Name ?? "caller";
        var scope = new Scope(definition);
        var parameters = macro.Parameters;
        var named = arguments.Named.ToDictionary(StringComparer.Ordinal);
        for (var i = 0; i < parameters.Count; i++)
        {
            var (parameter, fallback) = parameters[i];
            if (i < arguments.Values.Count)
            {
                if (named.ContainsKey(parameter))
                    throw Python.TypeError($"macro '{name}' got multiple values for argument '{parameter}'");
                scope[parameter] = arguments.Values[i];
            }
            else if (named.Remove(parameter, out var given))
                scope[parameter] = given;
            else
                scope[parameter] = fallback is null ? new Undefined($"parameter '{parameter}' was not provided")
                    : Evaluate(fallback, scope);
        }

        if (macro.Uses.Contains("caller"))
            scope["caller"] = named.Remove("caller", out var caller) ? caller : new Undefined("No caller defined");
        if (macro.Uses.Contains("varargs"))
            scope["varargs"] = new PyTuple(arguments.Values.Skip(parameters.Count));
        else if (arguments.Values.Count > parameters.Count)
            throw Python.TypeError($"macro '{name}' takes not more than {parameters.Count} argument(s)");
        if (macro.Uses.Contains("kwargs"))
            scope["kwargs"] =
                Library.Dictionary(named.Select(item => KeyValuePair.Create((object?)item.Key, item.Value)));
        else if (named.Count > 0)
            throw Python.TypeError($"macro '{name}' takes no keyword argument '{named.Keys.First()}'");
        return scope;
    }

    private void Enter()
    {
        if (++_depth > limits.Depth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new JinjaException(JinjaErrorKind.Limit,
                $"calls and loops nest more than {limits.Depth} levels deep");
    }

    // Once for each statement and expression.
    private void Step()
    {
        if (++_steps > limits.Steps)
            throw new JinjaException(JinjaErrorKind.Limit, $"more than {limits.Steps} steps");
        if ((_steps & 1023) == 0 && Stopwatch.GetTimestamp() > _deadline)
            throw new JinjaException(JinjaErrorKind.Limit, $"more than {limits.Time.TotalSeconds} seconds");
    }

    /// <summary>The variable <c>loop</c>.</summary>
    private sealed class LoopState(IReadOnlyList<object?> items, int depth, Func<object?, object> again) : IHasMembers
    {
        private object? _seen;
        private bool _hasSeen;

        public int At { get; set; }

        public object Again(object? inner) => again(inner);

        public bool TryMember(string name, out object? value)
        {
            value = name switch
            {
                "index" => Whole(At + 1),
                "index0" => Whole(At),
                "revindex" => Whole(items.Count - At),
                "revindex0" => Whole(items.Count - At - 1),
                "first" => At == 0,
                "last" => At == items.Count - 1,
                "length" => Whole(items.Count),
                "depth" => Whole(depth + 1),
                "depth0" => Whole(depth),
                "previtem" => At > 0 ? items[At - 1] : new Undefined("there is no previous item"),
                "nextitem" => At + 1 < items.Count ? items[At + 1] : new Undefined("there is no next item"),
                "cycle" => new Callable("cycle", arguments => arguments.Values.Count > 0
                    ? arguments.Values[At % arguments.Values.Count]
                        : throw Python.TypeError("no items for cycling given")),
                "changed" => new Callable("changed", arguments => Changed(arguments)),
                _ => this,
            };
            return value != this;
        }

        private static System.Numerics.BigInteger Whole(int value) => value;

        private bool Changed(CallArguments arguments)
        {
            var now = new PyTuple(arguments.Values);
            var changed = !_hasSeen || !Python.AreEqual(_seen, now);
            (_seen, _hasSeen) = (now, true);
            return changed;
        }
    }
}
