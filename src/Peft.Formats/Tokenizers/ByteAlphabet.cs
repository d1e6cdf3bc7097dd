namespace Peft.Formats.Tokenizers;

/// <summary>
/// GPT-2's way to write any byte as a visible character: printable Latin-1 characters stand for themselves, the other
/// 68 bytes for U+0100 and on, in order.
/// </summary>
internal static class ByteAlphabet
{
    private static readonly char[] Characters = MakeCharacters();
    private static readonly short[] Bytes = MakeBytes();

    public static char CharacterOf(byte value) => Characters[value];

    /// <summary>The byte that a character represents, or -1.</summary>
    public static int ByteOf(char character) => character < Bytes.Length ? Bytes[character] : -1;

    /// <summary>All 256 characters by ascending code, which is the order of ids a trainer gives them.</summary>
    public static IEnumerable<char> InOrder => Characters.Order();

    private static char[] MakeCharacters()
    {
        var characters = new char[256];
        var extra = 0x100;
        for (var value = 0; value < 256; value++)
        {
            var printable = value is (>= '!' and <= '~') or (>= 0xA1 and <= 0xAC) or (>= 0xAE and <= 0xFF);
            characters[value] = (char)(printable ? value : extra++);
        }

        return characters;
    }

    private static short[] MakeBytes()
    {
        var bytes = new short[Characters.Max() + 1];
        Array.Fill(bytes, (short)-1);
        for (var value = 0; value < 256; value++)
            bytes[Characters[value]] = (short)value;
        return bytes;
    }
}
