using System.Text;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;

namespace Peft.Formats.Tests.Safetensors;

public sealed class SafetensorsWriterTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private static SafetensorsWrite Tensor(string name, SafetensorsDtype dtype, long[] shape, params byte[] bytes) =>
        new(name, dtype, shape, stream => stream.Write(bytes));

    private static byte[] Bytes(
        IReadOnlyList<SafetensorsWrite> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        using var stream = new MemoryStream();
        SafetensorsWriter.Write(stream, tensors, metadata);
        return stream.ToArray();
    }

    [Fact]
    public void The_same_tensors_give_the_same_bytes_whatever_their_order()
    {
        var a = Tensor("a", SafetensorsDtype.U8, [3], 1, 2, 3);
        var b = Tensor("b", SafetensorsDtype.F16, [1], 4, 5);
        var c = Tensor("é", SafetensorsDtype.I64, [], 1, 0, 0, 0, 0, 0, 0, 0);
        var metadata = new Dictionary<string, string> { ["z"] = "1", ["format"] = "pt" };
        var bytes = Bytes([a, b, c], metadata);

        Assert.Equal(bytes, Bytes([c, b, a], new Dictionary<string, string>(metadata.Reverse())));
        var expected = "{\"__metadata__\":{\"format\":\"pt\",\"z\":\"1\"},"
            + "\"é\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
            + "\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[8,10]},"
            + "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[10,13]}}";
        var length = BitConverter.ToInt64(bytes);
        Assert.Equal(0, length % 8);
        Assert.Equal(expected, Encoding.UTF8.GetString(bytes, 8, (int)length).TrimEnd(' '));
        Assert.Equal(new byte[] { 1, 0, 0, 0, 0, 0, 0, 0, 4, 5, 1, 2, 3 }, bytes[^13..]);
    }

    [Fact]
    public void What_is_written_reads_back()
    {
        var path = _folder.At("out", "m.safetensors");
        SafetensorsWriter.WriteFile(
            path,
            [Tensor("w", SafetensorsDtype.F32, [1, 2], 1, 2, 3, 4, 5, 6, 7, 8), Tensor(
                "none", SafetensorsDtype.F32, [0])],
            new Dictionary<string, string> { ["format"] = "pt" });
        var file = SafetensorsFile.Open(path);
        Assert.Equal(new byte[] { 1, 2, 3, 4, 5, 6, 7, 8 }, file.ReadBytes("w"));
        Assert.Equal([1L, 2L], file.Entries["w"].Shape);
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Single(Directory.GetFiles(_folder.At("out")));
    }

    [Fact]
    public void A_caller_that_breaks_the_contract_is_told()
    {
        var few = Tensor("w", SafetensorsDtype.F32, [1], 1, 2);
        var many = Tensor("w", SafetensorsDtype.U8, [1], 1, 2);
        Assert.Equal(
            "tensor 'w' wrote 2 of its 4 bytes", Assert.Throws<InvalidOperationException>(() => Bytes([few])).Message);
        Assert.Equal(
            "tensor 'w' wrote more than its 1 bytes",
            Assert.Throws<InvalidOperationException>(() => Bytes([many])).Message);
        Assert.Equal("two tensors are called 'w'", Assert.Throws<ArgumentException>(() => Bytes([few, few])).Message);
        Assert.Equal(
            "tensor 'w' has the impossible shape [-1]",
            Assert.Throws<ArgumentException>(() => Bytes([Tensor("w", SafetensorsDtype.U8, [-1])])).Message);
    }

    [Fact]
    public void A_tensor_that_fails_leaves_no_file()
    {
        var path = _folder.At("m.safetensors");
        var broken = new SafetensorsWrite("w", SafetensorsDtype.U8, [1], _ => throw new IOException("x", 28));
        Assert.Throws<FileOperationException>(() => SafetensorsWriter.WriteFile(path, [broken]));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [SharedFact]
    public void A_file_of_the_reference_writer_is_reproduced_byte_for_byte()
    {
        var path = SharedAssets.Path("vectors", "models", "llama-gqa", "adapter", "adapter_model.safetensors");
        var file = SafetensorsFile.Open(path);
        var tensors = file.Entries.Values
            .Select(entry =>
                new SafetensorsWrite(
                    entry.Name, entry.Dtype, entry.Shape, stream => stream.Write(file.ReadBytes(entry.Name))))
            .ToList();
        Assert.Equal(File.ReadAllBytes(path), Bytes(tensors, file.Metadata));
    }
}
