using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;

namespace Peft.Jinja;

/// <content>The filters of jinja2, and transformers' tojson.</content>
internal static partial class Library
{
    private static readonly Dictionary<string, Func<object?, CallArguments, object?>> Filters =
        new(StringComparer.Ordinal)
        {
            ["abs"] = (value, _) => value is double d ? Math.Abs(d) : BigInteger.Abs(Number(value)),
            ["attr"] = (value, a) => AttributeOnly(value, Python.RequireText(a.Required(0, "name"))),
            ["batch"] = (value, a) => new Generator(Batches(value, a)),
            ["capitalize"] = (value, _) => PythonText.Capitalize(PythonText.Str(value)),
            ["center"] = (value, a) => PythonFormat.Pad(PythonText.Str(value), a.Integer(0, "width", 80), " ", '^'),
            ["count"] = (value, _) => (BigInteger)Python.Length(value),
            ["d"] = (value, a) => Default(value, a),
            ["default"] = (value, a) => Default(value, a),
            ["dictsort"] = (value, a) => DictSort(value, a),
            ["e"] = (value, _) => Escape(value),
            ["escape"] = (value, _) => Escape(value),
            ["forceescape"] = (value, _) => new Markup(Markup.Escape(PythonText.Str(value))),
            ["first"] = (value, _) =>
                Python.Iterate(value).DefaultIfEmpty(new Undefined("No first item, sequence was empty.")).First(),
            ["float"] = (value, a) => ToFloat(value, a.Get(0, "default", 0.0)),
            ["format"] = (value, a) => PythonFormat.Percent(
                PythonText.Str(value), a.Named.Count > 0
                    ? Dictionary(a.Named.Select(n => KeyValuePair.Create((object?)n.Key, n.Value)))
                        : new PyTuple(a.Values)),
            ["groupby"] = (value, a) => GroupBy(value, a),
            ["indent"] = (value, a) => Indent(value, a),
            ["int"] = (value, a) => ToInt(value, a),
            ["items"] = (value, _) => value switch
            {
                Undefined => new Generator([]),
                PyDict dict => new Generator(dict.Select(item => new PyTuple([item.Key, item.Value]))),
                _ => throw Python.TypeError("Can only get item pairs from a mapping."),
            },
            ["join"] = (value, a) => Join(value, a),
            ["last"] = (value, _) =>
                value is Generator ? throw Python.TypeError("'generator' object is not reversible")
                : Python.Iterate(value).DefaultIfEmpty(new Undefined("No last item, sequence was empty.")).Last(),
            ["length"] = (value, _) => (BigInteger)Python.Length(value),
            ["list"] = (value, _) => new PyList(Python.Iterate(value)),
            ["lower"] = (value, _) => PythonText.Lower(PythonText.Str(value)),
            ["map"] = (value, a) => new Generator(Map(value, a)),
            ["max"] = (value, a) => Extreme(value, a, 1),
            ["min"] = (value, a) => Extreme(value, a, -1),
            ["reject"] = (value, a) => new Generator(Select(value, a, wanted: false, byAttribute: false)),
            ["rejectattr"] = (value, a) => new Generator(Select(value, a, wanted: false, byAttribute: true)),
            ["replace"] = (value, a) => PythonText.Replace(
                PythonText.Str(value), PythonText.Str(a.Required(0, "old")), PythonText.Str(a.Required(1, "new")),
                    a.Get(2, "count") is null ? -1 : a.Integer(2, "count", -1)),
            ["reverse"] = (value, _) => Python.IsText(value)
                ? string.Concat(PythonText.CodePoints(value!.ToString()!).Reverse())
                    : new Generator(Python.Iterate(value).Reverse()),
            ["round"] = (value, a) => Round(value, a),
            ["safe"] = (value, _) => value is Spanned or Markup ? value : new Markup(PythonText.Str(value)),
            ["select"] = (value, a) => new Generator(Select(value, a, wanted: true, byAttribute: false)),
            ["selectattr"] = (value, a) => new Generator(Select(value, a, wanted: true, byAttribute: true)),
            ["slice"] = (value, a) => new Generator(Slices(value, a)),
            ["sort"] = (value, a) => Sort(value, a),
            ["string"] = (value, _) => Python.IsText(value) ? value : PythonText.Str(value),
            ["striptags"] = (value, _) =>
                string.Join(' ', PythonText.Split(Tags().Replace(PythonText.Str(value), ""), null, -1)),
            ["sum"] = (value, a) => Python.Iterate(value).Select(Picker(a.Get(0, "attribute")))
                .Aggregate(a.Get(1, "start", BigInteger.Zero), (sum, item) => Python.Binary("+", sum, item)),
            ["title"] = (value, _) =>
                Words().Replace(PythonText.Str(value), word => PythonText.Capitalize(word.Value)),
            ["tojson"] = (value, a) =>
                JsonWriter.Write(value, a.Of("tojson", "ensure_ascii", "indent", "separators", "sort_keys")),
            ["trim"] = (value, a) => PythonText.Strip(
                Python.IsText(value) ? value : PythonText.Str(value), a.Get(0, "chars") is { } letters
                    ? Python.RequireText(letters) : null, left: true, right: true),
            ["truncate"] = (value, a) => Truncate(value, a),
            ["unique"] = (value, a) => new Generator(Unique(value, a)),
            ["upper"] = (value, _) => PythonText.Upper(PythonText.Str(value)),
            ["urlencode"] = (value, _) => UrlEncoded(value),
            ["wordcount"] = (value, _) => (BigInteger)WordPattern().Count(PythonText.Str(value)),
        };

    public static bool HasFilter(string name) => Filters.ContainsKey(name);

    public static object? Filter(string name, object? value, CallArguments arguments)
    {
        if (!Filters.TryGetValue(name, out var filter))
            throw new JinjaException(JinjaErrorKind.Runtime, $"No filter named '{name}' found.");
        return filter(value, arguments);
    }

    private static BigInteger Number(object? value)
    {
        Python.RequireDefined(value);
        return Python.IsNumber(value) ? Python.ToInteger(value)
            : throw Python.TypeError($"bad operand type for abs(): '{Python.TypeName(value)}'");
    }

    private static object? AttributeOnly(object? value, string name) =>
        value is PyDict dict && dict.TryGet(name, out _) ? new Undefined($"'dict object' has no attribute '{name}'")
            : Members.Attribute(value, name);

    private static object? Default(object? value, CallArguments arguments)
    {
        arguments.Of("default", "default_value", "boolean");
        return value is Undefined || (arguments.Flag(1, "boolean") && !Python.IsTrue(value))
            ? arguments.Get(0, "default_value", "") : value;
    }

    private static object Escape(object? value) =>
        value is Markup ? value : new Markup(Markup.Escape(PythonText.Str(value)));

    private static string Join(object? value, CallArguments arguments)
    {
        var parts = Python.Iterate(value).Select(Picker(arguments.Get(1, "attribute"))).Select(PythonText.Str).ToList();
        var separator = PythonText.Str(arguments.Get(0, "d", ""));
        Python.RequireLength(parts.Sum(part => (long)part.Length + separator.Length));
        return string.Join(separator, parts);
    }

    private static string Indent(object? value, CallArguments arguments)
    {
        arguments.Of("indent", "width", "first", "blank");
        if (!Python.IsText(value))
            throw Python.TypeError($"indent: expected a str, not {Python.TypeName(value)}");
        var text = value + "\n";
        var width = arguments.Get(0, "width", (BigInteger)4);
        var indentation = Python.IsText(width) ? width!.ToString()!
            : new string(' ', Math.Clamp(Python.RequireIndex(width), 0, 10_000));
        var lines = PythonText.Lines(text);
        Python.RequireLength(text.Length + ((long)lines.Count * indentation.Length));
        var result = arguments.Flag(2, "blank")
            ? string.Join("\n" + indentation, lines)
            : string.Join("\n", lines.Select((line, i) => i == 0 || line.Length == 0 ? line : indentation + line));
        return arguments.Flag(1, "first") ? indentation + result : result;
    }

    // A text, or pairs of a query.
    private static string UrlEncoded(object? value)
    {
        static string Quoted(object? part) => Uri.EscapeDataString(PythonText.Str(part));
        static string InQuery(object? part) => Quoted(part).Replace("%20", "+", StringComparison.Ordinal);
        if (Python.IsText(value) || !Python.IsIterable(value))
            return Quoted(value).Replace("%2F", "/", StringComparison.Ordinal);
        var pairs = value is PyDict dict
            ? dict.Select(item => new PyTuple([item.Key, item.Value]))
            : Python.Iterate(value);
        return string.Join("&", pairs.Select(pair => Python.Iterate(pair).ToList() is { Count: 2 } parts
            ? $"{InQuery(parts[0])}={InQuery(parts[1])}"
            : throw new JinjaException(JinjaErrorKind.Runtime, "expected pairs of names and values")));
    }

    private static object? ToFloat(object? value, object? fallback) => value switch
    {
        _ when Python.IsNumber(value) => Python.ToDouble(value),
        _ when Python.IsText(value) && double.TryParse(
            value!.ToString()!.Trim().Replace("_", "", StringComparison.Ordinal), NumberStyles.Float,
                CultureInfo.InvariantCulture, out var number) => number,
        _ => fallback,
    };

    private static object? ToInt(object? value, CallArguments arguments)
    {
        var fallback = arguments.Get(0, "default", BigInteger.Zero);
        if (value is double number)
            return double.IsFinite(number) ? new BigInteger(Math.Truncate(number)) : fallback;
        if (Python.IsNumber(value))
            return Python.ToInteger(value);
        if (!Python.IsText(value))
            return fallback;
        var text = value!.ToString()!.Trim().Replace("_", "", StringComparison.Ordinal);
        if (arguments.Integer(1, "base", 10) is 16)
            return BigInteger.TryParse("0" + text.Replace("0x", "", StringComparison.OrdinalIgnoreCase),
                NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var hex) ? hex : fallback;
        if (BigInteger.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
            return whole;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number)
            && double.IsFinite(number)
            ? new BigInteger(Math.Truncate(number)) : fallback;
    }

    private static object? Round(object? value, CallArguments arguments)
    {
        Python.RequireDefined(value);
        var digits = arguments.Integer(0, "precision", 0);
        var number = Python.ToDouble(value);
        var scale = Math.Pow(10, digits);
        return arguments.Text(1, "method", "common") switch
        {
            "ceil" => Math.Ceiling(number * scale) / scale,
            "floor" => Math.Floor(number * scale) / scale,
            "common" when value is not double => Python.ToInteger(value),
            "common" => digits is >= 0 and <= 15 ? Math.Round(number, digits)
                : Math.Round(number / Math.Pow(10, -digits)) * Math.Pow(10, -digits),
            _ => throw new JinjaException(JinjaErrorKind.Runtime, "method must be common, ceil or floor"),
        };
    }

    private static object? Truncate(object? value, CallArguments arguments)
    {
        var length = arguments.Integer(0, "length", 255);
        var end = arguments.Text(2, "end", "...");
        if (Python.Length(value) <= length + arguments.Integer(3, "leeway", 5))
            return value;
        var text = Python.RequireText(value);
        var cut = PythonText.Str(Members.Slice(text, null, Math.Max(0, length - end.Length), null));
        var space = cut.LastIndexOf(' ');
        return (arguments.Flag(1, "killwords") || space < 0 ? cut : cut[..space]) + end;
    }

    private static object? Extreme(object? value, CallArguments arguments, int sign)
    {
        var key = Key(arguments.Flag(0, "case_sensitive"), arguments.Get(1, "attribute"));
        object? best = new Undefined("No aggregated item, sequence was empty.");
        var isFirst = true;
        foreach (var item in Python.Iterate(value))
        {
            if (isFirst || Python.Compare(key(item), key(best), "<") * sign > 0)
                best = item;
            isFirst = false;
        }

        return best;
    }

    private static PyList Sort(object? value, CallArguments arguments)
    {
        arguments.Of("sort", "reverse", "case_sensitive", "attribute");
        var key = Key(arguments.Flag(1, "case_sensitive"), arguments.Get(2, "attribute"));
        return Sorted(Python.Iterate(value), key, arguments.Flag(0, "reverse"));
    }

    private static PyList DictSort(object? value, CallArguments arguments)
    {
        arguments.Of("dictsort", "case_sensitive", "by", "reverse");
        if (value is not PyDict dict)
            throw Python.TypeError($"'{Python.TypeName(value)}' object has no items");
        var part = arguments.Text(1, "by", "key") == "value" ? 1 : 0;
        var key = Key(arguments.Flag(0, "case_sensitive"), null);
        return Sorted(dict.Select(item => (object?)new PyTuple([item.Key, item.Value])), pair =>
            key(((PyTuple)pair!)[part]), arguments.Flag(2, "reverse"));
    }

    private static PyList Sorted(IEnumerable<object?> items, Func<object?, object?> key, bool reverse)
    {
        var order = Comparer<object?>.Create((a, b) => Python.Compare(a, b, "<"));
        try
        {
            return new PyList(reverse ? items.OrderByDescending(key, order) : items.OrderBy(key, order));
        }
        catch (InvalidOperationException error) when (error.InnerException is JinjaException inner)
        {
            throw inner;
        }
    }

    private static PyList GroupBy(object? value, CallArguments arguments)
    {
        var key = Picker(arguments.Required(0, "attribute"));
        var groups = Sorted(Python.Iterate(value), key, reverse: false)
            .GroupBy(key, (group, items) => (object?)new PyTuple([group, new PyList(items)]),
                EqualityComparer<object?>.Create(Python.AreEqual, Python.Hash));
        return new PyList(groups);
    }

    private static IEnumerable<object?> Unique(object? value, CallArguments arguments)
    {
        var key = Key(arguments.Flag(0, "case_sensitive"), arguments.Get(1, "attribute"));
        var seen = new PyDict();
        foreach (var item in Python.Iterate(value))
        {
            if (seen.TryGet(key(item), out _))
                continue;
            seen[key(item)] = true;
            yield return item;
        }
    }

    private static IEnumerable<object?> Batches(object? value, CallArguments arguments)
    {
        var size = arguments.Integer(0, "linecount", 1);
        foreach (var chunk in Python.Iterate(value).Chunk(Math.Max(1, size)))
        {
            var filling =
                arguments.Get(1, "fill_with") is { } fill ? Enumerable.Repeat((object?)fill, size - chunk.Length) : [];
            yield return new PyList(chunk.Concat(filling));
        }
    }

    private static IEnumerable<object?> Slices(object? value, CallArguments arguments)
    {
        var items = Python.Iterate(value).ToList();
        var slices = Math.Max(1, arguments.Integer(0, "slices", 1));
        var (each, surplus) = Math.DivRem(items.Count, slices);
        var at = 0;
        for (var i = 0; i < slices; i++)
        {
            var count = each + (i < surplus ? 1 : 0);
            var slice = new PyList(items.Skip(at).Take(count));
            at += count;
            if (arguments.Get(1, "fill_with") is { } fill && i >= surplus && surplus > 0)
                slice.Add(fill);
            yield return slice;
        }
    }

    private static IEnumerable<object?> Map(object? value, CallArguments arguments)
    {
        // As in jinja2 an empty value gives nothing, even one that cannot be iterated, such as None.
        if (!Python.IsTrue(value))
            yield break;
        if (arguments.Values.Count == 0 && arguments.Named.TryGetValue("attribute", out var attribute))
        {
            var pick =
                Picker(attribute, arguments.Named.GetValueOrDefault("default"), arguments.Named.ContainsKey("default"));
            foreach (var item in Python.Iterate(value))
                yield return pick(item);
            yield break;
        }

        var name = Python.RequireText(arguments.Required(0, "filter"));
        var rest = new CallArguments([.. arguments.Values.Skip(1)], arguments.Named);
        foreach (var item in Python.Iterate(value))
            yield return Filter(name, item, rest);
    }

    private static IEnumerable<object?> Select(object? value, CallArguments arguments, bool wanted, bool byAttribute)
    {
        if (!Python.IsTrue(value))
            yield break;
        var skipped = byAttribute ? 1 : 0;
        var pick = byAttribute ? Picker(arguments.Required(0, "attribute")) : item => item;
        var test = arguments.Values.Count > skipped ? Python.RequireText(arguments.Values[skipped]) : null;
        var rest = new CallArguments([.. arguments.Values.Skip(skipped + 1)], arguments.Named);
        foreach (var item in Python.Iterate(value))
        {
            var picked = pick(item);
            if ((test is null ? Python.IsTrue(picked) : Test(test, picked, rest)) == wanted)
                yield return item;
        }
    }

    // An attribute, a path of them with dots (numbers are indices), or the item itself.
    private static Func<object?, object?> Picker(object? attribute, object? fallback = null, bool hasFallback = false)
    {
        if (attribute is null)
            return item => item;
        var path = attribute is BigInteger ? [attribute]
            : Python.RequireText(attribute).Split('.').Select(part =>
                part.Length > 0 && part.All(char.IsAsciiDigit)
                    ? (object)BigInteger.Parse(part, CultureInfo.InvariantCulture) : part).ToArray();
        return item =>
        {
            foreach (var part in path)
            {
                item = Members.Item(item, part);
                if (item is Undefined && hasFallback)
                    return fallback;
            }

            return item;
        };
    }

    private static Func<object?, object?> Key(bool isCaseSensitive, object? attribute)
    {
        var pick = Picker(attribute);
        return item => pick(item) is { } value && Python.IsText(value) && !isCaseSensitive
            ? PythonText.Lower(value.ToString()!) : pick(item);
    }

    [GeneratedRegex("<!--.*?-->|<[^>]*>", RegexOptions.Singleline)]
    private static partial Regex Tags();

    // Words of the title filter end at blanks, hyphens and opening brackets.
    [GeneratedRegex(@"[^-\s({\[<]+")]
    private static partial Regex Words();

    [GeneratedRegex(@"\w+")]
    private static partial Regex WordPattern();
}
