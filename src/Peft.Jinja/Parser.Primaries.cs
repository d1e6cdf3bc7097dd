using System.Globalization;
using System.Numerics;

namespace Peft.Jinja;

/// <content>What operators work on: literals, names, members, calls, filters and tests.</content>
internal sealed partial class Parser
{
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
            filter = new FilterOf((Expression?)filter ?? value, name, Current.Is("(") ? Arguments()
                : ArgumentList.Empty, line);
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
