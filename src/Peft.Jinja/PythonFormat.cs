using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.RegularExpressions;

namespace Peft.Jinja;

/// <summary>Python's three ways to format: <c>'%5d' % x</c>, <c>'{:>5}'.format(x)</c> and strftime.</summary>
internal static partial class PythonFormat
{
    private const int Widest = 1_000_000;

    /// <summary><c>text % arguments</c>.</summary>
    public static string Percent(string text, object? arguments)
    {
        var values = arguments is PyTuple tuple ? tuple.ToList() : [arguments];
        var next = 0;
        object? Next() => next < values.Count ? values[next++]
            : throw Python.TypeError("not enough arguments for format string");
        var result = Conversion().Replace(text, match =>
        {
            if (match.Groups["type"].Value == "%")
                return "%";
            if (match.Groups["type"].Length == 0)
                throw new JinjaException(JinjaErrorKind.Runtime, "unsupported format character");
            var width = match.Groups["width"].Value is "*" ? Python.RequireIndex(Next())
                : Number(match.Groups["width"].Value, 0);
            var digits = match.Groups["precision"].Value is "*" ? Python.RequireIndex(Next())
                : Number(match.Groups["precision"].Value, -1);
            var value = match.Groups["key"].Success && arguments is PyDict dict
                ? dict.TryGet(match.Groups["key"].Value, out var named) ? named
                    : throw new JinjaException(JinjaErrorKind.Runtime, match.Groups["key"].Value)
                : Next();
            return Converted(match.Groups["flags"].Value, width, digits, match.Groups["type"].Value[0], value);
        });
        if (next < values.Count && arguments is PyTuple || next == 0 && arguments is not (PyDict or PyTuple)
            && !Conversion().IsMatch(text))
            throw Python.TypeError("not all arguments converted during string formatting");
        return result;
    }

    /// <summary><c>text.format(...)</c>: positions, names, members, conversions and format specifications.</summary>
    public static string Braces(string text, CallArguments arguments)
    {
        var result = new StringBuilder();
        var automatic = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var letter = text[i];
            if (letter is '{' or '}' && i + 1 < text.Length && text[i + 1] == letter)
            {
                result.Append(letter);
                i++;
            }
            else if (letter == '{')
            {
                var end = text.IndexOf('}', i);
                if (end < 0)
                    throw new JinjaException(JinjaErrorKind.Runtime, "expected '}' before end of string");
                result.Append(Field(text[(i + 1)..end], arguments, ref automatic));
                i = end;
            }
            else if (letter == '}')
            {
                throw new JinjaException(JinjaErrorKind.Runtime, "Single '}' encountered in format string");
            }
            else
            {
                result.Append(letter);
            }
        }

        return result.ToString();
    }

    /// <summary>Fills a text up to a width: <c>&lt;</c> to the right, <c>&gt;</c> to the left, <c>^</c> on both
    /// sides.</summary>
    public static string Pad(string text, int width, string fill, char alignment)
    {
        Python.RequireLength(width);
        var missing = width - PythonText.Length(text);
        if (missing <= 0)
            return text;
        // Of an odd number Python's center puts the surplus to the left when the width is odd.
        var left = alignment switch { '<' => 0, '>' => missing, _ => (missing / 2) + (missing & width & 1) };
        string Filling(int count) => string.Concat(Enumerable.Repeat(fill, count));
        return Filling(left) + text + Filling(missing - left);
    }

    public static string ZeroFill(string text, int width)
    {
        var sign = text.StartsWith('-') || text.StartsWith('+') ? 1 : 0;
        return text[..sign] + Pad(text[sign..], width - sign, "0", '>');
    }

    /// <summary>A time by strftime's directives, in English.</summary>
    public static string Time(DateTime time, string format)
    {
        var culture = CultureInfo.InvariantCulture;
        return Directive().Replace(format, match =>
        {
            var text = match.Groups[2].Value switch
            {
                "Y" => time.ToString("yyyy", culture),
                "y" => time.ToString("yy", culture),
                "m" => time.ToString("MM", culture),
                "d" => time.ToString("dd", culture),
                "e" => time.Day.ToString(culture).PadLeft(2),
                "H" => time.ToString("HH", culture),
                "I" => time.ToString("hh", culture),
                "M" => time.ToString("mm", culture),
                "S" => time.ToString("ss", culture),
                "f" => time.ToString("ffffff", culture),
                "p" => time.ToString("tt", culture),
                "A" => time.ToString("dddd", culture),
                "a" => time.ToString("ddd", culture),
                "B" => time.ToString("MMMM", culture),
                "b" or "h" => time.ToString("MMM", culture),
                "j" => time.DayOfYear.ToString("000", culture),
                "u" => (time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek).ToString(culture),
                "w" => ((int)time.DayOfWeek).ToString(culture),
                "U" => ((time.DayOfYear + 6 - (int)time.DayOfWeek) / 7).ToString("00", culture),
                "W" => ((time.DayOfYear + 6 - (((int)time.DayOfWeek + 6) % 7)) / 7).ToString("00", culture),
                "G" => ISOWeek.GetYear(time).ToString(culture),
                "V" => ISOWeek.GetWeekOfYear(time).ToString("00", culture),
                "D" or "x" => time.ToString("MM'/'dd'/'yy", culture),
                "F" => time.ToString("yyyy'-'MM'-'dd", culture),
                "T" or "X" => time.ToString("HH':'mm':'ss", culture),
                "R" => time.ToString("HH':'mm", culture),
                "r" => time.ToString("hh':'mm':'ss tt", culture),
                "c" => time.ToString("ddd MMM ", culture) + time.Day.ToString(culture).PadLeft(2)
                    + time.ToString(" HH':'mm':'ss yyyy", culture),
                "s" => new DateTimeOffset(time, TimeSpan.Zero).ToUnixTimeSeconds().ToString(culture),
                "Z" or "z" => "",
                "n" => "\n",
                "t" => "\t",
                "%" => "%",
                _ => match.Value,
            };
            return match.Groups[1].Value == "-" && text.Length > 1 ? text.TrimStart('0', ' ') is { Length: > 0 } bare
                ? bare : "0" : text;
        });
    }

    private static string Field(string field, CallArguments arguments, ref int automatic)
    {
        var match = Replacement().Match(field);
        if (!match.Success)
            throw new JinjaException(JinjaErrorKind.Runtime, $"a format field that cannot be read: {{{field}}}");
        var name = match.Groups["name"].Value;
        object? value;
        if (name.Length == 0 || name.All(char.IsAsciiDigit))
        {
            var at = name.Length == 0 ? automatic++ : Number(name, 0);
            value = at < arguments.Values.Count ? arguments.Values[at]
                : throw new JinjaException(JinjaErrorKind.Runtime,
                    $"Replacement index {at} out of range for positional args tuple");
        }
        else if (!arguments.Named.TryGetValue(name, out value))
        {
            throw new JinjaException(JinjaErrorKind.Runtime, $"'{name}'");
        }

        foreach (Capture member in match.Groups["member"].Captures)
        {
            var key = member.Value[0] == '.' ? member.Value[1..] : member.Value[1..^1];
            value = member.Value[0] == '.' ? Members.Attribute(value, key)
                : Members.Item(value, key.All(char.IsAsciiDigit) ? BigInteger.Parse(key, CultureInfo.InvariantCulture)
                    : key);
            Python.RequireDefined(value);
        }

        value = match.Groups["conversion"].Value switch
        {
            "r" => PythonText.Repr(value),
            "s" =>
            PythonText.Str(value),
            _ => value
        };
        return Formatted(value, match.Groups["spec"].Value);
    }

    private static string Formatted(object? value, string specification)
    {
        if (specification.Length == 0)
            return PythonText.Str(value);
        var match = Specification().Match(specification);
        if (!match.Success)
            throw new JinjaException(JinjaErrorKind.Runtime, $"Invalid format specifier '{specification}'");
        var type = match.Groups["type"].Value;
        var precision = Number(match.Groups["precision"].Value, -1);
        var isNumber = Python.IsNumber(value);
        string text;
        if (isNumber && (type.Length > 0 || value is double))
            text = Converted(match.Groups["sign"].Value == "-" ? "" : match.Groups["sign"].Value, 0, precision,
                type switch { "" => 'g', "n" => 'd', _ => type[0] }, value);
        else
            text = precision >= 0 && !isNumber
                ? PythonText.Str(Members.Slice(PythonText.Str(value), null, precision, null)) : PythonText.Str(value);
        if (match.Groups["comma"].Value is { Length: > 0 } mark)
            text = Thousands().Replace(text, mark);
        var width = Number(match.Groups["width"].Value, 0);
        if (match.Groups["zero"].Length > 0 && match.Groups["align"].Length == 0)
            return ZeroFill(text, width);
        var alignment = match.Groups["align"].Length > 0 ? match.Groups["align"].Value[0] : isNumber ? '>' : '<';
        return Pad(text, width, match.Groups["fill"].Length > 0 ? match.Groups["fill"].Value : " ", alignment == '='
            ? '>' : alignment);
    }

    private static string Converted(string flags, int width, int precision, char type, object? value)
    {
        if (width > Widest || precision > Widest)
            throw new JinjaException(JinjaErrorKind.Limit, $"a width or precision above {Widest:N0}");
        var text = type switch
        {
            's' => Cut(PythonText.Str(value), precision),
            'r' or 'a' => Cut(PythonText.Repr(value), precision),
            'c' => Python.IsText(value) ? value!.ToString()! : char.ConvertFromUtf32(Python.RequireIndex(value)),
            'd' or 'i' or 'u' => Whole(value).ToString(CultureInfo.InvariantCulture),
            'x' => Based(value, 16),
            'X' => Based(value, 16).ToUpperInvariant(),
            'o' => Based(value, 8),
            'b' => Based(value, 2),
            'f' or 'F' =>
                Python.ToDouble(value).ToString("F" + (precision < 0 ? 6 : precision), CultureInfo.InvariantCulture),
            'e' or 'E' => Scientific(Python.ToDouble(value), precision < 0 ? 6 : precision, type),
            'g' or 'G' => General(Python.ToDouble(value), precision),
            '%' => (Python.ToDouble(value) * 100)
                .ToString("F" + (precision < 0 ? 6 : precision), CultureInfo.InvariantCulture) + "%",
            _ => throw new JinjaException(JinjaErrorKind.Runtime, $"unsupported format character '{type}'"),
        };
        if (Python.IsNumber(value) && type is not ('s' or 'r' or 'a' or 'c') && !text.StartsWith('-'))
            text = (flags.Contains('+', StringComparison.Ordinal) ? "+" : flags.Contains(' ', StringComparison.Ordinal)
                ? " " : "") + text;
        if (flags.Contains('-', StringComparison.Ordinal))
            return Pad(text, width, " ", '<');
        return flags.Contains('0', StringComparison.Ordinal) && type is not ('s' or 'r' or 'a' or 'c')
            ? ZeroFill(text, width) : Pad(text, width, " ", '>');
    }

    private static string Cut(string text, int precision) =>
        precision < 0 ? text : PythonText.Str(Members.Slice(text, null, precision, null));

    private static BigInteger Whole(object? value) =>
        value is double number ? new BigInteger(Math.Truncate(number))
        : Python.IsNumber(value) ? Python.ToInteger(value)
        : throw Python.TypeError($"%d format: a real number is required, not {Python.TypeName(value)}");

    private static string Based(object? value, int radix)
    {
        var number = Python.ToInteger(value);
        if (number.IsZero)
            return "0";
        var digits = new StringBuilder();
        for (var rest = BigInteger.Abs(number); !rest.IsZero; rest /= radix)
            digits.Insert(0, "0123456789abcdef"[(int)(rest % radix)]);
        return (number.Sign < 0 ? "-" : "") + digits;
    }

    private static string Scientific(double value, int precision, char type)
    {
        var text = value.ToString((type == 'e' ? "e" : "E") + precision, CultureInfo.InvariantCulture);
        // .NET writes three digits of the exponent, Python two or more.
        return LongExponent().Replace(text, "$1$2");
    }

    private static string General(double value, int precision)
    {
        if (precision < 0)
        {
            var shortest = PythonText.Number(value);
            return shortest;
        }

        var digits = Math.Max(1, precision);
        var scientific = Scientific(value, digits - 1, 'e');
        var exponent = Number(scientific[(scientific.IndexOf('e', StringComparison.Ordinal) + 1)..].TrimStart('+'), 0);
        var text = exponent < -4 || exponent >= digits ? scientific
            : value.ToString("F" + Math.Max(0, digits - 1 - exponent), CultureInfo.InvariantCulture);
        var mark = text.IndexOf('e', StringComparison.Ordinal);
        var (number, tail) = mark < 0 ? (text, "") : (text[..mark], text[mark..]);
        return (number.Contains('.', StringComparison.Ordinal) ? number.TrimEnd('0').TrimEnd('.') : number) + tail;
    }

    private static int Number(string digits, int fallback) => digits.Length == 0 ? fallback
        : int.TryParse(digits, CultureInfo.InvariantCulture, out var value) ? value
        : throw new JinjaException(JinjaErrorKind.Limit, $"a width or precision above {Widest:N0}");

    [GeneratedRegex(
        @"%(?:\((?<key>[^)]*)\))?(?<flags>[-+ #0]*)(?<width>\d+|\*)?(?:\.(?<precision>\d+|\*))?(?<type>[a-zA-Z%])?")]
    private static partial Regex Conversion();

    [GeneratedRegex(@"^(?<name>\w*)(?<member>\.\w+|\[[^\]]*\])*(?:!(?<conversion>[rsa]))?(?::(?<spec>.*))?$",
        RegexOptions.Singleline)]
    private static partial Regex Replacement();

    [GeneratedRegex(
        @"^(?:(?<fill>.)?(?<align>[<>^=]))?(?<sign>[-+ ])?#?(?<zero>0)?(?<width>\d+)?"
        + @"(?<comma>[,_])?(?:\.(?<precision>\d+))?(?<type>[a-zA-Z%])?$")]
    private static partial Regex Specification();

    [GeneratedRegex(@"(?<=\d)(?=(?:\d{3})+(?!\d))(?<!\.\d*)")]
    private static partial Regex Thousands();

    [GeneratedRegex(@"([eE][+-])0(\d\d)$")]
    private static partial Regex LongExponent();

    [GeneratedRegex(@"%([-#]?)([A-Za-z%])")]
    private static partial Regex Directive();
}
