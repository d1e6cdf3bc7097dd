using Peft.Formats.Files;

namespace Peft.Formats.Tests.Files;

public class SampledHashTests
{
    [Fact]
    public void A_small_file_is_hashed_whole()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "small");
        File.WriteAllBytes(path, [1, 2, 3]);
        Assert.Equal(Sha256.OfFile(path), SampledHash.OfFile(path));
    }

    [Fact]
    public void A_large_file_is_told_apart_by_its_size_its_ends_and_samples()
    {
        using var folder = new TempFolder();
        var path = Path.Combine(folder.Path, "large");
        var bytes = new byte[(16 << 20) + 1];
        new Random(1).NextBytes(bytes);
        var first = Write(bytes);
        Assert.Matches("^sampled-[0-9a-f]{64}$", first);
        Assert.Equal(first, Write(bytes));
        Assert.NotEqual(first, Write([.. bytes, 0]));
        foreach (var at in new[] { 0, bytes.Length - 1, bytes.Length / 63 * 30 })
        {
            bytes[at] ^= 1;
            Assert.NotEqual(first, Write(bytes));
            bytes[at] ^= 1;
        }

        string Write(byte[] content)
        {
            File.WriteAllBytes(path, content);
            return SampledHash.OfFile(path);
        }
    }
}
