using System.Numerics;

namespace Peft.Jinja;

/// <summary>Attributes, items and methods of values, in the order in which jinja2's sandbox looks for them.</summary>
/// <remarks>Source: jinja2 3.1.2, sandbox.py: methods that change a list or dictionary are unsafe, except pop and clear
/// of lists.</remarks>
internal static class Members
{
    private static readonly string[] UnsafeOfLists = ["append", "reverse", "insert", "sort", "extend", "remove"];
    private static readonly string[] UnsafeOfDictionaries = ["clear", "pop", "popitem", "setdefault", "update"];

    /// <summary><c>x.name</c>: the method before the key.</summary>
    public static object? Attribute(object? target, string name)
    {
        Python.RequireDefined(target);
        if (Own(target, name, out var value))
            return value;
        return target is PyDict dict && dict.TryGet(name, out value) ? value : Missing(target, name);
    }

    /// <summary><c>x[key]</c>: the key before the method.</summary>
    public static object? Item(object? target, object? key)
    {
        Python.RequireDefined(target);
        object? value = null;
        // A key that cannot be one, such as a list, is missing like any other.
        if (target is PyDict dict && key is not (PyList or PyDict) && dict.TryGet(key, out value))
            return value;
        if (key is bool or BigInteger && Indexed(target, Python.ToInteger(key), out value))
            return value;
        if (Python.IsText(key) && Own(target, key!.ToString()!, out value))
            return value;
        return Missing(target, key);
    }

    /// <summary><c>x[start:stop:step]</c>.</summary>
    public static object? Slice(object? target, int? start, int? stop, int? step)
    {
        Python.RequireDefined(target);
        if (!Python.IsText(target) && target is not (PyList or PyTuple or PyRange))
            throw Python.TypeError($"'{Python.TypeName(target)}' object is not subscriptable");
        if (step == 0)
            throw new JinjaException(JinjaErrorKind.Runtime, "slice step cannot be zero");
        var length = Python.Length(target);
        var stride = step ?? 1;
        int Clamped(int? bound, int fallback, int least, int most) => bound is not { } given ? fallback
            : (int)Math.Clamp(given < 0 ? (long)given + length : given, least, most);
        var (from, to) = stride > 0
            ? (Clamped(start, 0, 0, length), Clamped(stop, length, 0, length))
            : (Clamped(start, length - 1, -1, length - 1), Clamped(stop, -1, -1, length - 1));
        if (Python.IsText(target) && stride == 1)
        {
            var text = target!.ToString()!;
            var at = PythonText.Offset(text, from);
            return PythonText.Cut(target, at, to <= from ? at : PythonText.Offset(text, to));
        }

        if (target is PyRange range)
            return range.Slice(from, to, stride);
        var items = Python.Iterate(target).ToList();
        var taken = new List<object?>();
        for (long i = from; stride > 0 ? i < to : i > to; i += stride)
            taken.Add(items[(int)i]);
        return target switch
        {
            PyTuple => new PyTuple(taken),
            PyList => new PyList(taken),
            _ => string.Concat(taken),
        };
    }

    private static bool Indexed(object? target, BigInteger index, out object? value)
    {
        value = null;
        if (!Python.IsText(target) && target is not (PyList or PyTuple or PyRange))
            return false;
        var length = Python.Length(target);
        var at = index.Sign < 0 ? index + length : index;
        if (at < 0 || at >= length)
            return false;
        value = target is IReadOnlyList<object?> list ? list[(int)at] : Slice(target, (int)at, (int)at + 1, null);
        return true;
    }

    private static bool Own(object? target, string name, out object? value)
    {
        value = null;
        var unsafeNames = target switch { PyList => UnsafeOfLists, PyDict => UnsafeOfDictionaries, _ => [] };
        if (name.StartsWith("__", StringComparison.Ordinal) || unsafeNames.Contains(name))
        {
            value = new Undefined($"access to attribute '{name}' of '{Python.TypeName(target)}' object is unsafe.");
            return true;
        }

        if (target is IHasMembers own)
            return own.TryMember(name, out value);
        if (target is Namespace space)
            return space.Attributes.TryGetValue(name, out value);
        value = target switch
        {
            string or Spanned or Markup => TextMethods.Find(target, name),
            PyDict dict => OfDictionary(dict, name),
            PyList or PyTuple => OfList((IReadOnlyList<object?>)target, name),
            Callable callable when name == "name" => callable.Name,
            _ => null,
        };
        return value is not null;
    }

    private static Callable? OfDictionary(PyDict dict, string name) => name switch
    {
        "items" => new(name, _ => new DictView(name, [.. dict.Select(item => new PyTuple([item.Key, item.Value]))])),
        "keys" => new(name, _ => new DictView(name, [.. dict.Keys])),
        "values" => new(name, _ => new DictView(name, [.. dict.Values])),
        "get" => new(name, arguments =>
            dict.TryGet(arguments.Required(0, "key"), out var value) ? value : arguments.Get(1, "default")),
        "copy" => new(name, _ => Library.Dictionary(dict)),
        _ => null,
    };

    private static Callable? OfList(IReadOnlyList<object?> list, string name) => (name, list) switch
    {
        ("count", _) => new(name, arguments =>
            (BigInteger)list.Count(item => Python.AreEqual(item, arguments.Required(0, "value")))),
        ("index", _) => new(name, arguments => IndexOf(list, arguments.Required(0, "value"))),
        ("copy", PyList) => new(name, _ => new PyList(list)),
        ("clear", PyList items) => new(name, _ =>
        {
            items.Clear();
            return null;
        }),
        ("pop", PyList items) => new(name, arguments => Pop(items, arguments.Integer(0, "index", -1))),
        _ => null,
    };

    private static BigInteger IndexOf(IReadOnlyList<object?> list, object? wanted)
    {
        for (var i = 0; i < list.Count; i++)
        {
            if (Python.AreEqual(list[i], wanted))
                return i;
        }

        throw new JinjaException(JinjaErrorKind.Runtime, $"{PythonText.Repr(wanted)} is not in list");
    }

    private static object? Pop(PyList items, int index)
    {
        var at = index < 0 ? index + items.Count : index;
        if (at < 0 || at >= items.Count)
            throw new JinjaException(JinjaErrorKind.Runtime, items.Count == 0 ? "pop from empty list"
                : "pop index out of range");
        var item = items[at];
        items.RemoveAt(at);
        return item;
    }

    private static Undefined Missing(object? target, object? key)
    {
        var owner = target is null ? "None" : $"{Python.TypeName(target)} object";
        return new Undefined(Python.IsText(key) ? $"'{owner}' has no attribute '{key}'"
            : $"{owner} has no element {PythonText.Repr(key)}");
    }
}
