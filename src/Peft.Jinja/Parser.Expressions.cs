using System.Globalization;
using System.Numerics;

namespace Peft.Jinja;

/// <content>Expressions, loosest binding first.</content>
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
        Current.Kind is TokenKind.PrintEnd or TokenKind.BlockEnd || Current.Is(")") || (end is not null && Current.Is(end));

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

    private Expression ParsePrimary()
    {
        var token = Current;
        _at++;
        switch (token.Kind)
        {
            case TokenKind.Name:
                return token.Value switch
                {
                    "true" or "True" => new Constant(true, token.Line),
                    "false" or "False" => new Constant(false, token.Line),
                    "none" or "None" => new Constant(null, token.Line),
                    _ => new NameOf(token.Value, token.Line),
                };
            case TokenKind.Text:
                var text = token.Value;
                while (Current.Kind == TokenKind.Text)
                    text += _tokens[_at++].Value;
                return new Constant(text, token.Line);
            case TokenKind.Integer:
                return new Constant(WholeNumber(token.Value.Replace("_", "", StringComparison.Ordinal)), token.Line);
            case TokenKind.Float:
                var digits = token.Value.Replace("_", "", StringComparison.Ordinal);
                return new Constant(double.Parse(digits, CultureInfo.InvariantCulture), token.Line);
            default:
                if (token.Is("("))
                    return ParseParentheses(token.Line);
                if (token.Is("["))
                    return new ListOf(Items("]"), IsTuple: false, token.Line);
                if (token.Is("{"))
                    return ParseDictionary(token.Line);
                _at--;
                throw Error($"unexpected '{token}'");
        }
    }

    private Expression ParseParentheses(int line)
    {
        if (Skip(")"))
            return new ListOf([], IsTuple: true, line);
        var inner = TupleOrOne();
        ExpectOperator(")");
        return inner;
    }

    private List<Expression> Items(string end)
    {
        var items = new List<Expression>();
        while (!Current.Is(end))
        {
            if (items.Count > 0)
                ExpectOperator(",");
            if (Current.Is(end))
                break;
            items.Add(ParseExpression());
        }

        _at++;
        return items;
    }

    private DictOf ParseDictionary(int line)
    {
        var items = new List<(Expression, Expression)>();
        while (!Current.Is("}"))
        {
            if (items.Count > 0)
                ExpectOperator(",");
            if (Current.Is("}"))
                break;
            var key = ParseExpression();
            ExpectOperator(":");
            items.Add((key, ParseExpression()));
        }

        _at++;
        return new DictOf(items, line);
    }

    private Expression ParsePostfix(Expression expression)
    {
        while (true)
        {
            if (Skip("."))
                expression = ParseMember(expression);
            else if (Current.Is("["))
                expression = ParseSubscript(expression);
            else if (Current.Is("("))
                expression = new CallOf(expression, Arguments(), expression.Line);
            else
                return expression;
        }
    }

    private Expression ParseMember(Expression target)
    {
        var token = Current;
        _at++;
        return token.Kind switch
        {
            TokenKind.Name => new AttributeOf(target, token.Value, token.Line),
            TokenKind.Integer => new ItemOf(target, new Constant(WholeNumber(token.Value), token.Line), token.Line),
            _ => throw Error("expected name or number"),
        };
    }

    private ItemOf ParseSubscript(Expression target)
    {
        var line = Current.Line;
        _at++;
        var keys = new List<Expression>();
        while (!Current.Is("]"))
        {
            if (keys.Count > 0)
                ExpectOperator(",");
            keys.Add(SliceOrKey());
        }

        _at++;
        if (keys.Count == 0)
            throw Error("expected subscript expression");
        return new ItemOf(target, keys.Count == 1 ? keys[0] : new ListOf(keys, IsTuple: true, line), line);
    }

    private Expression SliceOrKey()
    {
        var line = Current.Line;
        var start = Current.Is(":") ? null : ParseExpression();
        if (!Skip(":"))
            return start!;
        Expression? Bound() => Current.Is(":") || Current.Is("]") || Current.Is(",") ? null : ParseExpression();
        var stop = Bound();
        return new SliceOf(start, stop, Skip(":") ? Bound() : null, line);
    }

    private ArgumentList Arguments()
    {
        ExpectOperator("(");
        var values = new List<Expression>();
        var named = new List<(string, Expression)>();
        Expression? rest = null;
        Expression? namedRest = null;
        var isFirst = true;
        while (!Current.Is(")"))
        {
            if (!isFirst)
                ExpectOperator(",");
            isFirst = false;
            if (Current.Is(")"))
                break;
            if (Current.Is("*") && rest is null && namedRest is null)
            {
                _at++;
                rest = ParseExpression();
            }
            else if (Current.Is("**") && namedRest is null)
            {
                _at++;
                namedRest = ParseExpression();
            }
            else if (Current.Kind == TokenKind.Name && _tokens[_at + 1].Is("=") && namedRest is null)
            {
                var name = ExpectName();
                _at++;
                named.Add((name, ParseExpression()));
            }
            else if (named.Count == 0 && rest is null && namedRest is null)
                values.Add(ParseExpression());
            else
                throw Error("invalid syntax for function call expression");
        }

        _at++;
        return new ArgumentList(values, named, rest, namedRest);
    }

    private Expression ParseFiltersAndTests(Expression expression)
    {
        while (true)
        {
            if (Current.Is("|"))
                expression = Filters(expression);
            else if (Current.Is("is"))
                expression = ParseTest(expression);
            else if (Current.Is("("))
                expression = new CallOf(expression, Arguments(), expression.Line);
            else
                return expression;
        }
    }

    // A chain of filters; at the head of a filter block the first "|" is not written.
    private FilterOf Filters(Expression? value)
    {
        FilterOf? filter = null;
        while (Current.Is("|") || (filter is null && value is null && Current.Kind == TokenKind.Name))
        {
            Skip("|");
            var line = Current.Line;
            var name = DottedName();
            if (!_isSoft && !Library.HasFilter(name))
                _unknown.Add(Error($"No filter named '{name}'."));
            filter = new FilterOf((Expression?)filter ?? value, name, Current.Is("(") ? Arguments() : ArgumentList.Empty, line);
        }

        return filter ?? throw Error($"unexpected '{Current}'");
    }

    private TestOf ParseTest(Expression value)
    {
        var line = Current.Line;
        _at++;
        var isNegated = Skip("not");
        var name = DottedName();
        if (!_isSoft && !Library.HasTest(name))
            _unknown.Add(Error($"No test named '{name}'."));
        var arguments = ArgumentList.Empty;
        if (Current.Is("("))
            arguments = Arguments();
        else if (StartsTestArgument())
        {
            if (Current.Is("is"))
                throw Error("You cannot chain multiple tests with is");
            arguments = new ArgumentList([ParsePostfix(ParsePrimary())], [], null, null);
        }

        return new TestOf(value, name, arguments, isNegated, line);
    }

    private bool StartsTestArgument() => Current.Kind switch
    {
        TokenKind.Name => Current.Value is not ("else" or "or" or "and"),
        TokenKind.Text or TokenKind.Integer or TokenKind.Float => true,
        _ => Current.Is("[") || Current.Is("{"),
    };

    private string DottedName()
    {
        var name = ExpectName();
        while (Skip("."))
            name += "." + ExpectName();
        return name;
    }

    private static BigInteger WholeNumber(string text)
    {
        var digits = text.ToLowerInvariant();
        if (digits.StartsWith("0x", StringComparison.Ordinal))
            return BigInteger.Parse("0" + digits[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        if (digits.StartsWith("0o", StringComparison.Ordinal))
            return digits[2..].Aggregate(BigInteger.Zero, (value, digit) => (value * 8) + (digit - '0'));
        if (digits.StartsWith("0b", StringComparison.Ordinal))
            return digits[2..].Aggregate(BigInteger.Zero, (value, digit) => (value * 2) + (digit - '0'));
        return BigInteger.Parse(digits, CultureInfo.InvariantCulture);
    }
}
