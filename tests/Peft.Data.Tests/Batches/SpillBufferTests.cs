using Peft.Data.Batches;
using Peft.Formats;

namespace Peft.Data.Tests.Batches;

public class SpillBufferTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(2 << 20)]
    [InlineData(1 << 30)]
    public void What_is_read_does_not_depend_on_where_it_lies(long budget)
    {
        using var folder = new TempFolder();
        using var buffer = new SpillBuffer(budget, folder.Path);
        var random = new Random(1);
        var written = new List<(long At, byte[] Bytes)>();
        for (var total = 0; total < 5 << 20;)
        {
            var bytes = new byte[random.Next(1, 300_000)];
            random.NextBytes(bytes);
            written.Add((buffer.Append(bytes), bytes));
            total += bytes.Length;
        }

        Assert.Equal(budget < 5 << 20, buffer.IsOnDisk);
        Assert.Empty(Directory.GetFileSystemEntries(folder.Path)); // the file has no name
        foreach (var (at, bytes) in written)
        {
            var read = new byte[bytes.Length];
            buffer.Read(at, read);
            Assert.True(bytes.AsSpan().SequenceEqual(read));
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Read(buffer.Length, new byte[1]));
    }

    [Fact]
    public void A_folder_that_cannot_hold_the_file_is_told()
    {
        using var folder = new TempFolder();
        folder.Write("file", "");
        using var buffer = new SpillBuffer(0, folder["file/below"]);
        var error = Assert.Throws<UserException>(() => buffer.Append(new byte[1 << 20]));
        Assert.StartsWith($"{folder["file/below"]}: cannot hold the tokens: ", error.Message);
        Assert.EndsWith("set `data.spill_directory`, or raise `data.memory_budget_mb`.", error.Message);
    }
}
