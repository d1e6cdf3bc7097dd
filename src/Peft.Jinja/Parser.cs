namespace Peft.Jinja;

/// <summary>Builds the tree of a template: statements. Expressions are in the other half of this class.</summary>
/// <remarks>Source: jinja2 3.1.2, parser.py, with the extensions <c>loopcontrols</c> and transformers'
/// <c>generation</c>.</remarks>
internal sealed partial class Parser
{
    private static readonly string[] BlockKeywords =
    [
        "for", "if", "block", "extends", "print", "macro", "include", "from", "import", "set", "with", "call",
            "filter", "break",
        "continue", "generation",
    ];

    private readonly List<Token> _tokens;
    private readonly int _deepest;
    private readonly Stack<(string Tag, string[] Ends)> _open = new();
    private readonly List<JinjaException> _unknown = []; // filters and tests
    private int _at;
    private int _depth;
    private bool _hasGeneration;
    // Inside if and inline if an unknown filter or test fails only when it is reached, as in jinja2.
    private bool _isSoft;

    private Parser(List<Token> tokens, int deepest) => (_tokens, _deepest) = (tokens, deepest);

    // The end stays the current token, however often it is taken.
    private Token Current => _tokens[Math.Min(_at, _tokens.Count - 1)];

    public static (IReadOnlyList<Statement> Body, bool HasGeneration) Parse(string source, int deepest)
    {
        var parser = new Parser(Lexer.Tokens(source), deepest);
        var body = parser.Body("");
        return parser._unknown.Count == 0 ? (body, parser._hasGeneration) : throw parser._unknown[0];
    }

    private Generation Generated(int line)
    {
        _hasGeneration = true;
        return new Generation(Closed("generation"), line);
    }

    // Statements up to a tag that ends this block, which is left as the current token; to the end of the template
    // without any.
    private List<Statement> Body(string tag, params string[] ends)
    {
        Enter();
        if (ends.Length > 0)
            _open.Push((tag, ends));
        var body = new List<Statement>();
        while (true)
        {
            var token = Current;
            if (token.Kind == TokenKind.Data)
            {
                _at++;
                body.Add(new Data(token.Value, token.Line));
            }
            else if (token.Kind == TokenKind.PrintBegin)
            {
                _at++;
                body.Add(new Print([TupleOrOne()], token.Line));
                Expect(TokenKind.PrintEnd);
            }
            else if (token.Kind == TokenKind.BlockBegin)
            {
                _at++;
                if (Current.Kind == TokenKind.Name && ends.Contains(Current.Value))
                    break;
                body.Add(Tag());
                Expect(TokenKind.BlockEnd);
            }
            else if (ends.Length > 0)
            {
                throw Error($"Unexpected end of template. {LookingFor()}");
            }
            else
            {
                break;
            }
        }

        if (ends.Length > 0)
            _open.Pop();
        _depth--;
        return body;
    }

    // A body of its own scope, closed by one tag.
    private List<Statement> Closed(string tag)
    {
        var soft = _isSoft;
        _isSoft = false;
        Expect(TokenKind.BlockEnd);
        var body = Body(tag, "end" + tag);
        _at++;
        _isSoft = soft;
        return body;
    }

    private Statement Tag()
    {
        var token = Current;
        if (token.Kind != TokenKind.Name)
            throw Error("tag name expected");
        if (!BlockKeywords.Contains(token.Value))
            throw UnknownTag(token.Value);
        _at++;
        return token.Value switch
        {
            "if" => ParseIf(token.Line),
            "for" => ParseFor(token.Line),
            "set" => ParseSet(token.Line),
            "with" => ParseWith(token.Line),
            "macro" => ParseMacro(token.Line),
            "call" => ParseCall(token.Line),
            "filter" => new FilterBlock(Filters(null), Closed("filter"), token.Line),
            "generation" => Generated(token.Line),
            "print" => ParsePrint(token.Line),
            "block" => ParseBlock(token.Line),
            "break" or "continue" => new LoopControl(token.Value == "break", token.Line),
            _ => ParseLoad(token.Line),
        };
    }

    private If ParseIf(int line)
    {
        var soft = _isSoft;
        _isSoft = true;
        var branches = new List<(Expression, IReadOnlyList<Statement>)>();
        IReadOnlyList<Statement> otherwise = [];
        var next = "if";
        while (next is "if" or "elif")
        {
            var test = TupleOrOne(withChoice: false);
            Expect(TokenKind.BlockEnd);
            branches.Add((test, Body("if", "elif", "else", "endif")));
            next = _tokens[_at++].Value;
        }

        if (next == "else")
        {
            Expect(TokenKind.BlockEnd);
            otherwise = Body("if", "endif");
            _at++;
        }

        _isSoft = soft;
        return new If(branches, otherwise, line);
    }

    private For ParseFor(int line)
    {
        var target = Target(withNamespace: false, "in");
        if (!Skip("in"))
            throw Error($"expected token 'in', got '{Current}'");
        var items = TupleOrOne(withChoice: false, "recursive");
        var filter = Skip("if") ? ParseExpression() : null;
        var isRecursive = Skip("recursive");
        Expect(TokenKind.BlockEnd);
        var soft = _isSoft;
        _isSoft = false;
        var body = Body("for", "endfor", "else");
        IReadOnlyList<Statement> otherwise = [];
        if (_tokens[_at++].Value == "else")
        {
            Expect(TokenKind.BlockEnd);
            otherwise = Body("for", "endfor");
            _at++;
        }

        _isSoft = soft;
        return new For(target, items, filter, isRecursive, body, otherwise, line);
    }

    private Statement ParseSet(int line)
    {
        var target = Target(withNamespace: true);
        if (Skip("="))
            return new Set(target, TupleOrOne(), line);
        var filter = Current.Is("|") ? Filters(null) : null;
        return new SetBlock(target, filter, Closed("set"), line);
    }

    private With ParseWith(int line)
    {
        var values = new List<(Expression, Expression)>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0)
                ExpectOperator(",");
            var target = Target(withNamespace: false);
            ExpectOperator("=");
            values.Add((target, ParseExpression()));
        }

        return new With(values, Closed("with"), line);
    }

    private MacroOf ParseMacro(int line)
    {
        var name = ExpectName();
        var parameters = Signature();
        return Macro(name, parameters, "macro", line);
    }

    private CallBlock ParseCall(int line)
    {
        IReadOnlyList<(string, Expression?)> parameters = Current.Is("(") ? Signature() : [];
        if (ParseExpression() is not CallOf call)
            throw Error("expected call");
        return new CallBlock(call, Macro(null, parameters, "call", line), line);
    }

    private MacroOf Macro(string? name, IReadOnlyList<(string, Expression?)> parameters, string tag, int line)
    {
        var start = _at;
        var body = Closed(tag);
        var named = _tokens[start.._at].Where(token => token.Kind == TokenKind.Name).Select(token => token.Value);
        var special = named.Where(used => used is "varargs" or "kwargs" or "caller").ToHashSet(StringComparer.Ordinal);
        return new MacroOf(name, parameters, body, special, line);
    }

    private Print ParsePrint(int line)
    {
        var values = new List<Expression>();
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (values.Count > 0)
                ExpectOperator(",");
            values.Add(ParseExpression());
        }

        return new Print(values, line);
    }

    private Block ParseBlock(int line)
    {
        ExpectName();
        Skip("scoped");
        Skip("required");
        Expect(TokenKind.BlockEnd);
        var body = Body("block", "endblock");
        _at++;
        if (Current.Kind == TokenKind.Name)
            _at++;
        return new Block(body, line);
    }

    private Loads ParseLoad(int line)
    {
        while (Current.Kind is not (TokenKind.BlockEnd or TokenKind.End))
            _at++;
        return new Loads(line);
    }

    private List<(string Name, Expression? Fallback)> Signature()
    {
        var parameters = new List<(string, Expression?)>();
        ExpectOperator("(");
        while (!Current.Is(")"))
        {
            if (parameters.Count > 0)
                ExpectOperator(",");
            var name = ExpectName();
            if (Skip("="))
                parameters.Add((name, ParseExpression()));
            else if (parameters.Any(parameter => parameter.Item2 is not null))
                throw Error("non-default argument follows default argument");
            else
                parameters.Add((name, null));
        }

        _at++;
        return parameters;
    }

    // A name, an attribute of a namespace, or a tuple of names.
    private Expression Target(bool withNamespace, params string[] ends)
    {
        if (withNamespace && Current.Kind == TokenKind.Name && _tokens[_at + 1].Is(".")
            && _tokens[_at + 2].Kind == TokenKind.Name)
        {
            var target = new AttributeOf(new NameOf(Current.Value, Current.Line), _tokens[_at + 2].Value, Current.Line);
            _at += 3;
            return target;
        }

        var targets = new List<Expression>();
        var isTuple = false;
        do
        {
            if (targets.Count > 0 && (Current.Is("=") || ends.Any(end => Current.Is(end))))
                break;
            if (Skip("("))
            {
                targets.Add(Target(withNamespace: false, ")"));
                ExpectOperator(")");
            }
            else
            {
                var line = Current.Line;
                var name = ExpectName();
                if (name is "true" or "false" or "none" or "True" or "False" or "None")
                    throw Error($"can't assign to '{name}'");
                targets.Add(new NameOf(name, line));
            }

            isTuple |= Current.Is(",");
        }
        while (Skip(","));
        return isTuple ? new ListOf(targets, IsTuple: true, targets[0].Line) : targets[0];
    }

    private bool Skip(string value)
    {
        if (!Current.Is(value))
            return false;
        _at++;
        return true;
    }

    private void Expect(TokenKind kind)
    {
        if (Current.Kind != kind)
            throw Unexpected(new Token(kind, "", 0).ToString());
        _at++;
    }

    private void ExpectOperator(string value)
    {
        if (!Skip(value))
            throw Unexpected(value);
    }

    private string ExpectName()
    {
        if (Current.Kind != TokenKind.Name)
            throw Unexpected("name");
        return _tokens[_at++].Value;
    }

    private void Enter()
    {
        if (++_depth > _deepest)
            throw new JinjaException(JinjaErrorKind.Limit, $"the template nests more than {_deepest} levels deep",
                Current.Line);
    }

    private JinjaException Unexpected(string expected) => Current.Kind == TokenKind.End
        ? Error($"unexpected end of template, expected '{expected}'.")
        : Error($"expected token '{expected}', got '{Current}'");

    private JinjaException UnknownTag(string name) =>
        Error($"Encountered unknown tag '{name}'." + (_open.Count > 0 ? " " + LookingFor() : ""));

    private string LookingFor()
    {
        var (tag, ends) = _open.Peek();
        return $"Jinja was looking for the following tags: {string.Join(" or ", ends.Select(end => $"'{end}'"))}. " +
            $"The innermost block that needs to be closed is '{tag}'.";
    }

    private JinjaException Error(string message) => new(JinjaErrorKind.Syntax, message, Current.Line);
}
