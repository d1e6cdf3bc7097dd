namespace Peft.Jinja;

/// <summary>An expression, with its line in the template.</summary>
internal abstract record Expression(int Line);

internal sealed record Constant(object? Value, int Line) : Expression(Line);

internal sealed record NameOf(string Name, int Line) : Expression(Line);

internal sealed record ListOf(IReadOnlyList<Expression> Items, bool IsTuple, int Line) : Expression(Line);

internal sealed record DictOf(IReadOnlyList<(Expression Key, Expression Value)> Items, int Line) : Expression(Line);

/// <summary><c>x.name</c>.</summary>
internal sealed record AttributeOf(Expression Target, string Name, int Line) : Expression(Line);

/// <summary><c>x[key]</c>.</summary>
internal sealed record ItemOf(Expression Target, Expression Key, int Line) : Expression(Line);

internal sealed record SliceOf(Expression? Start, Expression? Stop, Expression? Step, int Line) : Expression(Line);

/// <summary>The arguments of a call, a filter or a test; those of <c>*</c> and <c>**</c> last.</summary>
internal sealed record ArgumentList(
    IReadOnlyList<Expression> Values, IReadOnlyList<(string Name, Expression Value)> Named, Expression? Rest,
        Expression? NamedRest)
{
    public static ArgumentList Empty { get; } = new([], [], null, null);
}

internal sealed record CallOf(Expression Target, ArgumentList Arguments, int Line) : Expression(Line);

/// <summary><c>value|name(...)</c>; the value is null at the head of a filter block.</summary>
internal sealed record FilterOf(Expression? Value, string Name, ArgumentList Arguments, int Line) : Expression(Line);

internal sealed record TestOf(Expression Value, string Name, ArgumentList Arguments, bool IsNegated, int Line)
    : Expression(Line);

internal sealed record UnaryOf(string Operator, Expression Operand, int Line) : Expression(Line);

internal sealed record BinaryOf(string Operator, Expression Left, Expression Right, int Line) : Expression(Line);

/// <summary><c>a &lt; b &lt; c</c>: every step compares with the one before.</summary>
internal sealed record CompareOf(Expression First, IReadOnlyList<(string Operator, Expression Operand)> Steps,
    int Line) : Expression(Line);

internal sealed record ConcatOf(IReadOnlyList<Expression> Parts, int Line) : Expression(Line);

internal sealed record ChoiceOf(Expression Test, Expression Then, Expression? Otherwise, int Line) : Expression(Line);

/// <summary>A statement, with its line in the template.</summary>
internal abstract record Statement(int Line);

internal sealed record Data(string Text, int Line) : Statement(Line);

internal sealed record Print(IReadOnlyList<Expression> Values, int Line) : Statement(Line);

internal sealed record If(IReadOnlyList<(Expression Test, IReadOnlyList<Statement> Body)> Branches,
    IReadOnlyList<Statement> Otherwise, int Line)
    : Statement(Line);

internal sealed record For(
    Expression Target, Expression Items, Expression? Filter, bool IsRecursive, IReadOnlyList<Statement> Body,
    IReadOnlyList<Statement> Otherwise, int Line) : Statement(Line);

/// <summary><c>break</c> or <c>continue</c>.</summary>
internal sealed record LoopControl(bool Breaks, int Line) : Statement(Line);

internal sealed record Set(Expression Target, Expression Value, int Line) : Statement(Line);

/// <summary><c>{% set x %}...{% endset %}</c>.</summary>
internal sealed record SetBlock(Expression Target, FilterOf? Filter, IReadOnlyList<Statement> Body, int Line)
    : Statement(Line);

internal sealed record With(IReadOnlyList<(Expression Target, Expression Value)> Values, IReadOnlyList<Statement> Body,
    int Line) : Statement(Line);

/// <summary>A macro or the body of a call block; <c>Uses</c>: which of varargs, kwargs and caller the body
/// names.</summary>
internal sealed record MacroOf(
    string? Name, IReadOnlyList<(string Name, Expression? Fallback)> Parameters, IReadOnlyList<Statement> Body,
    IReadOnlySet<string> Uses, int Line) : Statement(Line);

internal sealed record CallBlock(CallOf Call, MacroOf Caller, int Line) : Statement(Line);

internal sealed record FilterBlock(FilterOf Filter, IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary><c>{% generation %}</c> of transformers: what the assistant writes.</summary>
internal sealed record Generation(IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary>A block of a template without inheritance: its body.</summary>
internal sealed record Block(IReadOnlyList<Statement> Body, int Line) : Statement(Line);

/// <summary>Include, import and extends: there is no loader, so that reaching one is an error.</summary>
internal sealed record Loads(int Line) : Statement(Line);
