using System.Globalization;

namespace Peft.Formats.Tokenizers;

/// <summary>
/// Decompositions, compositions and combining classes. .NET's own <c>string.Normalize</c> needs ICU and does nothing
/// under InvariantGlobalization, so the data comes with us (normalization.txt).
/// </summary>
internal sealed class NormalizationData
{
    private readonly Dictionary<int, int[]> _canonical = [];
    private readonly Dictionary<int, int[]> _compatible = [];
    private readonly Dictionary<int, byte> _classes = [];
    private readonly Dictionary<long, int> _compositions = [];
    private readonly HashSet<int> _excluded = [];
    private readonly HashSet<int> _seconds = [];
    private readonly HashSet<int> _marks = [];
    private readonly HashSet<int> _punctuation = [];

    private NormalizationData()
    {
        using var stream = typeof(NormalizationData).Assembly.GetManifestResourceStream("Tokenizers.normalization.txt")
            ?? throw new InvalidOperationException("the resource normalization.txt is missing from this build");
        using var reader = new StreamReader(stream);
        var section = "";
        while (reader.ReadLine() is { } line)
        {
            if (line[0] == '[')
                section = line[1..line.IndexOf(']', StringComparison.Ordinal)];
            else if (line[0] != '#')
                ReadEntries(section, line);
        }

        foreach (var (composed, parts) in _canonical)
        {
            if (parts.Length != 2 || _excluded.Contains(composed))
                continue;
            _compositions[PairOf(parts[0], parts[1])] = composed;
            _seconds.Add(parts[1]);
        }

        // Full decompositions, after the one-step pairs have given the compositions.
        foreach (var codePoint in _compatible.Keys.Concat(_canonical.Keys).ToArray())
            _compatible[codePoint] = Expand(codePoint, compatible: true);
        foreach (var codePoint in _canonical.Keys.ToArray())
            _canonical[codePoint] = Expand(codePoint, compatible: false);
    }

    public static NormalizationData Shared { get; } = new();

    public byte ClassOf(int codePoint) =>
        codePoint < 0x300 ? (byte)0 : _classes.GetValueOrDefault(codePoint);

    public bool IsMark(int codePoint) => _marks.Contains(codePoint);

    public bool IsPunctuation(int codePoint) => _punctuation.Contains(codePoint);

    /// <summary>
    /// The full decomposition, or null where the code point has none. Not for Hangul syllables.
    /// </summary>
    public int[]? Decomposition(int codePoint, bool compatible) =>
        codePoint < 0xA0 ? null : (compatible ? _compatible : _canonical).GetValueOrDefault(codePoint);

    /// <summary>The code point that the two compose to, or -1. Not for Hangul.</summary>
    public int Compose(int first, int second) =>
        _compositions.TryGetValue(PairOf(first, second), out var composed) ? composed : -1;

    /// <summary>Whether the code point may join the one before it.</summary>
    public bool CanBeSecond(int codePoint) =>
        _seconds.Contains(codePoint) || codePoint is (>= 0x1161 and <= 0x1175) or (>= 0x11A8 and <= 0x11C2);

    private void ReadEntries(string section, string line)
    {
        foreach (var entry in line.Split(';'))
        {
            var sides = entry.Split('=');
            switch (section)
            {
                case "canonical":
                    _canonical[Hex(sides[0])] = Array.ConvertAll(sides[1].Split(' '), Hex);
                    break;
                case "compatibility":
                    _compatible[Hex(sides[0])] = Array.ConvertAll(sides[1].Split(' '), Hex);
                    break;
                case "excluded":
                    _excluded.Add(Hex(entry));
                    break;
                case "marks":
                    _marks.UnionWith(RangeOf(entry));
                    break;
                case "punctuation":
                    _punctuation.UnionWith(RangeOf(entry));
                    break;
                default:
                    foreach (var codePoint in RangeOf(sides[0]))
                        _classes[codePoint] = (byte)Hex(sides[1]);
                    break;
            }
        }
    }

    private int[] Expand(int codePoint, bool compatible)
    {
        if (!(compatible && _compatible.TryGetValue(codePoint, out var parts))
            && !_canonical.TryGetValue(codePoint, out parts))
            return [codePoint];
        return [.. parts.SelectMany(part => Expand(part, compatible))];
    }

    private static IEnumerable<int> RangeOf(string text)
    {
        var ends = Array.ConvertAll(text.Split(','), Hex);
        return Enumerable.Range(ends[0], ends[1] - ends[0] + 1);
    }

    private static long PairOf(int first, int second) => ((long)first << 32) | (uint)second;

    private static int Hex(string digits) => int.Parse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
