using System.Security.Cryptography;
using System.Text;
using Peft.Formats;
using Peft.Prepare.Cache;

namespace Peft.Prepare.Tests.Cache;

public sealed class ParquetRowsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("peft-rows-");

    private string File => Path.Combine(_folder.FullName, "rows.parquet");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task Rows_are_read_back_as_they_were_written_over_several_groups()
    {
        string[] texts = ["", "caf\u00e9 \ud83d\ude00\n", "true"];
        string[][] rows =
            [.. Enumerable.Range(0, 25_001).Select(number => new[] { $"007.{number}", texts[number % texts.Length] })];
        await ParquetRows.Write(File, ["a", "b"], rows);
        var (columns, read) = await ParquetRows.Read(File);
        Assert.Equal(["a", "b"], columns);
        Assert.Equal(rows, read);
    }

    [Fact]
    public async Task A_file_may_hold_no_row()
    {
        await ParquetRows.Write(File, ["a"], []);
        var (columns, rows) = await ParquetRows.Read(File);
        Assert.Equal(["a"], columns);
        Assert.Empty(rows);
    }

    [Fact]
    public void The_hash_is_over_names_and_values_each_with_a_zero_byte_behind_it()
    {
        var bytes = Encoding.UTF8.GetBytes("a\0b\0" + "caf\u00e9\0\0" + "x\0y\0");
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(bytes)),
            ParquetRows.Hash(["a", "b"], [["caf\u00e9", ""], ["x", "y"]]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("this is not a Parquet file, however long it is")]
    [InlineData("PAR1 but nothing else of it, and no size PAR1")]
    public async Task A_missing_or_damaged_file_is_named(string? content)
    {
        if (content is not null)
            await System.IO.File.WriteAllTextAsync(File, content);
        var error = await Assert.ThrowsAsync<UserException>(() => ParquetRows.Read(File));
        Assert.Equal($"{File}: missing or damaged; expected a data set as make data writes it. Run make data.",
            error.Message);
    }

    [Fact]
    public async Task A_file_with_a_torn_middle_is_named()
    {
        await ParquetRows.Write(File, ["a"],
            [.. Enumerable.Range(0, 1000).Select(number => new[] { $"row {number}" })]);
        var bytes = await System.IO.File.ReadAllBytesAsync(File);
        bytes.AsSpan(8, bytes.Length / 2).Clear();
        await System.IO.File.WriteAllBytesAsync(File, bytes);
        var error = await Assert.ThrowsAsync<UserException>(() => ParquetRows.Read(File));
        Assert.StartsWith($"{File}: missing or damaged", error.Message, StringComparison.Ordinal);
    }
}
