using System.Security.Cryptography;

namespace Peft.Torch.Tests.Natives;

/// <summary>The mark that lets TorchSharp's library load beside an older libstdc++.</summary>
public sealed class ElfFileTests
{
    private const string Version = "GLIBCXX_3.4.32";
    private const string Symbol = "_ZSt21ios_base_library_initv";

    private static readonly string Library = Path.Combine(TempNatives.Real, "libLibTorchSharp.so");

    [Fact]
    public void Two_bytes_of_the_real_library_change_and_only_once()
    {
        var before = File.ReadAllBytes(Library);
        var image = (byte[])before.Clone();
        Assert.True(ElfFile.Weaken(image, Version, Symbol));
        var changed = Enumerable.Range(0, image.Length).Where(i => image[i] != before[i]).ToList();
        Assert.Equal(2, changed.Count);
        // The symbol's binding: global (1) becomes weak (2). The version's flags: none becomes weak.
        Assert.Contains(changed, i => (before[i] >> 4, image[i] >> 4) == (1, 2));
        Assert.Contains(changed, i => (before[i], image[i]) == (0, 2));
        var again = (byte[])image.Clone();
        Assert.True(ElfFile.Weaken(again, Version, Symbol));
        Assert.Equal(image, again);
    }

    [Fact]
    public void A_library_that_does_not_ask_for_the_version_stays_as_it_is()
    {
        var image = File.ReadAllBytes(Path.Combine(TempNatives.Real, "libtorch.so"));
        var hash = SHA256.HashData(image);
        Assert.False(ElfFile.Weaken(image, Version, Symbol));
        Assert.Equal(hash, SHA256.HashData(image));
    }

    [Fact]
    public void A_version_of_which_another_symbol_is_needed_is_refused()
    {
        var error = Assert.Throws<InvalidDataException>(
            () => ElfFile.Weaken(File.ReadAllBytes(Library), "GLIBCXX_3.4.30", Symbol));
        Assert.StartsWith("it also needs _Z", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Damaged_tables_are_refused_and_nothing_else_happens()
    {
        var image = File.ReadAllBytes(Library);
        var random = new Random(1);
        var refused = 0;
        for (var round = 0; round < 400; round++)
        {
            var damaged = image.AsSpan(0, round % 2 == 0 ? image.Length : random.Next(image.Length)).ToArray();
            // The header, and the table of sections at the end, are what the rest is found by.
            for (var hit = 0; hit < 20; hit++)
            {
                var at = random.Next(2) == 0 ? random.Next(16, 64) : image.Length - 1 - random.Next(2200);
                if (at < damaged.Length) damaged[at] = (byte)random.Next(256);
            }
            try
            {
                ElfFile.Weaken(damaged, Version, Symbol);
            }
            catch (InvalidDataException)
            {
                refused++;
            }
        }
        Assert.InRange(refused, 100, 400);
    }

    [Fact]
    public void A_marked_copy_loads_whatever_libstdcxx_there_is_and_the_file_stays_as_it_was()
    {
        var hash = SHA256.HashData(File.ReadAllBytes(Library));
        var (code, output, error) = ChildProgram.Run(null, ["LD_BIND_NOW=1"], "mark", Library);
        Assert.Equal((0, "True\n", ""), (code, output, error));
        Assert.Equal(hash, SHA256.HashData(File.ReadAllBytes(Library)));
    }
}
