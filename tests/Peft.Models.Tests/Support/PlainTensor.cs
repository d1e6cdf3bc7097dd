using System.Runtime.InteropServices;
using Peft.Formats.Safetensors;

namespace Peft.Models.Tests.Support;

/// <summary>A tensor as plain numbers, written and read without Torch.</summary>
public sealed record PlainTensor(long[] Shape, float[] Data)
{
    public static IReadOnlyDictionary<string, PlainTensor> ReadAll(string path)
    {
        var file = SafetensorsFile.Open(path);
        return file.Entries.Values
            .Where(entry => entry.Dtype == SafetensorsDtype.F32)
            .ToDictionary(entry => entry.Name, entry => new PlainTensor(
                [.. entry.Shape], MemoryMarshal.Cast<byte, float>(file.ReadBytes(entry.Name)).ToArray()));
    }

    public static long[] ReadLongs(string path, string name) =>
        MemoryMarshal.Cast<byte, long>(SafetensorsFile.Open(path).ReadBytes(name)).ToArray();

    public static void WriteAll(string path, IEnumerable<KeyValuePair<string, PlainTensor>> tensors) =>
        SafetensorsWriter.WriteFile(path, [.. tensors.Select(item => new SafetensorsWrite(
            item.Key, SafetensorsDtype.F32, item.Value.Shape,
            stream => stream.Write(MemoryMarshal.AsBytes(item.Value.Data.AsSpan()))))]);
}
