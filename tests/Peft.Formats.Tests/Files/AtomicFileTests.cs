using Peft.Formats.Files;

namespace Peft.Formats.Tests.Files;

public sealed class AtomicFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_file_is_written_over_the_old_one_and_nothing_is_left_beside_it()
    {
        var path = _folder.At("new", "folder", "a.txt");
        AtomicFile.WriteText(path, "one");
        AtomicFile.WriteText(path, "zwei ß");
        Assert.Equal("zwei ß"u8.ToArray(), File.ReadAllBytes(path));
        Assert.Single(Directory.GetFileSystemEntries(_folder.At("new", "folder")));
    }

    [Fact]
    public void While_writing_the_old_content_is_found()
    {
        var path = _folder.Put("a.txt", "old");
        AtomicFile.Write(path, stream =>
        {
            stream.WriteByte((byte)'n');
            Assert.Equal("old", File.ReadAllText(path));
        });
        Assert.Equal("n", File.ReadAllText(path));
    }

    [Fact]
    public void A_writer_that_fails_leaves_the_old_content_and_no_temporary_file()
    {
        var path = _folder.Put("a.txt", "old");
        Assert.Throws<InvalidOperationException>(
            () => AtomicFile.Write(path, _ => throw new InvalidOperationException("ours")));
        Assert.Equal("old", File.ReadAllText(path));
        Assert.Single(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void A_full_disk_is_told_and_the_temporary_file_removed()
    {
        var message = _folder.Message<FileOperationException>(() => AtomicFile.Write(_folder.At("a.bin"), _ =>
        {
            // The kernel's own full disk.
            using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
            full.WriteByte(1);
        }));
        Assert.Equal("DIR/a.bin: the disk is full. Free some space or choose another output.", message);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void What_a_killed_process_of_the_same_number_left_is_no_obstacle()
    {
        var first = "";
        AtomicFile.Write(_folder.At("a.txt"), stream => first = ((FileStream)stream).Name);
        var mark = first.LastIndexOf('-') + 1;
        // Other tests count on meanwhile.
        foreach (var next in Enumerable.Range(int.Parse(first[mark..]) + 1, 200))
            File.WriteAllText(first[..mark] + next, "half");
        AtomicFile.WriteText(_folder.At("a.txt"), "whole");
        Assert.Equal("whole", File.ReadAllText(_folder.At("a.txt")));
    }

    [Fact]
    public void Other_errors_of_the_system_are_told_with_the_path()
    {
        string MessageOf(Exception error) =>
            _folder.Message<FileOperationException>(() => AtomicFile.Write(_folder.At("a.bin"), _ => throw error));

        Assert.Equal(
            "DIR/a.bin: no permission to write. Change its permissions or choose another output.",
            MessageOf(new UnauthorizedAccessException()));
        Assert.Equal(
            "DIR/a.bin: your disk quota is used up. Free some space or choose another output.",
            MessageOf(new IOException("x", 122)));
        Assert.Equal(
            "DIR/a.bin: the file system is read-only. Choose another output.",
            MessageOf(new IOException("x", 30)));
        Assert.Equal(
            "DIR/a.bin: cannot be written: Odd thing happened.",
            MessageOf(new IOException("Odd thing happened.")));
    }

    [Fact]
    public void A_directory_is_not_replaced_by_a_file()
    {
        Directory.CreateDirectory(_folder.At("d"));
        Assert.Equal(
            "DIR/d: is a directory, not a file. Choose another name.",
            _folder.Message<FileOperationException>(() => AtomicFile.WriteText(_folder.At("d"), "x")));
    }

    [Fact]
    public void A_file_in_the_way_of_a_folder_is_told()
    {
        _folder.Put("f", "x");
        Assert.Throws<FileOperationException>(() => AtomicFile.WriteText(_folder.At("f", "a.txt"), "x"));
    }

    [Fact]
    public void Errors_of_reading_are_told_with_the_path()
    {
        Assert.Equal(
            "x: no permission to read. Change its permissions.",
            FileOperationException.Reading("x", new UnauthorizedAccessException()).Message);
        Assert.Equal(
            "x: cannot be read: Odd.", FileOperationException.Reading("x", new IOException("Odd.")).Message);
    }

    [Fact]
    public void Hashes_are_those_of_the_standard()
    {
        const string Abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        Assert.Equal(Abc, Sha256.OfBytes("abc"u8));
        Assert.Equal(Abc, Sha256.OfFile(_folder.Put("abc", "abc")));
        Assert.Throws<FileOperationException>(() => Sha256.OfFile(_folder.At("none")));
    }
}
