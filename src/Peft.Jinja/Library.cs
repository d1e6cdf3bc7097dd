using System.Numerics;

namespace Peft.Jinja;

/// <summary>What every template has: global functions and tests. Filters are in the other half of this class.</summary>
internal static partial class Library
{
    // The largest range of jinja2's sandbox.
    private const int MostInRange = 100_000;

    private static readonly Dictionary<string, Func<object?, CallArguments, bool>> Tests = new(StringComparer.Ordinal)
    {
        ["defined"] = (value, _) => value is not Undefined,
        ["undefined"] = (value, _) => value is Undefined,
        ["none"] = (value, _) => value is null,
        ["boolean"] = (value, _) => value is bool,
        ["true"] = (value, _) => value is true,
        ["false"] = (value, _) => value is false,
        ["integer"] = (value, _) => value is BigInteger,
        ["float"] = (value, _) => value is double,
        ["number"] = (value, _) => Python.IsNumber(value),
        ["string"] = (value, _) => Python.IsText(value),
        ["mapping"] = (value, _) => value is PyDict,
        ["sequence"] = (value, _) =>
            Python.IsText(value) || value is PyList or PyTuple or PyDict or PyRange or Undefined,
        ["iterable"] = (value, _) => Python.IsIterable(value),
        ["callable"] = (value, _) => value is Callable,
        ["even"] = (value, _) => Python.Binary("%", value, (BigInteger)2) is BigInteger { IsZero: true } or 0.0,
        ["odd"] = (value, _) => Python.Binary("%", value, (BigInteger)2) is BigInteger { IsOne: true } or 1.0,
        ["divisibleby"] = (value, a) => !Python.IsTrue(Python.Binary("%", value, a.Required(0, "num"))),
        ["lower"] = (value, _) => TextMethods.Find(PythonText.Str(value), "islower")!.Call(CallArguments.Empty) is true,
        ["upper"] = (value, _) => TextMethods.Find(PythonText.Str(value), "isupper")!.Call(CallArguments.Empty) is true,
        ["sameas"] = (value, a) => IsSame(value, a.Required(0, "other")),
        ["in"] = (value, a) => Python.Contains(a.Required(0, "seq"), value),
        ["filter"] = (value, _) => Python.IsText(value) && HasFilter(value!.ToString()!),
        ["test"] = (value, _) => Python.IsText(value) && HasTest(value!.ToString()!),
        ["escaped"] = (value, _) => value is Markup,
    };

    private static readonly Dictionary<string, string> ComparisonTests = new(StringComparer.Ordinal)
    {
        ["=="] = "==", ["eq"] = "==", ["equalto"] = "==", ["!="] = "!=", ["ne"] = "!=", [">"] = ">", ["gt"] =
            ">", ["greaterthan"] = ">",
        [">="] = ">=", ["ge"] = ">=", ["<"] = "<", ["lt"] = "<", ["lessthan"] = "<", ["<="] = "<=", ["le"] = "<=",
    };

    public static bool HasTest(string name) => Tests.ContainsKey(name) || ComparisonTests.ContainsKey(name);

    public static bool Test(string name, object? value, CallArguments arguments)
    {
        if (Tests.TryGetValue(name, out var test))
        {
            var most = name is "divisibleby" or "sameas" or "in" ? 1 : 0;
            return arguments.Count <= most ? test(value, arguments)
                : throw Python.TypeError($"test {name} takes {most} arguments, {arguments.Count} were given");
        }

        if (!ComparisonTests.TryGetValue(name, out var symbol))
            throw new JinjaException(JinjaErrorKind.Runtime, $"No test named '{name}' found.");
        var other = arguments.Required(0, "other");
        return symbol switch
        {
            "==" => Python.AreEqual(value, other),
            "!=" => !Python.AreEqual(value, other),
            ">" => Python.Compare(value, other, symbol) > 0,
            ">=" => Python.Compare(value, other, symbol) >= 0,
            "<" => Python.Compare(value, other, symbol) < 0,
            _ => Python.Compare(value, other, symbol) <= 0,
        };
    }

    /// <summary>The functions that jinja2 and transformers give every template.</summary>
    public static IEnumerable<KeyValuePair<string, object?>> Globals(Interpreter interpreter)
    {
        static KeyValuePair<string, object?> Function(string name, Func<CallArguments, object?> call) =>
            new(name, new Callable(name, call));
        yield return Function("range", Range);
        yield return Function("dict", arguments => Dictionary(Pairs(arguments)));
        yield return Function("namespace", arguments =>
        {
            var space = new Namespace();
            foreach (var (key, value) in Pairs(arguments))
                space.Attributes[Python.RequireText(key)] = value;
            return space;
        });
        yield return Function("cycler", arguments => new Cycler(arguments.Values));
        yield return Function("joiner", arguments => Joiner(arguments.Text(0, "sep", ", ")));
        yield return Function("raise_exception", arguments =>
            throw new JinjaException(JinjaErrorKind.Raised, PythonText.Str(arguments.Required(0, "message"))));
        yield return Function("strftime_now", arguments =>
            PythonFormat.Time(interpreter.Now, Python.RequireText(arguments.Required(0, "format"))));
    }

    /// <summary>A dictionary; a later value of a key replaces an earlier one.</summary>
    public static PyDict Dictionary(IEnumerable<KeyValuePair<object?, object?>> items)
    {
        var dict = new PyDict();
        foreach (var (key, value) in items)
            dict[key] = value;
        return dict;
    }

    private static IEnumerable<KeyValuePair<object?, object?>> Pairs(CallArguments arguments)
    {
        foreach (var given in arguments.Values)
        {
            if (given is PyDict dict)
            {
                foreach (var item in dict)
                    yield return item;
                continue;
            }

            foreach (var pair in Python.Iterate(given))
            {
                var items = Python.Iterate(pair).Take(3).ToList();
                yield return items.Count == 2 ? new(items[0], items[1])
                    : throw new JinjaException(JinjaErrorKind.Runtime,
                        "dictionary update sequence element has not length 2");
            }
        }

        foreach (var (name, value) in arguments.Named)
            yield return new(name, value);
    }

    private static PyRange Range(CallArguments arguments)
    {
        var numbers = arguments.Values.Select(value =>
        {
            Python.RequireDefined(value);
            return Python.ToInteger(value);
        }).ToList();
        if (numbers.Count is 0 or > 3)
            throw Python.TypeError($"range expected 1 to 3 arguments, got {numbers.Count}");
        var (start, stop, step) =
            numbers.Count == 1 ? (0, numbers[0], 1) : (numbers[0], numbers[1], numbers.Count == 3 ? numbers[2] : 1);
        if (step.IsZero)
            throw new JinjaException(JinjaErrorKind.Runtime, "range() arg 3 must not be zero");
        if (BigInteger.Abs(stop - start) / BigInteger.Abs(step) > MostInRange)
        {
            throw new JinjaException(
                JinjaErrorKind.Runtime,
                    $"Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MostInRange}).");
        }

        return new PyRange(start, stop, step);
    }

    private static Callable Joiner(string separator)
    {
        var used = false;
        return new Callable("joiner", _ =>
        {
            var text = used ? separator : "";
            used = true;
            return text;
        });
    }

    private static bool IsSame(object? a, object? b) => (a, b) switch
    {
        (bool x, bool y) => x == y,
        (BigInteger x, BigInteger y) => x == y,
        (string x, string y) => x == y,
        _ => ReferenceEquals(a, b),
    };

    private sealed class Cycler(IReadOnlyList<object?> items) : IHasMembers
    {
        private int _at;

        public bool TryMember(string name, out object? value)
        {
            value = name switch
            {
                "current" => items[_at],
                "next" => new Callable("next", _ =>
                {
                    var item = items[_at];
                    _at = (_at + 1) % items.Count;
                    return item;
                }),
                "reset" => new Callable("reset", _ =>
                {
                    _at = 0;
                    return null;
                }),
                _ => this,
            };
            return value != this;
        }
    }
}
