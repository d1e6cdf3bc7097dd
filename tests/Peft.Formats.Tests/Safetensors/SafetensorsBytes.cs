using System.Buffers.Binary;
using System.Text;

namespace Peft.Formats.Tests.Safetensors;

/// <summary>Files made by hand, right or wrong.</summary>
internal static class SafetensorsBytes
{
    public static byte[] Of(string header, int dataLength) => Of((ulong)Encoding.UTF8.GetByteCount(header), header, dataLength);

    public static byte[] Of(ulong length, string header, int dataLength)
    {
        var first = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(first, length);
        return [.. first, .. Encoding.UTF8.GetBytes(header), .. new byte[dataLength]];
    }

    public static string Entry(string name, string dtype, string shape, string offsets) =>
        $"\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}";
}
