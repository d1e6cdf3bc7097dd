using System.Buffers.Binary;

namespace Peft.Fuzz.Tests;

/// <summary>Makes an input out of valid ones: a few changes one after the other, of bytes or of what the text says.</summary>
internal static class Mutator
{
    private const int Longest = 1 << 17;
    private static readonly byte[] Telling = [0, 1, 0x7F, 0x80, 0xFF, 0xC0, 0xED, (byte)'"', (byte)'{', (byte)'[', (byte)'\\', (byte)'\n', (byte)':'];

    /// <summary>One mutated seed.</summary>
    public static byte[] Mutate(FuzzParser parser, Random random)
    {
        var seed = parser.Seeds[random.Next(parser.Seeds.Count)];
        var (start, end) = parser.TextOf is { } textOf && random.Next(4) > 0 ? textOf(seed) : (0, seed.Length);
        var text = seed[start..end];
        var changes = 1 + (random.Next(3) == 0 ? random.Next(8) : 0);
        for (var i = 0; i < changes && text.Length <= Longest; i++)
            text = random.Next(3) == 0 ? ChangeBytes(text, parser, random) : TextMutator.Change(text, random);
        byte[] input = [.. seed[..start], .. text, .. seed[end..]];
        return end - start < seed.Length ? parser.Mend(input, text.Length) : input;
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
                BinaryPrimitives.WriteInt64LittleEndian(long64.AsSpan(random.Next(4) == 0 ? at : 0), Hostile.Long(random));
                return long64;
            case 8: // not UTF-8
                return [.. input[..at], .. Hostile.NotUtf8(random), .. input[at..]];
            default: // a byte order mark, or nothing at all
                return random.Next(2) == 0 ? [0xEF, 0xBB, 0xBF, .. input] : random.Next(8) == 0 ? [] : [.. input, .. input[at..]];
        }
    }
}
