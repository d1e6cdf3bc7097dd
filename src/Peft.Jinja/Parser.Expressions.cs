namespace Peft.Jinja;

/// <content>Expressions made of operators, loosest binding first.</content>
internal sealed partial class Parser
{
    private static readonly string[] Comparisons = ["==", "!=", "<", "<=", ">", ">="];

    private Expression ParseExpression(bool withChoice = true)
    {
        Enter();
        var expression = withChoice ? ParseChoice() : ParseOr();
        _depth--;
        return expression;
    }

    private Expression TupleOrOne(bool withChoice = true, string? end = null)
    {
        var line = Current.Line;
        var items = new List<Expression>();
        var isTuple = false;
        while (!(items.Count > 0 && EndsTuple(end)))
        {
            items.Add(ParseExpression(withChoice));
            if (!Current.Is(","))
                break;
            isTuple = true;
            _at++;
        }

        return isTuple ? new ListOf(items, IsTuple: true, line) : items[0];
    }

    private bool EndsTuple(string? end) =>
        Current.Kind is TokenKind.PrintEnd or TokenKind.BlockEnd || Current.Is(")")
            || (end is not null && Current.Is(end));

    private Expression ParseChoice()
    {
        var unknown = _unknown.Count;
        var soft = _isSoft;
        var expression = ParseOr();
        if (!Current.Is("if"))
            return expression;
        // What is before "if" is evaluated only when the test holds, so that unknown names in it are no error yet.
        _unknown.RemoveRange(unknown, _unknown.Count - unknown);
        _isSoft = true;
        while (Current.Is("if"))
        {
            var line = Current.Line;
            _at++;
            var test = ParseOr();
            expression = new ChoiceOf(test, expression, Skip("else") ? ParseChoice() : null, line);
        }

        _isSoft = soft;
        return expression;
    }

    private Expression ParseOr()
    {
        var left = ParseAnd();
        while (Current.Is("or"))
        {
            _at++;
            left = new BinaryOf("or", left, ParseAnd(), left.Line);
        }

        return left;
    }

    private Expression ParseAnd()
    {
        var left = ParseNot();
        while (Current.Is("and"))
        {
            _at++;
            left = new BinaryOf("and", left, ParseNot(), left.Line);
        }

        return left;
    }

    private Expression ParseNot()
    {
        if (!Current.Is("not"))
            return ParseComparison();
        var line = Current.Line;
        _at++;
        Enter();
        var operand = ParseNot();
        _depth--;
        return new UnaryOf("not", operand, line);
    }

    private Expression ParseComparison()
    {
        var first = ParseSum();
        var steps = new List<(string, Expression)>();
        while (true)
        {
            if (Current.Kind == TokenKind.Operator && Comparisons.Contains(Current.Value))
                steps.Add((_tokens[_at++].Value, ParseSum()));
            else if (Skip("in"))
                steps.Add(("in", ParseSum()));
            else if (Current.Is("not") && _tokens[_at + 1].Is("in"))
            {
                _at += 2;
                steps.Add(("not in", ParseSum()));
            }
            else
                break;
        }

        return steps.Count == 0 ? first : new CompareOf(first, steps, first.Line);
    }

    private Expression ParseSum() => LeftToRight(ParseConcatenation, "+", "-");

    private Expression ParseConcatenation()
    {
        var first = ParseProduct();
        if (!Current.Is("~"))
            return first;
        var parts = new List<Expression> { first };
        while (Skip("~"))
            parts.Add(ParseProduct());
        return new ConcatOf(parts, first.Line);
    }

    private Expression ParseProduct() => LeftToRight(ParsePower, "*", "/", "//", "%");

    private Expression ParsePower() => LeftToRight(() => ParseUnary(), "**");

    private Expression LeftToRight(Func<Expression> operand, params string[] operators)
    {
        var left = operand();
        while (Current.Kind == TokenKind.Operator && operators.Contains(Current.Value))
            left = new BinaryOf(_tokens[_at++].Value, left, operand(), left.Line);
        return left;
    }

    private Expression ParseUnary(bool withFilter = true)
    {
        Enter();
        var line = Current.Line;
        Expression expression;
        if (Current.Kind == TokenKind.Operator && Current.Value is "-" or "+")
            expression = new UnaryOf(_tokens[_at++].Value, ParseUnary(withFilter: false), line);
        else
            expression = ParsePrimary();
        expression = ParsePostfix(expression);
        if (withFilter)
            expression = ParseFiltersAndTests(expression);
        _depth--;
        return expression;
    }
}
