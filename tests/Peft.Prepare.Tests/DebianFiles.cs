using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Peft.Prepare.Tests;

/// <summary>Small files in the formats of the Debian packages.</summary>
internal static class DebianFiles
{
    /// <summary>A dictionary: gzip.</summary>
    public static byte[] Gzip(string text) => Gzip(Encoding.UTF8.GetBytes(text));

    /// <summary>The index and the data of a commentary: an empty block, then one for each text.</summary>
    public static (byte[] Index, byte[] Data) Blocks(params string[] texts)
    {
        var (index, data) = (new List<byte>(), new List<byte>());
        foreach (var text in texts.Prepend(""))
        {
            var block = text.Length == 0 ? [] : Zlib(Encoding.UTF8.GetBytes(text));
            index.AddRange([.. Little(data.Count), .. Little(block.Length), .. Little(text.Length)]);
            data.AddRange(block);
        }

        return ([.. index], [.. data]);
    }

    /// <summary>The index and the database of R for vectors of texts; null is a missing text.</summary>
    public static (byte[] Index, byte[] Database) RDatabase(params string?[][] vectors)
    {
        var (index, database) = ("X\n"u8.ToArray().ToList(), new List<byte>());
        foreach (var vector in vectors)
        {
            List<byte> data =
            [
                .. "X\n"u8, .. Big(3), .. Big(0x00040201), .. Big(0x00030500), .. Big(5), .. "UTF-8"u8, .. Big(16),
                .. Big(vector.Length),
            ];
            foreach (var text in vector)
                data.AddRange([.. Big(0x00040009), .. Big(text?.Length ?? -1), .. Encoding.UTF8.GetBytes(text ?? "")]);
            byte[] packed = [.. Big(data.Count), .. Zlib([.. data])];
            index.AddRange([.. Big(13), .. Big(2), .. Big(database.Count), .. Big(packed.Length)]);
            database.AddRange(packed);
        }

        return (Gzip([.. index]), [.. database]);
    }

    private static byte[] Gzip(byte[] bytes) => Packed(bytes, to => new GZipStream(to, CompressionLevel.Fastest));

    private static byte[] Zlib(byte[] bytes) => Packed(bytes, to => new ZLibStream(to, CompressionLevel.Fastest));

    private static byte[] Packed(byte[] bytes, Func<Stream, Stream> packer)
    {
        using var result = new MemoryStream();
        using (var stream = packer(result))
            stream.Write(bytes);
        return result.ToArray();
    }

    private static byte[] Little(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }

    private static byte[] Big(int value) => [.. Little(value).Reverse()];
}
