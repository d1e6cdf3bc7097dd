using System.Globalization;
using System.Numerics;
using System.Text;

namespace Peft.Jinja;

/// <summary><c>tojson</c> of transformers: Python's <c>json.dumps</c>, characters beyond ASCII as they are unless
/// asked.</summary>
/// <remarks>Source: transformers, chat_template_utils.py.</remarks>
internal sealed class JsonWriter
{
    private readonly StringBuilder _text = new();
    private readonly bool _isAscii;
    private readonly bool _sorts;
    private readonly string? _indentation;
    private readonly string _between;
    private readonly string _afterKey;

    private JsonWriter(CallArguments arguments)
    {
        _isAscii = arguments.Flag(0, "ensure_ascii");
        _sorts = arguments.Flag(3, "sort_keys");
        var indent = arguments.Get(1, "indent");
        _indentation = indent is null ? null
            : Python.IsText(indent) ? indent.ToString()
                : new string(' ', Math.Clamp(Python.RequireIndex(indent), 0, 1000));
        (_between, _afterKey) = (_indentation is null ? ", " : ",", ": ");
        if (arguments.Get(2, "separators") is not { } separators)
            return;
        var pair = Python.Iterate(separators).ToList();
        if (pair.Count != 2)
            throw new JinjaException(JinjaErrorKind.Runtime, "separators: expected two texts");
        (_between, _afterKey) = (Python.RequireText(pair[0]), Python.RequireText(pair[1]));
    }

    public static string Write(object? value, CallArguments arguments)
    {
        var writer = new JsonWriter(arguments);
        writer.Add(value, 0);
        return writer._text.ToString();
    }

    private void Add(object? value, int depth)
    {
        Python.RequireLength(_text.Length);
        switch (value)
        {
            case null:
                _text.Append("null");
                break;
            case bool truth:
                _text.Append(truth ? "true" : "false");
                break;
            case BigInteger number:
                _text.Append(number.ToString(CultureInfo.InvariantCulture));
                break;
            case double number:
                _text.Append(Number(number));
                break;
            case string or Spanned or Markup:
                AddText(value.ToString()!);
                break;
            case PyList or PyTuple:
                AddItems('[', ']',
                    [.. ((IReadOnlyList<object?>)value).Select(item => (Action)(() => Add(item, depth + 1)))], depth);
                break;
            case PyDict dict:
                AddItems('{', '}', [.. Ordered(dict).Select(item => (Action)(() =>
                {
                    AddText(Key(item.Key));
                    _text.Append(_afterKey);
                    Add(item.Value, depth + 1);
                }))], depth);
                break;
            default:
                throw Python.TypeError($"Object of type {Python.TypeName(value)} is not JSON serializable");
        }
    }

    private IEnumerable<KeyValuePair<object?, object?>> Ordered(PyDict dict)
    {
        if (!_sorts)
            return dict;
        var items = dict.ToList();
        items.Sort((a, b) => Python.Compare(a.Key, b.Key, "<"));
        return items;
    }

    private void AddItems(char open, char close, IReadOnlyList<Action> items, int depth)
    {
        _text.Append(open);
        for (var i = 0; i < items.Count; i++)
        {
            if (i > 0)
                _text.Append(_between);
            NewLine(depth + 1);
            items[i]();
        }

        if (items.Count > 0)
            NewLine(depth);
        _text.Append(close);
    }

    private void NewLine(int depth)
    {
        if (_indentation is null)
            return;
        _text.Append('\n');
        for (var i = 0; i < depth; i++)
            _text.Append(_indentation);
    }

    private static string Key(object? key) => key switch
    {
        _ when Python.IsText(key) => key!.ToString()!,
        null => "null",
        bool truth => truth ? "true" : "false",
        BigInteger number => number.ToString(CultureInfo.InvariantCulture),
        double number => Number(number),
        _ => throw Python.TypeError($"keys must be str, int, float, bool or None, not {Python.TypeName(key)}"),
    };

    private static string Number(double value) =>
        double.IsNaN(value) ? "NaN" : double.IsInfinity(value) ? value > 0 ? "Infinity" : "-Infinity"
            : PythonText.Number(value);

    private void AddText(string text)
    {
        _text.Append('"');
        foreach (var letter in text)
        {
            _ = letter switch
            {
                '"' => _text.Append("\\\""),
                '\\' => _text.Append("\\\\"),
                '\n' => _text.Append("\\n"),
                '\r' => _text.Append("\\r"),
                '\t' => _text.Append("\\t"),
                '\f' => _text.Append("\\f"),
                '\b' => _text.Append("\\b"),
                < ' ' => _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)letter:x4}"),
                > '~' when _isAscii => _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)letter:x4}"),
                _ => _text.Append(letter),
            };
        }

        _text.Append('"');
    }
}
