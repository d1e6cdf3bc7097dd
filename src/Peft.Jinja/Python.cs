using System.Globalization;
using System.Numerics;

namespace Peft.Jinja;

/// <summary>Python's rules for values: equality, order, truth, arithmetic, iteration.</summary>
internal static class Python
{
    public static JinjaException TypeError(string message) => new(JinjaErrorKind.Runtime, message);

    public static string TypeName(object? value) => value switch
    {
        null => "NoneType",
        bool => "bool",
        BigInteger => "int",
        double => "float",
        string or Spanned => "str",
        Markup => "Markup",
        PyList => "list",
        PyTuple => "tuple",
        PyDict => "dict",
        PyRange => "range",
        Generator => "generator",
        DictView view => "dict_" + view.Kind,
        Undefined => "Undefined",
        Namespace => "Namespace",
        Callable => "function",
        _ => value.GetType().Name,
    };

    public static bool IsText(object? value) => value is string or Spanned or Markup;

    public static bool IsNumber(object? value) => value is bool or BigInteger or double;

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool truth => truth,
        BigInteger number => !number.IsZero,
        double number => number != 0,
        string text => text.Length > 0,
        Spanned or Markup => value.ToString()!.Length > 0,
        PyList list => list.Count > 0,
        PyTuple tuple => tuple.Count > 0,
        PyDict dict => dict.Count > 0,
        PyRange range => range.Count > 0,
        DictView view => view.Items.Count > 0,
        _ => true,
    };

    public static bool AreEqual(object? left, object? right)
    {
        if (ReferenceEquals(left, right))
            return left is not double.NaN;
        if (IsNumber(left) && IsNumber(right))
            return left is double || right is double ? ToDouble(left) == ToDouble(right)
                : ToInteger(left) == ToInteger(right);
        if (IsText(left) && IsText(right))
            return left!.ToString() == right!.ToString();
        return (left, right) switch
        {
            (PyList a, PyList b) => AreAlike(a, b),
            (PyTuple a, PyTuple b) => AreAlike(a, b),
            (PyRange a, PyRange b) => AreAlike(a, b),
            (PyDict a, PyDict b) =>
                a.Count == b.Count && a.All(item => b.TryGet(item.Key, out var other) && AreEqual(item.Value, other)),
            (Undefined, Undefined) => true,
            _ => false,
        };
    }

    private static bool AreAlike(IReadOnlyList<object?> left, IReadOnlyList<object?> right) =>
        left.Count == right.Count && !left.Where((item, i) => !AreEqual(item, right[i])).Any();

    public static int Hash(object? value) => value switch
    {
        null => 0,
        bool or BigInteger or double => ToDouble(value).GetHashCode(),
        string or Spanned or Markup => string.GetHashCode(value.ToString(), StringComparison.Ordinal),
        PyTuple tuple => tuple.Aggregate(17, (hash, item) => HashCode.Combine(hash, Hash(item))),
        PyList or PyDict => throw TypeError($"unhashable type: '{TypeName(value)}'"),
        Undefined => 1,
        _ => value.GetHashCode(),
    };

    public static int Compare(object? left, object? right, string symbol)
    {
        if (IsNumber(left) && IsNumber(right))
        {
            return left is double || right is double
                ? ToDouble(left).CompareTo(ToDouble(right))
                : ToInteger(left).CompareTo(ToInteger(right));
        }

        if (IsText(left) && IsText(right))
            return PythonText.Compare(left!.ToString()!, right!.ToString()!);
        if ((left is PyList && right is PyList) || (left is PyTuple && right is PyTuple))
        {
            var (a, b) = ((IReadOnlyList<object?>)left, (IReadOnlyList<object?>)right);
            var i = 0;
            while (i < a.Count && i < b.Count && AreEqual(a[i], b[i]))
                i++;
            return i < a.Count && i < b.Count ? Compare(a[i], b[i], symbol) : a.Count.CompareTo(b.Count);
        }

        RequireDefined(left);
        RequireDefined(right);
        throw TypeError($"'{symbol}' not supported between instances of '{TypeName(left)}' and '{TypeName(right)}'");
    }

    public static bool Contains(object? container, object? item)
    {
        if (IsText(container))
        {
            return IsText(item)
                ? container!.ToString()!.Contains(item!.ToString()!, StringComparison.Ordinal)
                : throw TypeError($"'in <string>' requires string as left operand, not {TypeName(item)}");
        }

        return container is PyDict dict ? dict.TryGet(item, out _) : Iterate(container)
            .Any(other => AreEqual(other, item));
    }

    public static IEnumerable<object?> Iterate(object? value) => value switch
    {
        string or Spanned or Markup => PythonText.CodePoints(value.ToString()!),
        PyList list => list,
        PyTuple tuple => tuple,
        PyRange range => range,
        PyDict dict => dict.Keys,
        DictView view => view.Items,
        Generator generator => generator.Rest(),
        Undefined { } => [],
        _ => throw TypeError($"'{TypeName(value)}' object is not iterable"),
    };

    public static bool IsIterable(object? value) =>
        IsText(value) || value is PyList or PyTuple or PyRange or PyDict or DictView or Generator or Undefined;

    public static int Length(object? value) => value switch
    {
        string or Spanned or Markup => PythonText.Length(value.ToString()!),
        PyList list => list.Count,
        PyTuple tuple => tuple.Count,
        PyRange range => range.Count,
        PyDict dict => dict.Count,
        DictView view => view.Items.Count,
        Undefined => 0,
        _ => throw TypeError($"object of type '{TypeName(value)}' has no len()"),
    };

    public static double ToDouble(object? value) => value switch
    {
        bool truth => truth ? 1 : 0,
        BigInteger number => (double)number,
        double number => number,
        _ => throw TypeError($"must be real number, not {TypeName(value)}"),
    };

    public static BigInteger ToInteger(object? value) => value switch
    {
        bool truth => truth ? 1 : 0,
        BigInteger number => number,
        _ => throw TypeError($"'{TypeName(value)}' object cannot be interpreted as an integer"),
    };

    public static int RequireIndex(object? value)
    {
        var number = ToInteger(value);
        return number >= int.MinValue && number <= int.MaxValue
            ? (int)number
            : throw new JinjaException(JinjaErrorKind.Runtime, "cannot fit 'int' into an index-sized integer");
    }

    public static string RequireText(object? value) =>
        IsText(value) ? value!.ToString()! : throw TypeError($"expected a str, not {TypeName(value)}");

    public static void RequireDefined(object? value)
    {
        if (value is Undefined undefined)
            throw undefined.Error();
    }

    public static void RequireLength(long length)
    {
        if (length > JinjaLimits.Longest)
        {
            throw new JinjaException(
                JinjaErrorKind.Limit,
                    string.Create(CultureInfo.InvariantCulture,
                        $"longer than {JinjaLimits.Longest:N0} characters or items"));
        }
    }

    public static object? Unary(string operation, object? value)
    {
        RequireDefined(value);
        return value switch
        {
            double number => operation == "-" ? -number : number,
            bool or BigInteger => operation == "-" ? -ToInteger(value) : ToInteger(value),
            _ => throw TypeError($"bad operand type for unary {operation}: '{TypeName(value)}'"),
        };
    }

    public static object? Binary(string operation, object? left, object? right)
    {
        RequireDefined(left);
        RequireDefined(right);
        if (IsNumber(left) && IsNumber(right))
            return Arithmetic(operation, left, right);
        return operation switch
        {
            "+" => Add(left, right),
            "*" when left is bool or BigInteger => Repeat(right, ToInteger(left)),
            "*" when right is bool or BigInteger => Repeat(left, ToInteger(right)),
            "%" when IsText(left) => PythonFormat.Percent(left!.ToString()!, right),
            _ => throw Unsupported(operation, left, right),
        };
    }

    private static JinjaException Unsupported(string operation, object? left, object? right) =>
        TypeError($"unsupported operand type(s) for {operation}: '{TypeName(left)}' and '{TypeName(right)}'");

    private static object Add(object? left, object? right)
    {
        if (IsText(left) && IsText(right))
        {
            RequireLength((long)left!.ToString()!.Length + right!.ToString()!.Length);
            if (left is Markup || right is Markup)
                return new Markup(Escaped(left) + Escaped(right));
            return PythonText.Concat(left, right);
        }

        switch (left, right)
        {
            case (PyList a, PyList b):
                RequireLength((long)a.Count + b.Count);
                return new PyList(a.Concat(b));
            case (PyTuple a, PyTuple b):
                return new PyTuple(a.Concat(b));
            default:
                throw IsText(left) ? TypeError($"can only concatenate str (not \"{TypeName(right)}\") to str")
                    : left is PyList ? TypeError($"can only concatenate list (not \"{TypeName(right)}\") to list")
                    : Unsupported("+", left, right);
        }
    }

    private static string Escaped(object text) => text is Markup ? text.ToString()! : Markup.Escape(text.ToString()!);

    private static object Repeat(object? value, BigInteger times)
    {
        if (!IsText(value) && value is not (PyList or PyTuple))
            throw TypeError($"can't multiply sequence by non-int of type '{TypeName(value)}'");
        if (times > long.MaxValue)
            throw new JinjaException(JinjaErrorKind.Runtime, "cannot fit 'int' into an index-sized integer");
        times = BigInteger.Max(0, times);
        var length =
            value is PyList or PyTuple ? ((IReadOnlyCollection<object?>)value).Count : value!.ToString()!.Length;
        RequireLength((long)BigInteger.Min(long.MaxValue, times * length));
        var count = length == 0 ? 0 : (int)times;
        return value switch
        {
            PyList list => new PyList(Enumerable.Repeat(list, count).SelectMany(items => items)),
            PyTuple tuple => new PyTuple(Enumerable.Repeat(tuple, count).SelectMany(items => items)),
            _ => string.Concat(Enumerable.Repeat(value!.ToString(), count)),
        };
    }

    private static object Arithmetic(string operation, object? left, object? right)
    {
        if (left is double || right is double || operation == "/")
            return Floating(operation, ToDouble(left), ToDouble(right));
        var (a, b) = (ToInteger(left), ToInteger(right));
        switch (operation)
        {
            case "+":
                return a + b;
            case "-":
                return a - b;
            case "*":
                RequireLength((a.GetBitLength() + b.GetBitLength()) / 64);
                return a * b;
            case "**" when b.Sign < 0:
                return Math.Pow((double)a, (double)b);
            case "**":
                // Beyond this only 0, 1 and -1 have a power of reasonable size.
                if (b > int.MaxValue)
                    throw new JinjaException(JinjaErrorKind.Limit, "an exponent above two thousand million");
                RequireLength((long)BigInteger.Min(long.MaxValue, a.GetBitLength() * b));
                return BigInteger.Pow(a, (int)b);
            default:
                if (b.IsZero)
                    throw new JinjaException(JinjaErrorKind.Runtime, "integer division or modulo by zero");
                var quotient = BigInteger.DivRem(a, b, out var rest);
                // Python rounds down, .NET towards zero.
                if (!rest.IsZero && (rest.Sign < 0) != (b.Sign < 0))
                    (quotient, rest) = (quotient - 1, rest + b);
                return operation == "//" ? quotient : rest;
        }
    }

    private static double Floating(string operation, double a, double b)
    {
        if (b == 0 && operation is "/" or "//" or "%" && b == 0)
            throw new JinjaException(JinjaErrorKind.Runtime, operation == "/" ? "division by zero" : "float divmod()");
        return operation switch
        {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            "//" => Math.Floor(a / b),
            "**" => Math.Pow(a, b),
            _ => a - (b * Math.Floor(a / b)),
        };
    }
}
