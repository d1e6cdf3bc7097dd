using System.Buffers.Binary;
using System.Text;

namespace Peft.Fuzz.Tests;

/// <summary>Makes an input out of valid ones: a few changes one after the other, of bytes or of what the text
/// says.</summary>
internal static class Mutator
{
    private const int Longest = 1 << 17;
    private static readonly byte[] Telling = [
        0, 1, 0x7F, 0x80, 0xFF, 0xC0, 0xED, (byte)'"', (byte)'{', (byte)'[', (byte)'\\', (byte)'\n', (byte)':'];

    /// <summary>One mutated input: of the parser's seeds, or of those that reached new code.</summary>
    public static byte[] Mutate(FuzzParser parser, Random random, IReadOnlyList<byte[]>? kept = null)
    {
        // Of the kept ones the latest more often: what they reached is the newest.
        var seed = kept is { Count: > 0 } && random.Next(3) > 0
            ? kept[random.Next(2) == 0 ? random.Next(kept.Count)
            : kept.Count - 1 - random.Next(Math.Min(kept.Count, 32))]
            : parser.Seeds[random.Next(parser.Seeds.Count)];
        var (start, end) = parser.TextOf is { } textOf && random.Next(4) > 0 ? textOf(seed) : (0, seed.Length);
        var text = seed[start..end];
        var changes = 1 + (random.Next(3) == 0 ? random.Next(8) : 0);
        for (var i = 0; i < changes && text.Length <= Longest; i++)
            text = random.Next(3) == 0 ? ChangeBytes(text, parser, random) : TextMutator.Change(text, random);
        byte[] input = [.. seed[..start], .. text, .. seed[end..]];
        return start > 0 ? parser.Mend(input, text.Length) : input;
    }

    private static byte[] ChangeBytes(byte[] input, FuzzParser parser, Random random)
    {
        var at = random.Next(input.Length + 1);
        var rest = input.Length - at;
        switch (random.Next(10))
        {
            case 0: // cut short
                return input[..at];
            case 1 when rest > 0: // a bit
                var flipped = (byte[])input.Clone();
                flipped[at] ^= (byte)(1 << random.Next(8));
                return flipped;
            case 2 when rest > 0: // a byte
                var changed = (byte[])input.Clone();
                changed[at] = Telling[random.Next(Telling.Length)];
                return changed;
            case 3: // bytes in between
                var added = new byte[1 + random.Next(8)];
                random.NextBytes(added);
                return [.. input[..at], .. added, .. input[at..]];
            case 4: // a hole
                return [.. input[..at], .. input[(at + random.Next(Math.Min(rest, 64) + 1))..]];
            case 5: // a part again, sometimes many times
                var part = input.AsSpan(at, random.Next(Math.Min(rest, 256) + 1)).ToArray();
                var times = random.Next(20) == 0 ? random.Next(2000) : 1 + random.Next(3);
                times = Math.Min(times, Longest / Math.Max(1, part.Length));
                return [.. input[..at], .. Enumerable.Repeat(part, times).SelectMany(bytes => bytes), .. input[at..]];
            case 6: // the end of another seed
                var other = parser.Seeds[random.Next(parser.Seeds.Count)];
                return [.. input[..at], .. other[random.Next(other.Length + 1)..]];
            case 7 when rest >= 8: // a length in binary
                var long64 = (byte[])input.Clone();
                BinaryPrimitives.WriteInt64LittleEndian(
                    long64.AsSpan(random.Next(4) == 0 ? at : 0), Hostile.Long(random));
                return long64;
            case 8: // not UTF-8
                return [.. input[..at], .. Hostile.NotUtf8(random), .. input[at..]];
            default: // a byte order mark, or nothing at all
                return random.Next(2) == 0
                    ? [0xEF, 0xBB, 0xBF, .. input]
                    : random.Next(8) == 0
                    ? []
                    : [.. input, .. input[at..]];
        }
    }
}

/// <summary>
/// Changes what a text of JSON or YAML says: numbers, texts, values, members, lines. The text is only cut into words,
/// never parsed, so that a text that is broken already can be changed further.
/// </summary>
internal static class TextMutator
{
    private enum Kind
    {
        Number,
        Text,
        Word,
        Blank,
        Mark,
    }

    /// <summary>One change.</summary>
    public static byte[] Change(byte[] text, Random random)
    {
        var words = WordsOf(text);
        if (words.Count == 0)
            return Encoding.UTF8.GetBytes(Hostile.Value(random));
        switch (random.Next(12))
        {
            case 0 or 1:
                return ReplaceOne(text, words, Kind.Number, () => Hostile.Number(random), random);
            case 2:
                return ReplaceOne(text, words, Kind.Text, () => '"' + Hostile.Text(random) + '"', random);
            case 3:
                return ReplaceOne(
                    text, words, Kind.Word, () => random.Next(2) == 0 ? Hostile.Value(random) : Hostile.Text(random),
                    random);
            case 4: // one word for another of the same text
                var (from, to) = (words[random.Next(words.Count)], words[random.Next(words.Count)]);
                return Replace(text, to.Start, to.End, text[from.Start..from.End]);
            case 5: // a word twice or not at all
                var word = words[random.Next(words.Count)];
                return random.Next(2) == 0
                    ? Replace(text, word.Start, word.End, [])
                    : Replace(text, word.End, word.End, text[word.Start..word.End]);
            case 6 or 7:
                return ChangeMember(text, words, random);
            case 8 or 9:
                return ChangeLines(text, random);
            case 10: // a value into brackets
                var inner = words[random.Next(words.Count)];
                return Replace(
                    text, inner.Start, inner.End,
                    Bytes(Hostile.Nested(Encoding.UTF8.GetString(text[inner.Start..inner.End]), random)));
            default:
                var at = words[random.Next(words.Count)].Start;
                return Replace(text, at, at, Bytes(Hostile.Value(random)));
        }
    }

    private static byte[] ReplaceOne(byte[] text, List<Piece> words, Kind kind, Func<string> by, Random random)
    {
        var fitting = words.FindAll(word => word.Kind == kind);
        if (fitting.Count == 0)
            return Replace(text, 0, 0, Bytes(by()));
        var word = fitting[random.Next(fitting.Count)];
        return Replace(text, word.Start, word.End, Bytes(by()));
    }

    // "key": value, up to the comma or bracket that ends it.
    private static byte[] ChangeMember(byte[] text, List<Piece> words, Random random)
    {
        var keys = Enumerable.Range(0, words.Count).Where(i => IsKey(text, words, i)).ToList();
        if (keys.Count == 0)
            return ChangeLines(text, random);
        var key = keys[random.Next(keys.Count)];
        var valueStart = words.FindIndex(key, word => text[word.Start] == ':') + 1;
        var depth = 0;
        var end = valueStart;
        while (end < words.Count)
        {
            var mark = text[words[end].Start];
            if (words[end].Kind == Kind.Mark && depth == 0 && mark is (byte)',' or (byte)'}' or (byte)']' or (byte)'\n')
                break;
            depth += mark switch { (byte)'{' or (byte)'[' => 1, (byte)'}' or (byte)']' => -1, _ => 0 };
            end++;
        }

        var (start, valueAt) = (words[key].Start, valueStart < words.Count ? words[valueStart].Start : text.Length);
        var stop = end < words.Count ? words[end].Start : text.Length;
        var member = text[start..stop];
        return random.Next(6) switch
        {
            0 => Replace(text, stop, stop, [(byte)',', .. member]), // the key twice
            1 => Replace(text, start, stop, []),
            2 => Replace(text, valueAt, stop, Bytes(Hostile.Value(random))),
            3 => Replace(text, words[key].Start, words[key].End, Bytes('"' + Hostile.Text(random) + '"')),
            4 => Replace(text, stop, stop, Bytes(Many(random))),
            _ => Replace(
                text, valueAt, stop, text[words[keys[random.Next(1 + keys.IndexOf(key))]].Start..stop]), // into itself
        };
    }

    // Many members more.
    private static string Many(Random random) => string.Concat(
        Enumerable.Range(0, 1 + random.Next(random.Next(6) == 0 ? 3000 : 20)).Select(i => $",\"k{i}\":{i}"));

    private static bool IsKey(byte[] text, List<Piece> words, int at) =>
        words[at].Kind is Kind.Text or Kind.Word
        && words.Skip(at + 1).FirstOrDefault(word => word.Kind != Kind.Blank) is { End: > 0 } next
            && text[next.Start] == ':';

    private static byte[] ChangeLines(byte[] text, Random random)
    {
        var lines = Encoding.Latin1.GetString(text).Split('\n').ToList();
        var (at, other) = (random.Next(lines.Count), random.Next(lines.Count));
        switch (random.Next(6))
        {
            case 0:
                lines.RemoveAt(at);
                break;
            case 1:
                lines.Insert(other, lines[at]);
                break;
            case 2:
                (lines[at], lines[other]) = (lines[other], lines[at]);
                break;
            case 3:
                lines[at] = new string(random.Next(8) == 0 ? '\t' : ' ', random.Next(6)) + lines[at];
                break;
            case 4:
                lines[at] = lines[at].TrimStart();
                break;
            default:
                string[] marks = [
                    "---", "...", "%YAML 9.9", "&a [*a, *a]", "!!binary x", "? [a]", "<<: *a", "- ", "|+1", "> x", "'",
                    "# \u0085"];
                lines.Insert(at, marks[random.Next(marks.Length)]);
                break;
        }

        return Encoding.Latin1.GetBytes(string.Join('\n', lines));
    }

    private static byte[] Replace(byte[] text, int start, int end, byte[] by) =>
        [.. text[..start], .. by, .. text[end..]];

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static List<Piece> WordsOf(byte[] text)
    {
        var words = new List<Piece>();
        for (var at = 0; at < text.Length;)
        {
            var end = at + 1;
            var kind = KindOf(text[at]);
            if (kind == Kind.Text)
            {
                while (end < text.Length && text[end] != (byte)'"')
                    end += text[end] == (byte)'\\' ? 2 : 1;
                end = Math.Min(end + 1, text.Length);
            }
            else if (kind != Kind.Mark)
            {
                while (end < text.Length
                    && (KindOf(text[end]) == kind || kind == Kind.Word && KindOf(text[end]) == Kind.Number))
                    end++;
            }

            words.Add(new Piece(kind, at, end));
            at = end;
        }

        return words;
    }

    private static Kind KindOf(byte value) => value switch
    {
        (byte)'"' => Kind.Text,
        (byte)' ' or (byte)'\r' or (byte)'\t' => Kind.Blank,
        >= (byte)'0' and <= (byte)'9' or (byte)'-' or (byte)'.' => Kind.Number,
        >= (byte)'a' and <= (byte)'z' or >= (byte)'A' and <= (byte)'Z' or (byte)'_' or >= 0x80 => Kind.Word,
        _ => Kind.Mark,
    };

    private readonly record struct Piece(Kind Kind, int Start, int End);
}

/// <summary>Values that readers have stumbled over somewhere.</summary>
internal static class Hostile
{
    private static readonly string[] Numbers =
    [
        "0", "-1", "1", "-0", "2147483647", "2147483648", "-2147483649", "4294967296", "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808", "1152921504606846976", "18446744073709551616", "1e999", "-1e999", "1e308", "5e-324",
        "0.0", "1.5", "1e3", "8.0",
        "NaN", "Infinity", ".inf", "0x7f", "1_000", "16777215", "16777216", "1048575", "65536", "255", "1e-400",
        "999999999999999999999999999999",
    ];

    private static readonly string[] Texts =
    [
        "", " ", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/../../b", "a\\u0000b", "\\ud800", "\\udc00x",
        "\\u0000", "\\u001b[2J",
        "\\n", "\\\\", "\\\"", "\\x", "\\u12", "null", "true", "~", "-1", "[]", "{}", "{", "}", "{{", "}}", "{a",
        "{a}{b}", "(", ")", "[", "a{1000}",
        "(a+)+$", "(?:(?:a*)*)*b", "(?P<n>x)", "(?<n>x)\\\\k<n>", ".*", "\\\\p{L}+", "\\\\p{Foo}", "\\\\x{110000}",
        "\\\\", "[[:alpha:]]", "(?#", "(?x) #",
        "\\\\K", "*", "a**", "(?i", "x{99999999}", "x{99999999999}", "\\u2581", "<0x41>", "<0xZZ>", "\\u0120",
        "all-linear", "LORA", "BPE", "Unigram",
        "Sequence", "ByteLevel", "Regex", "String", "recipe.yaml", "base/frag.yaml", "model.safetensors", "F32",
        "F8_E4M3", "I4", "__metadata__",
        "{{ if }}", "{{ end }}", "{{~ else ~}}", "for x in ", "while true", "func f; f; end; f", " | raw", "@", "this",
        "..", " ?? ", "$x", "{%{", "}%}", "with ",
        "llama", "qwen3", "default", "yarn", "linear", "Ǻ", "\U0001F642", "e\\u0301",
    ];

    private static readonly byte[][] Broken =
    [
        [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x80], [0xE2, 0x82], [0xF0, 0x9F, 0x99], [
        0xFE, 0xFF], [0xFF, 0xFE, 0, 0], [0],
    ];

    /// <summary>A number as text.</summary>
    public static string Number(Random random) => random.Next(30) switch
    {
        0 => new string('9', 1 + random.Next(random.Next(4) == 0 ? 20_000 : 400)),
        1 => "0." + new string('0', random.Next(400)) + "1",
        2 => (1L << random.Next(63)).ToString(System.Globalization.CultureInfo.InvariantCulture),
        _ => Numbers[random.Next(Numbers.Length)],
    };

    /// <summary>A number in 8 bytes.</summary>
    public static long Long(Random random) => random.Next(4) switch
    {
        0 => (1L << random.Next(64)) - random.Next(2),
        1 => random.Next(1024),
        2 => -random.Next(1024),
        _ => random.NextInt64(long.MinValue, long.MaxValue),
    };

    /// <summary>What is between quotes.</summary>
    public static string Text(Random random) => random.Next(25) switch
    {
        0 => new string("a({[.*\\"[random.Next(7)], 1 + random.Next(random.Next(4) == 0 ? 50_000 : 300)),
        1 => string.Concat(Enumerable.Repeat(Texts[random.Next(Texts.Length)], 1 + random.Next(200))),
        2 => Texts[random.Next(Texts.Length)] + Texts[random.Next(Texts.Length)],
        _ => Texts[random.Next(Texts.Length)],
    };

    /// <summary>Bytes that no UTF-8 text has.</summary>
    public static byte[] NotUtf8(Random random) => Broken[random.Next(Broken.Length)];

    /// <summary>A whole value, of JSON and of YAML alike.</summary>
    public static string Value(Random random) => random.Next(8) switch
    {
        0 => "null",
        1 => random.Next(2) == 0 ? "true" : "false",
        2 => Number(random),
        3 => "[]",
        4 => "{}",
        5 => "{\"" + Text(random) + "\": " + Number(random) + "}",
        6 => Nested(Number(random), random),
        _ => "\"" + Text(random) + "\"",
    };

    /// <summary>A value inside many brackets.</summary>
    public static string Nested(string value, Random random)
    {
        var depth = random.Next(4) switch
        {
            0 => 70 + random.Next(5000),
            1 => 60 + random.Next(10),
            _ => 1 + random.Next(6)
        };
        var (open, close) = random.Next(2) == 0 ? ("[", "]") : ("{\"a\": ", "}");
        var text = new StringBuilder();
        for (var i = 0; i < depth; i++)
            text.Append(open);
        text.Append(value);
        // Sometimes the end is missing.
        for (var i = random.Next(6) == 0 ? random.Next(depth) : 0; i < depth; i++)
            text.Append(close);
        return text.ToString();
    }
}
