using System.Text;

namespace Peft.Fuzz.Tests;

/// <summary>Values that readers have stumbled over somewhere.</summary>
internal static class Hostile
{
    private static readonly string[] Numbers =
    [
        "0", "-1", "1", "-0", "2147483647", "2147483648", "-2147483649", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775808", "1152921504606846976", "18446744073709551616", "1e999", "-1e999", "1e308", "5e-324", "0.0", "1.5", "1e3", "8.0",
        "NaN", "Infinity", ".inf", "0x7f", "1_000", "16777215", "16777216", "1048575", "65536", "255", "1e-400", "999999999999999999999999999999",
    ];

    private static readonly string[] Texts =
    [
        "", " ", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/../../b", "a\\u0000b", "\\ud800", "\\udc00x", "\\u0000", "\\u001b[2J",
        "\\n", "\\\\", "\\\"", "\\x", "\\u12", "null", "true", "~", "-1", "[]", "{}", "{", "}", "{{", "}}", "{a", "{a}{b}", "(", ")", "[", "a{1000}",
        "(a+)+$", "(?:(?:a*)*)*b", "(?P<n>x)", "(?<n>x)\\\\k<n>", ".*", "\\\\p{L}+", "\\\\p{Foo}", "\\\\x{110000}", "\\\\", "[[:alpha:]]", "(?#", "(?x) #",
        "\\\\K", "*", "a**", "(?i", "x{99999999}", "x{99999999999}", "\\u2581", "<0x41>", "<0xZZ>", "\\u0120", "all-linear", "LORA", "BPE", "Unigram",
        "Sequence", "ByteLevel", "Regex", "String", "recipe.yaml", "base/frag.yaml", "model.safetensors", "F32", "F8_E4M3", "I4", "__metadata__",
        "{{ if }}", "{{ end }}", "{{~ else ~}}", "for x in ", "while true", "func f; f; end; f", " | raw", "@", "this", "..", " ?? ", "$x", "{%{", "}%}", "with ",
        "llama", "qwen3", "default", "yarn", "linear", "Ǻ", "\U0001F642", "e\\u0301",
    ];

    private static readonly byte[][] Broken =
    [
        [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x80], [0xE2, 0x82], [0xF0, 0x9F, 0x99], [0xFE, 0xFF], [0xFF, 0xFE, 0, 0], [0],
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

    /// <summary>What stands between quotes.</summary>
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
        var depth = random.Next(4) switch { 0 => 70 + random.Next(5000), 1 => 60 + random.Next(10), _ => 1 + random.Next(6) };
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
