using System.Runtime.InteropServices;
using Peft.Torch.Interop;

namespace Peft.Torch.Tests.Tensors;

public sealed class FromFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("peft-torch-").FullName;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly long _mappedBefore = torch.MappedFileCount;

    public void Dispose()
    {
        _scope.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Tensors_of_one_file_share_one_mapping_that_ends_with_the_last()
    {
        var path = Write("a.bin", [1, 2, 3, 4, 5, 6]);
        var first = torch.from_file(path, 0, [2, 2], torch.float32);
        var second = torch.from_file(path, 8, [4], torch.float32);
        Assert.Equal(_mappedBefore + 1, torch.MappedFileCount);
        Assert.Equal(Address(first) + 8, Address(second));
        Assert.Equal([3f, 4, 5, 6], second.data<float>());
        first.Dispose();
        Assert.Equal(_mappedBefore + 1, torch.MappedFileCount);
        second.Dispose();
        Assert.Equal(_mappedBefore, torch.MappedFileCount);
    }

    [Fact]
    public void Views_keep_the_mapping_alive()
    {
        var tensor = torch.from_file(Write("a.bin", [1, 2, 3, 4]), 0, [2, 2], torch.float32);
        var view = tensor.t();
        tensor.Dispose();
        Assert.Equal([1f, 3, 2, 4], view.data<float>());
    }

    [Fact]
    public void Changing_the_tensor_does_not_change_the_file()
    {
        var path = Write("a.bin", [1, 2]);
        torch.from_file(path, 0, [2], torch.float32).add_(1);
        Assert.Equal([1f, 2], MemoryMarshal.Cast<byte, float>(File.ReadAllBytes(path)).ToArray());
    }

    [Fact]
    public void An_offset_that_does_not_suit_the_type_is_copied()
    {
        var path = Path.Combine(_folder, "odd.bin");
        File.WriteAllBytes(path, [9, .. MemoryMarshal.AsBytes<float>([1, 2])]);
        var tensor = torch.from_file(path, 1, [2], torch.float32);
        Assert.Equal([1f, 2], tensor.data<float>());
        Assert.Equal(_mappedBefore, torch.MappedFileCount);
    }

    [Fact]
    public void A_file_that_was_replaced_is_read_anew()
    {
        var path = Write("a.bin", [1, 2]);
        var before = torch.from_file(path, 0, [2], torch.float32);
        File.Move(Write("b.bin", [3, 4]), path, overwrite: true);
        var after = torch.from_file(path, 0, [2], torch.float32);
        Assert.Equal([1f, 2], before.data<float>());
        Assert.Equal([3f, 4], after.data<float>());
    }

    [Fact]
    public void A_file_too_short_is_refused_with_both_sizes()
    {
        var path = Write("a.bin", [1, 2]);
        var error = Assert.Throws<TorchException>(() => torch.from_file(path, 4, [2], torch.float32));
        Assert.Equal($"from_file: '{path}' has 8 bytes, elements at 4..12 were asked for", error.Message);
        Assert.Throws<TorchException>(() => torch.from_file(path, -4, [1], torch.float32));
        Assert.Throws<TorchException>(() => torch.from_file(path, 0, [1L << 62, 8], torch.float32));
    }

    [Fact]
    public void A_missing_file_is_refused_by_name()
    {
        var error = Assert.Throws<TorchException>(() => torch.from_file("/nowhere/a", 0, [1], torch.float32));
        Assert.Equal("from_file: cannot open '/nowhere/a': No such file or directory", error.Message);
        Assert.Throws<TorchException>(() => torch.from_file(_folder, 0, [1], torch.float32));
    }

    [Fact]
    public void An_empty_tensor_of_an_empty_file_is_fine()
    {
        Assert.Equal([0, 3], torch.from_file(Write("e.bin", []), 0, [0, 3], torch.float32).shape);
    }

    private static long Address(Tensor tensor)
    {
        NativeMethods.pt_tensor_address(tensor.Handle, out var address);
        return address;
    }

    private string Write(string name, float[] values)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllBytes(path, MemoryMarshal.AsBytes<float>(values).ToArray());
        return path;
    }
}
