using System.Numerics;

namespace Peft.Jinja;

/// <summary>The methods of Python's str.</summary>
internal static class TextMethods
{
    private static readonly Dictionary<string, Func<object, CallArguments, object?>> Methods =
        new(StringComparer.Ordinal)
        {
            ["strip"] = (text, a) => PythonText.Strip(text, Letters(a), left: true, right: true),
            ["lstrip"] = (text, a) => PythonText.Strip(text, Letters(a), left: true, right: false),
            ["rstrip"] = (text, a) => PythonText.Strip(text, Letters(a), left: false, right: true),
            ["upper"] = (text, _) => PythonText.Upper(text.ToString()!),
            ["lower"] = (text, _) => PythonText.Lower(text.ToString()!),
            ["casefold"] = (text, _) => PythonText.Lower(text.ToString()!).Replace("ß", "ss", StringComparison.Ordinal),
            ["title"] = (text, _) => PythonText.Title(text.ToString()!),
            ["capitalize"] = (text, _) => PythonText.Capitalize(text.ToString()!),
            ["swapcase"] = (text, _) => string.Concat(text.ToString()!.Select(c =>
                char.IsUpper(c) ? PythonText.Lower(c.ToString()) : PythonText.Upper(c.ToString()))),
            ["split"] = (text, a) =>
                Parts(PythonText.Split(text.ToString()!, Separator(a), a.Integer(1, "maxsplit", -1))),
            ["rsplit"] = (text, a) =>
                Parts(PythonText.SplitRight(text.ToString()!, Separator(a), a.Integer(1, "maxsplit", -1))),
            ["splitlines"] = (text, a) => Parts(PythonText.Lines(text.ToString()!, a.Flag(0, "keepends"))),
            ["partition"] = (text, a) =>
                Partition(text.ToString()!, Python.RequireText(a.Required(0, "sep")), last: false),
            ["rpartition"] = (text, a) =>
                Partition(text.ToString()!, Python.RequireText(a.Required(0, "sep")), last: true),
            ["replace"] = (text, a) => PythonText.Replace(
                text.ToString()!, Python.RequireText(a.Required(0, "old")), Python.RequireText(a.Required(1, "new")),
                    a.Integer(2, "count", -1)),
            ["startswith"] = (text, a) =>
                Affixed(text.ToString()!, a, (part, affix) => part.StartsWith(affix, StringComparison.Ordinal)),
            ["endswith"] = (text, a) =>
                Affixed(text.ToString()!, a, (part, affix) => part.EndsWith(affix, StringComparison.Ordinal)),
            ["removeprefix"] = (text, a) =>
                Without(text.ToString()!, Python.RequireText(a.Required(0, "prefix")), atStart: true),
            ["removesuffix"] = (text, a) =>
                Without(text.ToString()!, Python.RequireText(a.Required(0, "suffix")), atStart: false),
            ["find"] = (text, a) => Find(text.ToString()!, a, last: false),
            ["rfind"] = (text, a) => Find(text.ToString()!, a, last: true),
            ["index"] = (text, a) => Found(Find(text.ToString()!, a, last: false)),
            ["rindex"] = (text, a) => Found(Find(text.ToString()!, a, last: true)),
            ["count"] = (text, a) => Count(text.ToString()!, a),
            ["join"] = (text, a) => Join(text.ToString()!, a.Required(0, "iterable")),
            ["format"] = (text, a) => PythonFormat.Braces(text.ToString()!, a),
            ["center"] = (text, a) =>
                PythonFormat.Pad(text.ToString()!, a.Integer(0, "width", 0), a.Text(1, "fillchar", " "), '^'),
            ["ljust"] = (text, a) =>
                PythonFormat.Pad(text.ToString()!, a.Integer(0, "width", 0), a.Text(1, "fillchar", " "), '<'),
            ["rjust"] = (text, a) =>
                PythonFormat.Pad(text.ToString()!, a.Integer(0, "width", 0), a.Text(1, "fillchar", " "), '>'),
            ["zfill"] = (text, a) => PythonFormat.ZeroFill(text.ToString()!, a.Integer(0, "width", 0)),
            ["expandtabs"] = (text, a) => ExpandTabs(text.ToString()!, a.Integer(0, "tabsize", 8)),
            ["isalnum"] = (text, _) => All(text, char.IsLetterOrDigit),
            ["isalpha"] = (text, _) => All(text, char.IsLetter),
            ["isascii"] = (text, _) => text.ToString()!.All(char.IsAscii),
            ["isdecimal"] = (text, _) => All(text, char.IsDigit),
            ["isdigit"] = (text, _) => All(text, c => char.IsDigit(c) || c is '²' or '³' or '¹'),
            ["isnumeric"] = (text, _) => All(text, char.IsNumber),
            ["isspace"] = (text, _) => All(text, PythonText.IsBlank),
            ["isupper"] = (text, _) => text.ToString()!.Any(char.IsUpper) && !text.ToString()!.Any(char.IsLower),
            ["islower"] = (text, _) => text.ToString()!.Any(char.IsLower) && !text.ToString()!.Any(char.IsUpper),
            ["istitle"] = (text, _) =>
                text.ToString()!.Any(char.IsLetter) && PythonText.Title(text.ToString()!) == text.ToString(),
            ["isidentifier"] = (text, _) =>
                All(text, c => c == '_' || char.IsLetterOrDigit(c)) && !char.IsDigit(text.ToString()![0]),
        };

    public static Callable? Find(object text, string name) => Methods.TryGetValue(name, out var method)
        ? new Callable(name, arguments => Marked(text, method(text, arguments)))
        : null;

    // What is made of a text that is marked safe stays safe.
    private static object? Marked(object text, object? result) =>
        text is Markup && result is string made ? new Markup(made) : result;

    private static string? Letters(CallArguments arguments) =>
        arguments.Get(0, "chars") is { } letters ? Python.RequireText(letters) : null;

    private static string? Separator(CallArguments arguments) =>
        arguments.Get(0, "sep") is { } sep ? Python.RequireText(sep) : null;

    private static PyList Parts(IEnumerable<string> parts) => new(parts);

    private static PyTuple Partition(string text, string separator, bool last)
    {
        if (separator.Length == 0)
            throw new JinjaException(JinjaErrorKind.Runtime, "empty separator");
        var at = last ? text.LastIndexOf(separator, StringComparison.Ordinal)
            : text.IndexOf(separator, StringComparison.Ordinal);
        return at >= 0 ? new PyTuple([text[..at], separator, text[(at + separator.Length)..]])
            : last ? new PyTuple(["", "", text]) : new PyTuple([text, "", ""]);
    }

    private static bool Affixed(string text, CallArguments arguments, Func<string, string, bool> holds)
    {
        var affix = arguments.Required(0, "prefix");
        var part = Range(text, arguments, out _);
        if (part is null)
            return false;
        return affix is PyTuple several
            ? several.Any(one => holds(part, Python.RequireText(one)))
            : holds(part, Python.RequireText(affix));
    }

    private static string Without(string text, string affix, bool atStart) =>
        atStart && text.StartsWith(affix, StringComparison.Ordinal) ? text[affix.Length..]
        : !atStart && affix.Length > 0 && text.EndsWith(affix, StringComparison.Ordinal) ? text[..^affix.Length]
        : text;

    private static BigInteger Find(string text, CallArguments arguments, bool last)
    {
        var wanted = Python.RequireText(arguments.Required(0, "sub"));
        var part = Range(text, arguments, out var start);
        if (part is null)
            return -1;
        var at =
            last ? part.LastIndexOf(wanted, StringComparison.Ordinal) : part.IndexOf(wanted, StringComparison.Ordinal);
        return at < 0 ? -1 : PythonText.Length(text[..(start + at)]);
    }

    private static BigInteger Found(BigInteger at) =>
        at >= 0 ? at : throw new JinjaException(JinjaErrorKind.Runtime, "substring not found");

    private static BigInteger Count(string text, CallArguments arguments)
    {
        var wanted = Python.RequireText(arguments.Required(0, "sub"));
        var part = Range(text, arguments, out _) ?? "";
        if (wanted.Length == 0)
            return PythonText.Length(part) + 1;
        var count = 0;
        for (var at = part.IndexOf(wanted, StringComparison.Ordinal); at >= 0; count++)
            at = part.IndexOf(wanted, at + wanted.Length, StringComparison.Ordinal);
        return count;
    }

    // The stretch that a start and an end in code points name, and where it begins; null when it begins behind the end.
    private static string? Range(string text, CallArguments arguments, out int start)
    {
        start = 0;
        if (arguments.Count < 2)
            return text;
        var length = PythonText.Length(text);
        var from = arguments.Integer(1, "start", 0);
        var to = arguments.Get(2, "end") is null ? length : arguments.Integer(2, "end", length);
        from = Math.Max(0, from < 0 ? from + length : from);
        to = Math.Clamp(to < 0 ? to + length : to, 0, length);
        if (from > to)
            return null;
        start = PythonText.Offset(text, from);
        return text[start..PythonText.Offset(text, to)];
    }

    private static string Join(string separator, object? items)
    {
        Python.RequireDefined(items);
        var parts = new List<string>();
        foreach (var item in Python.Iterate(items))
        {
            parts.Add(Python.IsText(item) ? item!.ToString()!
                : throw Python.TypeError(
                    $"sequence item {parts.Count}: expected str instance, {Python.TypeName(item)} found"));
        }

        Python.RequireLength(parts.Sum(part => (long)part.Length + separator.Length));
        return string.Join(separator, parts);
    }

    private static string ExpandTabs(string text, int size)
    {
        Python.RequireLength((long)text.Length * Math.Max(1, size));
        var result = new System.Text.StringBuilder();
        var column = 0;
        foreach (var letter in text)
        {
            var width = letter != '\t' ? 1 : size > 0 ? size - (column % size) : 0;
            result.Append(letter == '\t' ? new string(' ', width) : letter.ToString());
            column = letter is '\n' or '\r' ? 0 : column + width;
        }

        return result.ToString();
    }

    private static bool All(object text, Func<char, bool> holds) =>
        text.ToString()!.Length > 0 && text.ToString()!.All(holds);
}
