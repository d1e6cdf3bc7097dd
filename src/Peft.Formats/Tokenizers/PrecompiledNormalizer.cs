using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace Peft.Formats.Tokenizers;

/// <summary>"Precompiled": the table of replacements that a sentencepiece model carries, as huggingface/tokenizers
/// applies it: whole grapheme clusters of up to five bytes first, then character by character.</summary>
/// <remarks>The table is a double array, in which a text's bytes lead to where its replacement begins, and the
/// replacements, each ended by a zero.</remarks>
internal sealed class PrecompiledNormalizer : INormalizer
{
    private const int LongestCluster = 5;

    private readonly uint[] _units;
    private readonly byte[] _replacements;

    private PrecompiledNormalizer(uint[] units, byte[] replacements) => (_units, _replacements) = (units, replacements);

    /// <summary>How many times as long a text can become.</summary>
    public double Growth { get; private init; }

    public SourceText Normalize(SourceText source)
    {
        var text = source.Text;
        var result = new SourceTextBuilder(source);
        var isChanged = false;
        for (var start = 0; start < text.Length;)
        {
            var end = start + StringInfo.GetNextTextElementLength(text.AsSpan(start));
            if (Encoding.UTF8.GetByteCount(text.AsSpan(start, end - start)) <= LongestCluster
                && Replacement(text.AsSpan(start, end - start)) is { } whole)
            {
                result.Add(whole, start, end);
                isChanged = true;
            }
            else
            {
                isChanged |= AddEach(result, text, start, end);
            }

            start = end;
        }

        return isChanged ? result.ToText() : source;
    }

    /// <summary>Reads the table in base 64.</summary>
    public static PrecompiledNormalizer Read(JsonPart part)
    {
        const string Expected = "the base-64 text of a double array and its replacements";
        var text = part.Text();
        var bytes = new byte[text.Length];
        if (!Convert.TryFromBase64String(text, bytes, out var count) || count < 4)
            throw part.Fault("not a table of replacements", Expected);
        var size = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if (size % 4 != 0 || size == 0 || size > count - 4)
            throw part.Fault($"a double array of {size} bytes in a table of {count}", Expected);
        var units = new uint[size / 4];
        for (var i = 0; i < units.Length; i++)
            units[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4 + (4 * i)));
        var replacements = bytes[(4 + (int)size)..count];
        if (!Utf8.IsValid(replacements))
            throw part.Fault("replacements that are not UTF-8", Expected);
        var longest = Encoding.UTF8.GetString(replacements).Split('\0').Max(made => made.Length);
        return new PrecompiledNormalizer(units, replacements) { Growth = Math.Max(1, longest) };
    }

    private bool AddEach(SourceTextBuilder result, string text, int start, int end)
    {
        var isChanged = false;
        while (start < end)
        {
            Rune.DecodeFromUtf16(text.AsSpan(start), out _, out var length);
            if (Replacement(text.AsSpan(start, length)) is { } made)
            {
                result.Add(made, start, start + length);
                isChanged = true;
            }
            else
            {
                result.Keep(start, start + length);
            }

            start += length;
        }

        return isChanged;
    }

    // Of the shortest beginning that the table knows, as in the original.
    private string? Replacement(ReadOnlySpan<char> text)
    {
        Span<byte> utf8 = stackalloc byte[16];
        var node = Offset(_units[0]);
        foreach (var value in utf8[..Encoding.UTF8.GetBytes(text, utf8)])
        {
            node ^= value;
            if (value == 0 || node >= _units.Length)
                return null;
            var unit = _units[node];
            if ((unit & 0x800000FF) != value)
                return null;
            node ^= Offset(unit);
            if ((unit & 0x100) != 0)
                return node < _units.Length ? At(_units[node] & 0x7FFFFFFF) : null;
        }

        return null;
    }

    private string? At(uint place)
    {
        if (place >= _replacements.Length)
            return null;
        var rest = _replacements.AsSpan((int)place);
        var end = rest.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? rest : rest[..end]);
    }

    private static uint Offset(uint unit) => (unit >> 10) << (int)((unit & 0x200) >> 6);
}
