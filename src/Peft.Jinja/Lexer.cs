using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Jinja;

/// <summary>What a token is.</summary>
internal enum TokenKind
{
    /// <summary>Text between tags.</summary>
    Data,

    /// <summary><c>{%</c></summary>
    BlockBegin,

    /// <summary><c>%}</c></summary>
    BlockEnd,

    /// <summary><c>{{</c></summary>
    PrintBegin,

    /// <summary><c>}}</c></summary>
    PrintEnd,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A text in quotes, its escapes resolved.</summary>
    Text,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>A number with a point or exponent.</summary>
    Float,

    /// <summary>An operator or bracket.</summary>
    Operator,

    /// <summary>The end of the template.</summary>
    End,
}

/// <summary>A piece of a template.</summary>
internal readonly record struct Token(TokenKind Kind, string Value, int Line)
{
    public bool Is(string value) => Kind is TokenKind.Operator or TokenKind.Name && Value == value;

    public override string ToString() => Kind switch
    {
        TokenKind.BlockEnd => "end of statement block",
        TokenKind.PrintEnd => "end of print statement",
        TokenKind.Data => "template data",
        TokenKind.End => "end of template",
        _ => Value,
    };
}

/// <summary>
/// Cuts a template into tokens as jinja2's lexer does with <c>trim_blocks</c> and <c>lstrip_blocks</c> on, the setting
/// of transformers.
/// </summary>
/// <remarks>Source: jinja2 3.1.2, lexer.py.</remarks>
internal sealed partial class Lexer
{
    private static readonly string[] Operators =
    [
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=",
            ".", ":", "|", ",", ";",
    ];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;
    private int _line = 1;
    private bool _startsLine = true;

    private Lexer(string source) => _source = source;

    public static List<Token> Tokens(string source)
    {
        // One final line break is dropped, and every kind of line break is \n.
        var text = LineBreak().Replace(source, "\n");
        var lexer = new Lexer(text.EndsWith('\n') ? text[..^1] : text);
        lexer.Run();
        return lexer._tokens;
    }

    private void Run()
    {
        while (_at < _source.Length)
        {
            var tag = NextTag();
            var text = _source[_at..(tag < 0 ? _source.Length : tag)];
            if (tag < 0)
            {
                AddData(text);
                Advance(text.Length);
                break;
            }

            var sign = tag + 2 < _source.Length && _source[tag + 2] is '-' or '+' ? _source[tag + 2] : ' ';
            // "{%-" strips everything before it; "{%" and "{#" the blanks of their own line.
            AddData(sign == '-' ? PythonText.TrimEnd(text) : sign == '+' || _source[tag + 1] == '{' ? text
                : WithoutIndent(text));
            Advance(text.Length + (sign == ' ' ? 2 : 3));
            _startsLine = false;
            ReadTag(_source[tag + 1]);
        }

        _tokens.Add(new Token(TokenKind.End, "", _line));
    }

    private void ReadTag(char kind)
    {
        switch (kind)
        {
            case '#':
                SkipComment();
                break;
            case '{':
                _tokens.Add(new Token(TokenKind.PrintBegin, "", _line));
                ReadExpression(PrintEnd(), TokenKind.PrintEnd);
                break;
            case '%' when RawBegin().Match(_source, _at) is { Success: true } raw:
                Advance(raw.Length);
                ReadRaw();
                break;
            default:
                _tokens.Add(new Token(TokenKind.BlockBegin, "", _line));
                ReadExpression(BlockEnd(), TokenKind.BlockEnd);
                break;
        }
    }

    private int NextTag()
    {
        for (var at = _source.IndexOf('{', _at); at >= 0 && at + 1 < _source.Length; at = _source.IndexOf('{', at + 1))
        {
            if (_source[at + 1] is '%' or '{' or '#')
                return at;
        }

        return -1;
    }

    private void SkipComment()
    {
        var end = CommentEnd().Match(_source, _at);
        if (!end.Success)
            throw new JinjaException(JinjaErrorKind.Syntax, "Missing end of comment tag", _line);
        Finish(end);
    }

    private void ReadRaw()
    {
        var end = RawEnd().Match(_source, _at);
        if (!end.Success)
            throw new JinjaException(JinjaErrorKind.Syntax, "Missing end of raw directive", _line);
        var text = end.Groups[1].Value;
        var sign = end.Groups[2].Value;
        AddData(sign == "-" ? PythonText.TrimEnd(text) : sign == "+" ? text : WithoutIndent(text));
        Finish(end);
    }

    private void ReadExpression(Regex end, TokenKind endKind)
    {
        var open = new Stack<char>();
        while (_at < _source.Length)
        {
            // Inside brackets "}}" is two closing braces, not the end of the tag.
            if (open.Count == 0 && end.Match(_source, _at) is { Success: true } closing)
            {
                _tokens.Add(new Token(endKind, "", _line));
                Finish(closing);
                return;
            }

            if (!ReadToken(open))
                throw new JinjaException(JinjaErrorKind.Syntax, $"unexpected char '{_source[_at]}' at {_at}", _line);
        }

        // The parser says what it was looking for.
    }

    private bool ReadToken(Stack<char> open)
    {
        if (Space().Match(_source, _at) is { Success: true } space)
        {
            Advance(space.Length);
            return true;
        }

        return Take(Float(), TokenKind.Float) || Take(Integer(), TokenKind.Integer) || Take(Word(), TokenKind.Name)
            || TakeText() || TakeOperator(open);
    }

    private bool Take(Regex pattern, TokenKind kind)
    {
        var match = pattern.Match(_source, _at);
        if (!match.Success)
            return false;
        _tokens.Add(new Token(kind, match.Value, _line));
        Advance(match.Length);
        return true;
    }

    private bool TakeText()
    {
        var match = Quoted().Match(_source, _at);
        if (!match.Success)
            return false;
        _tokens.Add(new Token(TokenKind.Text, PythonText.Unescape(match.Value[1..^1], _line), _line));
        Advance(match.Length);
        return true;
    }

    private bool TakeOperator(Stack<char> open)
    {
        var found = Array.Find(Operators, o => string.CompareOrdinal(_source, _at, o, 0, o.Length) == 0);
        if (found is null)
            return false;
        if (found is "(" or "[" or "{")
            open.Push(found switch { "(" => ')', "[" => ']', _ => '}' });
        else if (found is ")" or "]" or "}" && (!open.TryPop(out var expected) || expected != found[0]))
            throw new JinjaException(JinjaErrorKind.Syntax, $"unexpected '{found}'", _line);
        _tokens.Add(new Token(TokenKind.Operator, found, _line));
        Advance(found.Length);
        return true;
    }

    private void Finish(Match end)
    {
        Advance(end.Length);
        _startsLine = end.Value.EndsWith('\n');
    }

    private void AddData(string text)
    {
        if (text.Length > 0)
            _tokens.Add(new Token(TokenKind.Data, text, _line));
    }

    private void Advance(int length)
    {
        _line += _source.AsSpan(_at, length).Count('\n');
        _at += length;
    }

    private string WithoutIndent(string text)
    {
        var line = text.LastIndexOf('\n') + 1;
        return (line > 0 || _startsLine) && string.IsNullOrWhiteSpace(text[line..]) ? text[..line] : text;
    }

    [GeneratedRegex(@"\r\n|\r|\n")]
    private static partial Regex LineBreak();

    [GeneratedRegex(@"\G(?:-\}\}\s*|\}\})")]
    private static partial Regex PrintEnd();

    [GeneratedRegex(@"\G(?:\+%\}|-%\}\s*|%\}\n?)")]
    private static partial Regex BlockEnd();

    [GeneratedRegex(@"\G.*?(?:\+#\}|-#\}\s*|#\}\n?)", RegexOptions.Singleline)]
    private static partial Regex CommentEnd();

    [GeneratedRegex(@"\G\s*raw\s*(?:-%\}\s*|%\})")]
    private static partial Regex RawBegin();

    [GeneratedRegex(@"\G(.*?)\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)", RegexOptions.Singleline)]
    private static partial Regex RawEnd();

    [GeneratedRegex(@"\G\s+")]
    private static partial Regex Space();

    [GeneratedRegex(@"\G(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)",
        RegexOptions.IgnoreCase)]
    private static partial Regex Float();

    [GeneratedRegex(@"\G(?:0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)",
        RegexOptions.IgnoreCase)]
    private static partial Regex Integer();

    [GeneratedRegex(@"\G\w+")]
    private static partial Regex Word();

    [GeneratedRegex("""\G(?:'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")""", RegexOptions.Singleline)]
    private static partial Regex Quoted();
}
