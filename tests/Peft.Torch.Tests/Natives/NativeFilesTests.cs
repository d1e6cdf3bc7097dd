namespace Peft.Torch.Tests.Natives;

/// <summary>Where the natives are looked for, and what is said of a file that cannot be loaded.</summary>
public sealed class NativeFilesTests : IDisposable
{
    private readonly TempNatives _temp = new();

    [Fact]
    public void The_files_are_found_in_the_nearest_folder_above_and_in_the_order_of_loading()
    {
        var deep = Directory.CreateDirectory(Path.Combine(_temp.Folder, "bin", "release")).FullName;
        var names = NativeFiles.Find(deep, null).Select(Path.GetFileName).ToList();
        Assert.StartsWith("libgomp", names[0], StringComparison.Ordinal);
        Assert.Equal(["libc10.so", "libtorch_cpu.so", "libtorch.so", "libLibTorchSharp.so"], names[1..]);
        var nearer = Directory.CreateDirectory(Path.Combine(deep, "natives")).FullName;
        Assert.Equal(nearer, NativeFiles.FindFolder(deep));
    }

    [Fact]
    public void A_program_without_natives_says_how_to_get_them()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeFiles.Find("/usr", null));
        Assert.Equal(
            "/usr: no folder 'natives' here or above; expected the one that the build makes, with links to libtorch. "
            + "Run make build (or dotnet build src/Peft.Torch).", error.Message);
    }

    [Fact]
    public void All_files_that_are_missing_or_damaged_are_named_at_once()
    {
        File.Delete(_temp["libc10.so"]);
        _temp.Replace("libtorch.so", "text"u8.ToArray());
        _temp.Replace(
            "libLibTorchSharp.so",
            File.ReadAllBytes(Path.Combine(TempNatives.Real, "libLibTorchSharp.so"))[..1_000_000]);
        File.Delete(_temp["libtorch_cpu.so"]);
        File.CreateSymbolicLink(_temp["libtorch_cpu.so"], "/nowhere/libtorch_cpu.so");
        var lines = Assert.Throws<NativeLibraryException>(() => NativeFiles.Find(_temp.Folder, null)).Message.Split(
            '\n');
        const string Remedy = ". Run make build (or dotnet build src/Peft.Torch).";
        Assert.Equal(
            [
                $"{_temp["libc10.so"]}: missing{Remedy}",
                $"{_temp["libtorch_cpu.so"]}: a link to /nowhere/libtorch_cpu.so, which does not exist "
                    + $"(the package cache was emptied or moved, or this user may not read it){Remedy}",
                $"{_temp["libtorch.so"]}: not a shared library{Remedy}",
                $"{_temp["libLibTorchSharp.so"]}: truncated to 1,000,000 of 2,399,008 bytes{Remedy}",
            ], lines);
    }

    [Theory]
    [InlineData(new byte[0], "empty")]
    [InlineData(new byte[] { 0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1 }, "truncated to 7 bytes")]
    [InlineData(new byte[] { (byte)'M', (byte)'Z', 0, 0 }, "not a shared library")]
    public void A_file_that_is_no_library_is_told(byte[] content, string fault)
    {
        _temp.Replace("libc10.so", content);
        Assert.Equal(fault, ElfFile.Fault(_temp["libc10.so"]));
    }

    [Theory]
    [InlineData(4, 1)] // 32 bits
    [InlineData(5, 2)] // big endian
    [InlineData(18, 183)] // ARM
    public void A_library_for_another_machine_is_told(int at, byte value)
    {
        var image = File.ReadAllBytes(Path.Combine(TempNatives.Real, "libtorch.so"));
        image[at] = value;
        _temp.Replace("libtorch.so", image);
        Assert.Equal("a library for another kind of machine than x86-64 (64-bit)", ElfFile.Fault(_temp["libtorch.so"]));
    }

    [Fact]
    public void A_missing_OpenMP_library_is_named_by_its_common_name()
    {
        File.Delete(Directory.GetFiles(_temp.Natives, "libgomp*")[0]);
        var error = Assert.Throws<NativeLibraryException>(() => NativeFiles.Find(_temp.Folder, ""));
        Assert.Contains("libgomp.so.1: missing. Run make build", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void LIBTORCH_replaces_libtorch_and_not_the_binding()
    {
        using var other = new TempNatives();
        File.Delete(Directory.GetFiles(other.Natives, "libgomp*")[0]); // another libtorch may keep it elsewhere
        var lib = Directory.CreateDirectory(Path.Combine(other.Folder, "lib")).FullName;
        foreach (var file in Directory.GetFiles(other.Natives))
            File.Move(file, Path.Combine(lib, Path.GetFileName(file)));
        foreach (var named in new[] { other.Folder, lib })
        {
            Assert.Equal(
                [Path.Combine(lib, "libc10.so"), Path.Combine(lib, "libtorch_cpu.so"), Path.Combine(lib, "libtorch.so"),
                _temp["libLibTorchSharp.so"]],
                NativeFiles.Find(_temp.Folder, named));
        }
    }

    [Fact]
    public void A_wrong_LIBTORCH_is_told_and_not_passed_over()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeFiles.Find(_temp.Folder, "/nonexistent"));
        Assert.Equal(
            "LIBTORCH: '/nonexistent' is not a folder; expected the folder of a libtorch 2.10 (or its lib/). "
            + "Correct LIBTORCH, or unset it to use the libtorch of the build.", error.Message);
        var empty = Directory.CreateDirectory(Path.Combine(_temp.Folder, "empty")).FullName;
        error = Assert.Throws<NativeLibraryException>(() => NativeFiles.Find(_temp.Folder, empty));
        Assert.StartsWith(
            $"{empty}/libc10.so: missing. Correct LIBTORCH, or unset it", error.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _temp.Dispose();
}
