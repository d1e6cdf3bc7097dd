using System.Globalization;
using System.Numerics;
using System.Text;

namespace Peft.Jinja;

/// <summary>Python's texts: code points instead of UTF-16 units, its blanks, its spelling of values.</summary>
internal static class PythonText
{
    /// <summary><c>str(value)</c>.</summary>
    public static string Str(object? value) => value switch
    {
        string text => text,
        Undefined => "",
        _ => Repr(value, quotes: false),
    };

    /// <summary><c>repr(value)</c>.</summary>
    public static string Repr(object? value) => Repr(value, quotes: true);

    /// <summary>One text after the other, spans kept.</summary>
    public static object Concat(object? left, object? right)
    {
        var (a, b) = (Str(left), Str(right));
        if (left is not Spanned && right is not Spanned)
            return a + b;
        var spans = (left as Spanned)?.Spans ?? [];
        return new Spanned(a + b,
            [.. spans, .. ((right as Spanned)?.Spans ?? []).Select(s => (s.Start + a.Length, s.End + a.Length))]);
    }

    /// <summary>A stretch of a text, with the spans in it.</summary>
    public static object Cut(object? value, int start, int end)
    {
        var text = value!.ToString()![start..end];
        return value switch
        {
            Spanned spanned => new Spanned(text, [.. spanned.Spans
                .Select(s => (Start: Math.Max(s.Start, start) - start, End: Math.Min(s.End, end) - start))
                    .Where(s => s.Start <= s.End)]),
            Markup => new Markup(text),
            _ => text,
        };
    }

    public static bool IsBlank(char letter) => char.IsWhiteSpace(letter) || letter is >= '\u001c' and <= '\u001f';

    public static string TrimEnd(string text)
    {
        var end = text.Length;
        while (end > 0 && IsBlank(text[end - 1]))
            end--;
        return text[..end];
    }

    /// <summary><c>strip</c>, <c>lstrip</c>, <c>rstrip</c>.</summary>
    public static object Strip(object? value, string? letters, bool left, bool right)
    {
        var text = value!.ToString()!;
        bool Goes(char letter) =>
            letters is null ? IsBlank(letter) : letters.Contains(letter, StringComparison.Ordinal);
        var (start, end) = (0, text.Length);
        while (left && start < end && Goes(text[start]))
            start++;
        while (right && end > start && Goes(text[end - 1]))
            end--;
        return start == 0 && end == text.Length ? value : Cut(value, start, end);
    }

    public static IEnumerable<object?> CodePoints(string text)
    {
        for (var i = 0; i < text.Length;)
        {
            var length = char.IsSurrogatePair(text, i) ? 2 : 1;
            yield return text.Substring(i, length);
            i += length;
        }
    }

    public static int Length(string text)
    {
        var pairs = 0;
        for (var i = 0; i + 1 < text.Length; i++)
        {
            if (char.IsSurrogatePair(text[i], text[i + 1]))
                pairs++;
        }

        return text.Length - pairs;
    }

    /// <summary>The UTF-16 place of a code point.</summary>
    public static int Offset(string text, int codePoint)
    {
        var at = 0;
        for (var i = 0; i < codePoint && at < text.Length; i++)
            at += char.IsSurrogatePair(text, at) ? 2 : 1;
        return at;
    }

    /// <summary>Order by code point.</summary>
    public static int Compare(string left, string right)
    {
        using var a = left.EnumerateRunes().GetEnumerator();
        using var b = right.EnumerateRunes().GetEnumerator();
        while (true)
        {
            var (hasA, hasB) = (a.MoveNext(), b.MoveNext());
            if (!hasA || !hasB)
                return hasA.CompareTo(hasB);
            if (a.Current != b.Current)
                return a.Current.CompareTo(b.Current);
        }
    }

    /// <summary><c>split</c> at blanks (no separator) or at a separator, from the left.</summary>
    public static IEnumerable<string> Split(string text, string? separator, int most)
    {
        if (separator is "")
            throw new JinjaException(JinjaErrorKind.Runtime, "empty separator");
        if (separator is not null)
            return most < 0 ? text.Split(separator) : text.Split(separator, most + 1);
        var parts = new List<string>();
        var at = 0;
        while (true)
        {
            while (at < text.Length && IsBlank(text[at]))
                at++;
            if (at == text.Length)
                return parts;
            if (most >= 0 && parts.Count == most)
                return [.. parts, TrimEnd(text[at..])];
            var start = at;
            while (at < text.Length && !IsBlank(text[at]))
                at++;
            parts.Add(text[start..at]);
        }
    }

    /// <summary><c>rsplit</c> with a limit.</summary>
    public static IEnumerable<string> SplitRight(string text, string? separator, int most)
    {
        if (most < 0)
            return Split(text, separator, most);
        string Turned(string part) => new([.. part.Reverse()]);
        return Split(Turned(text), separator is null ? null : Turned(separator), most).Select(Turned).Reverse();
    }

    /// <summary>Lines without their ends.</summary>
    public static List<string> Lines(string text, bool keepEnds = false)
    {
        var lines = new List<string>();
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i]
                is not ('\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029'))
                continue;
            var end = i;
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] == '\n')
                i++;
            lines.Add(text[start..(keepEnds ? i + 1 : end)]);
            start = i + 1;
        }

        if (start < text.Length)
            lines.Add(text[start..]);
        return lines;
    }

    public static string Replace(string text, string old, string with, int most)
    {
        if (most < 0 && old.Length > 0)
        {
            Python.RequireLength(text.Length
                + ((long)text.Length / old.Length * Math.Max(0, with.Length - old.Length)));
            return text.Replace(old, with, StringComparison.Ordinal);
        }

        Python.RequireLength(text.Length + ((long)(text.Length + 1) * with.Length));
        var result = new StringBuilder();
        var at = 0;
        for (var done = 0; most < 0 || done < most; done++)
        {
            var found = old.Length > 0 ? text.IndexOf(old, at, StringComparison.Ordinal) : at;
            if (found < 0 || (old.Length == 0 && at >= text.Length && done > text.Length))
                break;
            result.Append(text, at, found - at).Append(with);
            at = found + old.Length;
            if (old.Length > 0)
                continue;
            if (at == text.Length)
                break;
            var step = char.IsSurrogatePair(text, at) ? 2 : 1;
            result.Append(text, at, step);
            at += step;
        }

        return result.Append(text, at, text.Length - at).ToString();
    }

    /// <summary><c>str.title()</c>: a capital after every letterless character.</summary>
    public static string Title(string text)
    {
        var result = new StringBuilder(text.Length);
        var inWord = false;
        foreach (var letter in text)
        {
            result.Append(inWord ? Lower(letter.ToString()) : Upper(letter.ToString()));
            inWord = char.IsLetter(letter);
        }

        return result.ToString();
    }

    public static string Capitalize(string text)
    {
        if (text.Length == 0)
            return text;
        var first = char.IsSurrogatePair(text, 0) ? 2 : 1;
        return Upper(text[..first]) + Lower(text[first..]);
    }

    // .NET's tables map one character to one; these are the ones that Python lengthens.
    public static string Upper(string text) => text.ToUpperInvariant()
        .Replace("ß", "SS", StringComparison.Ordinal).Replace("ŉ", "ʼN", StringComparison.Ordinal)
        .Replace("ﬁ", "FI", StringComparison.Ordinal).Replace("ﬂ", "FL", StringComparison.Ordinal)
        .Replace("ﬀ", "FF", StringComparison.Ordinal).Replace("ﬃ", "FFI", StringComparison.Ordinal);

    public static string Lower(string text) =>
        text.ToLowerInvariant().Replace("İ", "i\u0307", StringComparison.Ordinal);

    /// <summary>Resolves the escapes of a text in a template.</summary>
    public static string Unescape(string text, int line)
    {
        if (!text.Contains('\\', StringComparison.Ordinal))
            return text;
        var result = new StringBuilder(text.Length);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\' || i + 1 == text.Length)
            {
                result.Append(text[i]);
                continue;
            }

            var letter = text[++i];
            var simple = "\\'\"abfnrtv".IndexOf(letter, StringComparison.Ordinal);
            if (simple >= 0)
                result.Append("\\'\"\a\b\f\n\r\t\v"[simple]);
            else if (letter is 'x' or 'u' or 'U')
                i += AppendHex(result, text, i + 1, letter switch { 'x' => 2, 'u' => 4, _ => 8 }, line);
            else if (letter is >= '0' and <= '7')
                i += AppendOctal(result, text, i) - 1;
            else if (letter != '\n')
                result.Append('\\').Append(letter);
        }

        return result.ToString();
    }

    /// <summary>A double as Python writes it: the shortest digits that read back, with .0 or an exponent.</summary>
    public static string Number(double value)
    {
        if (!double.IsFinite(value))
            return double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
        if (value == 0)
            return double.IsNegative(value) ? "-0.0" : "0.0";
        // The shortest digits that read back, d.ddd times ten to the exponent.
        var shortest = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        var mark = shortest.IndexOf('E', StringComparison.Ordinal);
        var mantissa = mark < 0 ? shortest : shortest[..mark];
        var point = mantissa.IndexOf('.', StringComparison.Ordinal);
        var whole = point < 0 ? mantissa.Length : point;
        var digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        var leading = digits.Length - digits.TrimStart('0').Length;
        var exponent =
            whole - 1 - leading + (mark < 0 ? 0 : int.Parse(shortest[(mark + 1)..], CultureInfo.InvariantCulture));
        digits = digits.Trim('0');
        var sign = value < 0 ? "-" : "";
        if (exponent is < -4 or >= 16)
        {
            var tail = digits.Length > 1 ? "." + digits[1..] : "";
            return string.Create(CultureInfo.InvariantCulture,
                $"{sign}{digits[0]}{tail}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
        }

        if (exponent < 0)
            return $"{sign}0.{new string('0', -exponent - 1)}{digits}";
        var padded = digits.PadRight(exponent + 2, '0');
        return $"{sign}{padded[..(exponent + 1)]}.{padded[(exponent + 1)..]}";
    }

    private static string Repr(object? value, bool quotes) => value switch
    {
        null => "None",
        bool truth => truth ? "True" : "False",
        BigInteger number => number.ToString(CultureInfo.InvariantCulture),
        double number => Number(number),
        string or Spanned => quotes ? Quoted(value.ToString()!) : value.ToString()!,
        Markup => quotes ? $"Markup({Quoted(value.ToString()!)})" : value.ToString()!,
        PyList list => $"[{string.Join(", ", list.Select(Repr))}]",
        PyTuple { Count: 1 } tuple => $"({Repr(tuple[0])},)",
        PyTuple tuple => $"({string.Join(", ", tuple.Select(Repr))})",
        PyDict dict => $"{{{string.Join(", ", dict.Select(item => $"{Repr(item.Key)}: {Repr(item.Value)}"))}}}",
        DictView view => $"dict_{view.Kind}([{string.Join(", ", view.Items.Select(Repr))}])",
        Undefined => "Undefined",
        Generator => "<generator object>",
        Namespace space =>
            $"<Namespace {{{string.Join(", ", space.Attributes.Select(a => $"'{a.Key}': {Repr(a.Value)}"))}}}>",
        Callable callable => $"<function {callable.Name}>",
        _ => value.ToString() ?? "",
    };

    private static string Quoted(string text)
    {
        var quote =
            text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        var result = new StringBuilder().Append(quote);
        foreach (var rune in text.EnumerateRunes())
        {
            result.Append(rune.Value switch
            {
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                _ when rune.Value == quote => "\\" + quote,
                _ when IsPrintable(rune) => rune.ToString(),
                < 0x100 => $"\\x{rune.Value:x2}",
                < 0x10000 => $"\\u{rune.Value:x4}",
                _ => $"\\U{rune.Value:x8}",
            });
        }

        return result.Append(quote).ToString();
    }

    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse
        or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.SpaceSeparator);

    private static int AppendHex(StringBuilder result, string text, int at, int digits, int line)
    {
        var isNumber = at + digits <= text.Length
            & int.TryParse(text.AsSpan(at, Math.Min(digits, text.Length - at)), NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture, out var value);
        if (!isNumber || value is < 0 or > 0x10FFFF)
            throw new JinjaException(JinjaErrorKind.Syntax, "a broken escape in a text", line);
        result.Append(value < 0x10000 ? ((char)value).ToString() : char.ConvertFromUtf32(value));
        return digits;
    }

    private static int AppendOctal(StringBuilder result, string text, int at)
    {
        var length = 1;
        while (length < 3 && at + length < text.Length && text[at + length] is >= '0' and <= '7')
            length++;
        result.Append((char)text.AsSpan(at, length).ToArray()
            .Aggregate(0, (value, digit) => (value * 8) + (digit - '0')));
        return length;
    }
}
