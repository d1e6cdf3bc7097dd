using System.Buffers.Binary;
using System.Text;
using Peft.Formats.Files;
using Peft.Formats.Safetensors;
using static Peft.Formats.Tests.Safetensors.SafetensorsBytes;

namespace Peft.Formats.Tests.Safetensors;

public sealed class SafetensorsFileTests : IDisposable
{
    private const string Again = "Copy or download the file again.";
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    private string MessageOf(byte[] file)
    {
        _folder.Put("m.safetensors", file);
        return _folder.Message<UserException>(() => SafetensorsFile.Open(_folder.At("m.safetensors")));
    }

    private string MessageOf(string header, int dataLength = 0) => MessageOf(Of(header, dataLength));

    [Fact]
    public void A_file_is_read_with_metadata_places_and_bytes()
    {
        var header = "{\"__metadata__\":{\"format\":\"pt\"},"
            + Entry("b", "I64", "[]", "[6,14]") + "," + Entry("a", "BF16", "[3,1]", "[0,6]") + ","
            + Entry("none", "F32", "[0,4]", "[6,6]") + "}   ";
        var bytes = Of(header, 14);
        bytes[^1] = 7;
        var file = SafetensorsFile.Open(_folder.Put("m.safetensors", bytes));

        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal(3, file.Entries.Count);
        var b = file.Entries["b"];
        Assert.Equal((SafetensorsDtype.I64, 0, bytes.Length - 8L, 8L), (b.Dtype, b.Shape.Count, b.Offset, b.ByteCount));
        Assert.Equal([3L, 1L], file.Entries["a"].Shape);
        Assert.Equal(new byte[] { 0, 0, 0, 0, 0, 0, 0, 7 }, file.ReadBytes("b"));
        Assert.Empty(file.ReadBytes("none"));
    }

    [Fact]
    public void A_file_without_tensors_is_fine() =>
        Assert.Empty(SafetensorsFile.Open(_folder.Put("m.safetensors", Of("{}", 0))).Entries);

    [Fact]
    public void The_frame_is_checked_before_memory_is_taken()
    {
        Assert.Equal("DIR/m.safetensors: is only 3 bytes long. " + Again, MessageOf([1, 2, 3]));
        Assert.Equal(
            "DIR/m.safetensors: a header of 18,446,744,073,709,551,615 bytes; expected at most 100,000,000 bytes. "
                + "This is not a safetensors file, or it is damaged.",
            MessageOf(Of(ulong.MaxValue, "{}", 0)));
        Assert.Equal(
            "DIR/m.safetensors: a header of 99,999,999 bytes in a file of 10. The file is truncated: copy or download "
                + "it again.",
            MessageOf(Of(99_999_999, "{}", 0)));
        Assert.Equal(
            "DIR/m.safetensors: is a Git LFS pointer, not the file itself. Fetch it with: git lfs pull.",
            MessageOf([.. "version https://git-lfs.example/spec/v1\noid sha256:00\nsize 1\n"u8]));
    }

    [Theory]
    [InlineData(" {}", "header: does not begin with '{'; expected a JSON object. ")]
    [InlineData("", "header: does not begin with '{'; expected a JSON object. ")]
    [InlineData("{\"a\":", "header: not valid JSON; expected a JSON object that describes each tensor. ")]
    [InlineData("{} x", "header: not valid JSON; expected a JSON object that describes each tensor. ")]
    [InlineData(
        "{\"a\":{\"b\":[[[[1]]]]}}", "tensor 'a': unknown key 'b'; expected dtype, shape and data_offsets only. ")]
    [InlineData("{\"\\ud800\":1}", "header: a text that is not valid UTF-8; expected JSON in UTF-8. ")]
    [InlineData("{\"a\":1}", "tensor 'a': not an object; expected an object with dtype, shape and data_offsets. ")]
    [InlineData("{\"a\":{}}", "tensor 'a': dtype is missing; expected dtype, shape and data_offsets. ")]
    [InlineData(
        "{\"a\":{\"dtype\":\"F32\"}}", "tensor 'a': shape is missing; expected dtype, shape and data_offsets. ")]
    [InlineData(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}",
        "tensor 'a': data_offsets is missing; expected dtype, shape and data_offsets. ")]
    [InlineData("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", "tensor 'a': dtype is given twice. ")]
    [InlineData("{\"a\":{\"shape\":3}}", "tensor 'a': shape is not a list; expected a list of whole numbers. ")]
    [InlineData(
        "{\"a\":{\"shape\":[-1]}}",
        "tensor 'a': shape holds something other than a size; expected whole numbers from 0 to 2^63 - 1. ")]
    [InlineData(
        "{\"a\":{\"shape\":[1.5]}}",
        "tensor 'a': shape holds something other than a size; expected whole numbers from 0 to 2^63 - 1. ")]
    [InlineData(
        "{\"a\":{\"shape\":[9223372036854775808]}}",
        "tensor 'a': shape holds something other than a size; expected whole numbers from 0 to 2^63 - 1. ")]
    [InlineData("{\"__metadata__\":3}", "__metadata__: not an object; expected an object of texts. ")]
    [InlineData("{\"__metadata__\":{\"k\":3}}", "__metadata__: the value of 'k' is not a text. ")]
    [InlineData("{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", "__metadata__: 'k' is given twice. ")]
    [InlineData("{\"__metadata__\":{},\"__metadata__\":{}}", "header: __metadata__ is given twice. ")]
    public void A_header_of_another_form_is_refused(string header, string message) =>
        Assert.Equal("DIR/m.safetensors, " + message + Again, MessageOf(header));

    [Theory]
    [InlineData("F32", "[2]", "[0,4]", 4, "tensor 'w': 4 bytes; expected 8 bytes for shape [2] of F32. " + Again)]
    [InlineData("F32", "[1]", "[4,0]", 4, "tensor 'w': data_offsets 4..0 end before they begin. " + Again)]
    [InlineData(
        "F32", "[2]", "[0,8]", 4,
        "tensor 'w': data_offsets 0..8; expected at most 4, the end of the file. The file is truncated: copy or "
            + "download the file again.")]
    [InlineData("F32", "[1]", "[0,4,8]", 8, "tensor 'w': 3 data offsets; expected two: begin and end. " + Again)]
    [InlineData("F32", "[1]", "[4,8]", 8, "tensor 'w': a gap of 4 bytes after the header. " + Again)]
    [InlineData("F32", "[1]", "[0,4]", 9, "data: 5 bytes after tensor 'w'; expected the end of the file. " + Again)]
    [InlineData(
        "F32", "[4611686018427387904,2]", "[0,0]", 0,
        "tensor 'w': shape [4611686018427387904, 2] is too large; expected fewer than 2^63 bytes. " + Again)]
    [InlineData(
        "U8", "[9223372036854775807,9223372036854775807,0]", "[0,0]", 0,
        "tensor 'w': shape [9223372036854775807, 9223372036854775807, 0] is too large; expected fewer than 2^63 bytes. "
        + Again)]
    [InlineData(
        "Q4", "[1]", "[0,4]", 4,
        "tensor 'w': dtype 'Q4'; expected BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, F8_E5M2 or "
            + "F8_E4M3. Convert the tensor to one of them.")]
    [InlineData(
        "1", "[1]", "[0,4]", 4,
        "tensor 'w': dtype '1'; expected BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64, F8_E5M2 or "
            + "F8_E4M3. Convert the tensor to one of them.")]
    public void A_tensor_that_does_not_fit_is_refused(
        string dtype, string shape, string offsets, int data, string message) =>
        Assert.Equal("DIR/m.safetensors, " + message, MessageOf("{" + Entry("w", dtype, shape, offsets) + "}", data));

    [Fact]
    public void Tensors_may_not_share_bytes_leave_gaps_or_share_names()
    {
        string With(string second) => "{" + Entry("a", "U8", "[4]", "[0,4]") + "," + second + "}";
        Assert.Equal(
            "DIR/m.safetensors, tensor 'b': overlaps tensor 'a'. " + Again,
            MessageOf(With(Entry("b", "U8", "[4]", "[2,6]")), 6));
        Assert.Equal(
            "DIR/m.safetensors, tensor 'b': a gap of 1 byte after tensor 'a'. " + Again,
            MessageOf(With(Entry("b", "U8", "[1]", "[5,6]")), 6));
        Assert.Equal(
            "DIR/m.safetensors, tensor 'a': the name is used twice. " + Again,
            MessageOf(With(Entry("a", "U8", "[1]", "[4,5]")), 5));
    }

    [Fact]
    public void A_shape_with_too_many_sizes_is_refused() => Assert.Equal(
        "DIR/m.safetensors, tensor 'w': shape has more than 64 sizes. " + Again,
        MessageOf("{" + Entry("w", "U8", $"[{string.Join(",", Enumerable.Repeat("1", 65))}]", "[0,1]") + "}", 1));

    [Fact]
    public void A_tensor_that_is_not_there_is_told_with_the_name_meant()
    {
        var file = SafetensorsFile.Open(
            _folder.Put("m.safetensors", Of("{" + Entry("lm_head.weight", "U8", "[1]", "[0,1]") + "}", 1)));
        Assert.Equal(
            "DIR/m.safetensors: no tensor 'lm_haed.weight' among its 1 tensor. Did you mean 'lm_head.weight'?",
            _folder.Message<UserException>(() => file.ReadBytes("lm_haed.weight")));
    }

    [Fact]
    public void A_tensor_larger_than_an_array_is_told()
    {
        var path = _folder.Put("m.safetensors", Of("{" + Entry("w", "U8", "[4294967296]", "[0,4294967296]") + "}", 0));
        using (var stream = File.OpenWrite(path))
            stream.SetLength(stream.Length + (1L << 32)); // sparse: takes no room
        Assert.Equal(
            "DIR/m.safetensors, tensor 'w': 4,294,967,296 bytes; expected at most 2,147,483,591 bytes in one array. "
                + "Map it into memory instead.",
            _folder.Message<UserException>(() => SafetensorsFile.Open(path).ReadBytes("w")));
    }

    [Fact]
    public void A_file_that_shrinks_after_opening_is_a_typed_error()
    {
        var path = _folder.Put("m.safetensors", Of("{" + Entry("w", "U8", "[8]", "[0,8]") + "}", 8));
        var file = SafetensorsFile.Open(path);
        using (var stream = File.OpenWrite(path))
            stream.SetLength(stream.Length - 1);
        Assert.Equal(
            "DIR/m.safetensors: cannot be read: the file has become shorter.",
            _folder.Message<FileOperationException>(() => file.ReadBytes("w")));
    }

    [Fact]
    public void A_missing_file_is_told() => Assert.Equal(
        "DIR/m.safetensors: no such file. Check the path.",
        _folder.Message<FileOperationException>(() => SafetensorsFile.Open(_folder.At("m.safetensors"))));

    [Fact]
    public void Random_damage_never_gives_an_untyped_error()
    {
        var random = new Random(5);
        var header = "{\"__metadata__\":{\"format\":\"pt\"}," + Entry("a", "F32", "[2,3]", "[0,24]") + ","
            + Entry("b", "BF16", "[2]", "[24,28]") + "}";
        var good = Of(header, 28);
        for (var round = 0; round < 1500; round++)
        {
            var bytes = (byte[])good.Clone();
            for (var change = random.Next(1, 4); change > 0; change--)
                bytes[random.Next(good.Length - 28)] = (byte)random.Next(256);
            var path = _folder.Put("m.safetensors", round % 4 == 0 ? bytes[..random.Next(bytes.Length)] : bytes);
            try
            {
                var file = SafetensorsFile.Open(path);
                Assert.All(file.Entries.Values, entry => Assert.True(entry.Offset + entry.ByteCount <= bytes.Length));
            }
            catch (UserException)
            {
            }
        }
    }

    [SharedTheory]
    [InlineData("vectors/models/llama-gqa/model.safetensors")]
    [InlineData("vectors/models/llama-gqa/adapter/adapter_model.safetensors")]
    [InlineData("vectors/models/gpt2/expected.safetensors")]
    [InlineData("models/stories260K/model.safetensors")]
    [InlineData("models/gpt-nano-sort/model.safetensors")]
    public void Files_of_the_reference_writer_open(string path)
    {
        var file = SafetensorsFile.Open(SharedAssets.Path(path.Split('/')));
        Assert.NotEmpty(file.Entries);
        var smallest = file.Entries.Values.MinBy(entry => entry.ByteCount)!;
        Assert.Equal(smallest.ByteCount, file.ReadBytes(smallest.Name).Length);
    }
}

/// <summary>Files made by hand, right or wrong.</summary>
internal static class SafetensorsBytes
{
    public static byte[] Of(string header, int dataLength) =>
        Of((ulong)Encoding.UTF8.GetByteCount(header), header, dataLength);

    public static byte[] Of(ulong length, string header, int dataLength)
    {
        var first = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(first, length);
        return [.. first, .. Encoding.UTF8.GetBytes(header), .. new byte[dataLength]];
    }

    public static string Entry(string name, string dtype, string shape, string offsets) =>
        $"\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}";
}
