using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;

namespace Peft.Jinja;

// Values of a template are Python's: null is None; bool, BigInteger and double; string or Spanned or Markup; the types
// below.

/// <summary>A list.</summary>
internal sealed class PyList : List<object?>
{
    public PyList()
    {
    }

    public PyList(IEnumerable<object?> items)
        : base(items)
    {
    }
}

/// <summary>A tuple: a list that prints in round brackets and can be a key.</summary>
internal sealed class PyTuple(IEnumerable<object?> items) : IReadOnlyList<object?>
{
    private readonly object?[] _items = [.. items];

    public int Count => _items.Length;

    public object? this[int index] => _items[index];

    public IEnumerator<object?> GetEnumerator() => ((IEnumerable<object?>)_items).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>A dictionary in the order of insertion; 1, 1.0 and True are one key.</summary>
internal sealed class PyDict : IEnumerable<KeyValuePair<object?, object?>>
{
    private readonly OrderedDictionary<Key, object?> _items = [];

    public int Count => _items.Count;

    public IEnumerable<object?> Keys => _items.Keys.Select(key => key.Value);

    public IEnumerable<object?> Values => _items.Values;

    public object? this[object? key]
    {
        set => _items[new Key(key)] = value;
    }

    public bool TryGet(object? key, out object? value) => _items.TryGetValue(new Key(key), out value);

    public IEnumerator<KeyValuePair<object?, object?>> GetEnumerator() =>
        _items.Select(item => KeyValuePair.Create(item.Key.Value, item.Value)).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private readonly struct Key(object? value) : IEquatable<Key>
    {
        public object? Value { get; } = value;

        public bool Equals(Key other) => Python.AreEqual(Value, other.Value);

        public override bool Equals([NotNullWhen(true)] object? obj) => obj is Key other && Equals(other);

        public override int GetHashCode() => Python.Hash(Value);
    }
}

/// <summary>A name or member that is not there; printing it gives nothing, using it is an error that says what is
/// missing.</summary>
internal sealed class Undefined(string message, JinjaErrorKind kind = JinjaErrorKind.Runtime)
{
    public JinjaException Error() => new(kind, message);
}

/// <summary>A range of whole numbers.</summary>
internal sealed class PyRange(BigInteger start, BigInteger stop, BigInteger step) : IReadOnlyList<object?>
{
    public int Count { get; } =
        (int)BigInteger.Max(0, step > 0 ? (stop - start + step - 1) / step : (start - stop - step - 1) / -step);

    public object? this[int index] => start + (index * step);

    public PyRange Slice(int from, int to, int stride) =>
        new(start + (from * step), start + (to * step), step * stride);

    public IEnumerator<object?> GetEnumerator() => Enumerable.Range(0, Count).Select(i => this[i]).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public override string ToString() => step.IsOne ? $"range({start}, {stop})" : $"range({start}, {stop}, {step})";
}

/// <summary>What filters such as map give: items one after another, once.</summary>
internal sealed class Generator(IEnumerable<object?> items)
{
    private readonly IEnumerator<object?> _items = items.GetEnumerator();

    public IEnumerable<object?> Rest()
    {
        while (_items.MoveNext())
            yield return _items.Current;
    }
}

/// <summary>What a dictionary's <c>keys</c>, <c>values</c> and <c>items</c> give: a view that has a length and no
/// index.</summary>
internal sealed class DictView(string kind, IReadOnlyCollection<object?> items)
{
    public string Kind => kind;

    public IReadOnlyCollection<object?> Items => items;
}

/// <summary><c>namespace()</c>: attributes that a template may set from any scope.</summary>
internal sealed class Namespace
{
    public Dictionary<string, object?> Attributes { get; } = new(StringComparer.Ordinal);
}

/// <summary>Something that can be called.</summary>
internal sealed class Callable(string name, Func<CallArguments, object?> call)
{
    public string Name => name;

    public object? Call(CallArguments arguments) => call(arguments);
}

/// <summary>An object with members of its own, such as <c>loop</c>.</summary>
internal interface IHasMembers
{
    bool TryMember(string name, out object? value);
}

/// <summary>Text with spans of <c>{% generation %}</c>, in UTF-16 units; a string in every other respect.</summary>
internal sealed record Spanned(string Text, IReadOnlyList<(int Start, int End)> Spans)
{
    public override string ToString() => Text;
}

/// <summary>Text marked safe: what is added to it is escaped, as markupsafe does.</summary>
internal sealed record Markup(string Text)
{
    public static string Escape(string text) => text.Replace("&", "&amp;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace("'", "&#39;", StringComparison.Ordinal).Replace("\"", "&#34;", StringComparison.Ordinal);

    public override string ToString() => Text;
}

/// <summary>The arguments of one call, bound to parameter names by the callee.</summary>
internal sealed class CallArguments(IReadOnlyList<object?> values, IReadOnlyDictionary<string, object?> named)
{
    public static CallArguments Empty { get; } = new([], new Dictionary<string, object?>());

    public IReadOnlyList<object?> Values => values;

    public IReadOnlyDictionary<string, object?> Named => named;

    public int Count => values.Count + named.Count;

    /// <summary>Refuses more arguments than there are parameters, and names that are none.</summary>
    public CallArguments Of(string callee, params string[] parameters)
    {
        if (values.Count > parameters.Length)
            throw Python.TypeError($"{callee}() takes at most {parameters.Length} arguments ({values.Count} given)");
        foreach (var name in named.Keys)
        {
            var at = Array.IndexOf(parameters, name);
            if (at < 0)
                throw Python.TypeError($"{callee}() got an unexpected keyword argument '{name}'");
            if (at < values.Count)
                throw Python.TypeError($"{callee}() got multiple values for argument '{name}'");
        }

        return this;
    }

    public bool Has(int at, string name) => at < values.Count || named.ContainsKey(name);

    public object? Get(int at, string name, object? fallback = null) =>
        at < values.Count ? values[at] : named.TryGetValue(name, out var value) ? value : fallback;

    public object? Required(int at, string name) =>
        Has(at, name) ? Get(at, name) : throw Python.TypeError($"missing required argument: '{name}'");

    public string Text(int at, string name, string fallback) =>
        Has(at, name) ? Python.RequireText(Get(at, name)) : fallback;

    public int Integer(int at, string name, int fallback) =>
        Has(at, name) ? Python.RequireIndex(Get(at, name)) : fallback;

    public bool Flag(int at, string name, bool fallback = false) =>
        Has(at, name) ? Python.IsTrue(Get(at, name)) : fallback;
}
