using System.Buffers.Binary;
using System.Text;

namespace Peft.Torch.Natives;

/// <summary>As much of a shared library's file format as loading one safely takes.</summary>
internal static class ElfFile
{
    private const int HeaderSize = 64;
    private const int SectionSize = 64;
    private const int SymbolSize = 24;
    private const int RecordSize = 16;
    private const int MachineX64 = 62;
    private const uint DynamicSymbols = 11;
    private const uint VersionsNeeded = 0x6ffffffe;
    private const uint SymbolVersions = 0x6fffffff;
    private const ushort Weak = 2;

    /// <summary>What keeps a file from being loaded; null for a whole shared library of this kind of machine. The
    /// loader itself would map a cut file, and the process would end at the first page that is missing.</summary>
    internal static string? Fault(string path)
    {
        using var file = File.OpenRead(path);
        Span<byte> header = stackalloc byte[HeaderSize];
        var read = file.ReadAtLeast(header, HeaderSize, throwOnEndOfStream: false);
        if (read == 0) return "empty";
        if (!header.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F']))
            return "not a shared library";
        if (read < HeaderSize) return $"truncated to {read} bytes";
        if (header[4] != 2 || header[5] != 1 || U16(header, 18) != MachineX64)
            return "a library for another kind of machine than x86-64 (64-bit)";
        // The table of sections is the last thing in the file.
        var end = U64(header, 40) + ((ulong)U16(header, 58) * U16(header, 60));
        return end > (ulong)file.Length ? $"truncated to {file.Length:N0} of {end:N0} bytes" : null;
    }

    /// <summary>Makes a library load where another one lacks a version of symbols, by marking version and symbol as
    /// ones that may be missing. Right only for a symbol that nothing calls, so a file that asks for any other symbol
    /// of that version is refused.</summary>
    /// <param name="image">The library's bytes, changed in place.</param>
    /// <param name="version">The version that may be missing, such as <c>GLIBCXX_3.4.32</c>.</param>
    /// <param name="symbol">The one symbol of this version.</param>
    /// <returns>False when the library does not ask for this version: then nothing was changed.</returns>
    /// <exception cref="InvalidDataException">It asks for another symbol of this version, or is damaged.</exception>
    internal static bool Weaken(Span<byte> image, string version, string symbol)
    {
        try
        {
            var needed = FindSection(image, VersionsNeeded);
            if (needed.Size == 0) return false;
            var record = FindVersion(image, needed, Strings(image, needed), version);
            if (record < 0) return false;
            U16(image, record + 4, (ushort)(U16(image, record + 4) | Weak));
            WeakenSymbols(image, U16(image, record + 6), symbol);
            return true;
        }
        catch (Exception error)
            when (error is ArgumentOutOfRangeException or OverflowException or IndexOutOfRangeException)
        {
            throw new InvalidDataException("its tables point outside the file", error);
        }
    }

    private static void WeakenSymbols(Span<byte> image, ushort index, string symbol)
    {
        var symbols = FindSection(image, DynamicSymbols);
        var versions = FindSection(image, SymbolVersions);
        var names = Strings(image, symbols);
        for (var i = 0; i < symbols.Size / SymbolSize; i++)
        {
            if (U16(image, versions.Start + (2 * i)) != index) continue;
            var at = symbols.Start + (SymbolSize * i);
            var name = Text(image, names, U32(image, at));
            if (name != symbol) throw new InvalidDataException($"it also needs {name}");
            // The upper half of this byte is the binding.
            image[at + 4] = (byte)((image[at + 4] & 0x0f) | (Weak << 4));
        }
    }

    // The records are two chained lists: libraries, and the versions asked of each.
    private static int FindVersion(ReadOnlySpan<byte> image, Section needed, Section names, string version)
    {
        for (int library = needed.Start, next = -1; next != 0; library = checked(library + next))
        {
            var record = checked(library + (int)U32(image, library + 8));
            for (var k = 0; k < U16(image, library + 2); k++)
            {
                if (record + RecordSize > needed.Start + needed.Size)
                    throw new InvalidDataException("its tables point outside the file");
                if (Text(image, names, U32(image, record + 8)) == version) return record;
                record = checked(record + (int)U32(image, record + 12));
            }
            next = checked((int)U32(image, library + 12));
        }
        return -1;
    }

    private static Section FindSection(ReadOnlySpan<byte> image, uint type)
    {
        for (var i = 0; i < U16(image, 60); i++)
        {
            if (U32(image, SectionAt(image, i) + 4) == type) return ReadSection(image, i);
        }
        return default;
    }

    private static Section Strings(ReadOnlySpan<byte> image, Section section) => ReadSection(image, section.Link);

    private static Section ReadSection(ReadOnlySpan<byte> image, int index)
    {
        var at = SectionAt(image, index);
        var found = new Section(
            checked((int)U64(image, at + 24)), checked((int)U64(image, at + 32)), checked((int)U32(image, at + 40)));
        _ = image.Slice(found.Start, found.Size);
        return found;
    }

    private static int SectionAt(ReadOnlySpan<byte> image, int index) =>
        checked((int)U64(image, 40) + (SectionSize * index));

    private static string Text(ReadOnlySpan<byte> image, Section names, uint offset)
    {
        var text = image.Slice(names.Start, names.Size)[checked((int)offset)..];
        return Encoding.ASCII.GetString(text[..text.IndexOf((byte)0)]);
    }

    private static ushort U16(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt16LittleEndian(from[at..]);

    private static void U16(Span<byte> to, int at, ushort value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(to[at..], value);

    private static uint U32(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt32LittleEndian(from[at..]);

    private static ulong U64(ReadOnlySpan<byte> from, int at) => BinaryPrimitives.ReadUInt64LittleEndian(from[at..]);

    private readonly record struct Section(int Start, int Size, int Link);
}
