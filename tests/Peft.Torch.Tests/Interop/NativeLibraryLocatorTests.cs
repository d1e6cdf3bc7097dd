using System.Runtime.InteropServices;
using Peft.Torch.Interop;

namespace Peft.Torch.Tests.Interop;

public sealed class NativeLibraryLocatorTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("peft-torch-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_missing_library_says_where_it_was_looked_for_and_how_to_get_it()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.Find(null, _folder));
        Assert.Equal($"libpeft_torch.so - not found beside the program ({_folder}) - expected: the native library that the build "
            + "puts there - run: make setup build; or set PEFT_TORCH_NATIVE to the path of one", error.Message);
    }

    [Fact]
    public void A_variable_that_names_nothing_is_refused()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.Find("/nowhere/lib.so", _folder));
        Assert.StartsWith("PEFT_TORCH_NATIVE - names '/nowhere/lib.so', which does not exist", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_variable_comes_before_the_file_beside_the_program()
    {
        var beside = Write("libpeft_torch.so");
        var named = Write("other.so");
        Assert.Equal(named, NativeLibraryLocator.Find(named, _folder));
        Assert.Equal(beside, NativeLibraryLocator.Find("", _folder));
    }

    [Fact]
    public void A_file_that_does_not_load_names_libtorch_and_the_fixes()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.Open(Write("libpeft_torch.so")));
        Assert.Contains("does not load", error.Message, StringComparison.Ordinal);
        Assert.Contains("expected: libtorch 1.13 or newer", error.Message, StringComparison.Ordinal);
        Assert.Contains("make setup", error.Message, StringComparison.Ordinal);
        Assert.Contains("LIBTORCH", error.Message, StringComparison.Ordinal);
        Assert.NotNull(error.InnerException);
    }

    [Fact]
    public void Another_library_is_not_taken_for_ours()
    {
        var other = NativeLibrary.Load("libc.so.6");
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.Check(other, "libc.so.6"));
        Assert.StartsWith("libc.so.6 - is not Peft's native library", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_interface_version_is_refused_with_both_numbers()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.CheckVersions("x.so", 99, 11301));
        Assert.Equal($"x.so - found: interface version 99 - expected: {NativeLibraryLocator.ExpectedAbi} - the library is from another build: "
            + "run: make clean build; or unset PEFT_TORCH_NATIVE", error.Message);
    }

    [Theory]
    [InlineData(11202, "1.12.2")]
    [InlineData(30000, "3.0.0")]
    public void Another_libtorch_is_refused_with_both_versions(int version, string text)
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLibraryLocator.CheckVersions("x.so", NativeLibraryLocator.ExpectedAbi, version));
        Assert.Contains($"found: libtorch {text} - expected: 1.13 to 2.x", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_OpenMP_build_of_OpenBLAS_is_the_one_in_use_where_it_is_installed()
    {
        torch.Initialize();
        var folder = torch.BlasFolder;
        if (folder is null)
        {
            Assert.DoesNotContain(
                Directory.GetDirectories("/usr/lib", "*-linux-gnu"), d => Directory.Exists(Path.Combine(d, "openblas-openmp")));
            return;
        }

        var mapped = File.ReadAllLines("/proc/self/maps").Where(l => l.Contains("blas", StringComparison.Ordinal)).ToArray();
        Assert.Contains(mapped, line => line.Contains(folder, StringComparison.Ordinal));
        Assert.DoesNotContain(mapped, line => line.Contains("openblas-pthread", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("3", 3)]
    [InlineData(" 2 ", 2)]
    [InlineData("4,2", 4)]
    [InlineData("0", 0)]
    [InlineData("many", 0)]
    [InlineData("", 0)]
    [InlineData(null, 0)]
    public void The_environment_tells_the_threads_or_the_processors_do(string? asked, int threads) =>
        Assert.Equal(threads > 0 ? threads : Environment.ProcessorCount, torch.DefaultThreads(asked));

    [Fact]
    public void Initialize_sets_the_threads_and_may_be_called_again()
    {
        torch.Initialize(1);
        Assert.Equal(1, torch.get_num_threads());
        torch.Initialize();
        Assert.Equal(1, torch.get_num_threads());
        torch.Initialize(Environment.ProcessorCount);
        Assert.Equal(Environment.ProcessorCount, torch.get_num_threads());
        Assert.Throws<ArgumentOutOfRangeException>(() => torch.set_num_threads(0));
    }

    [Fact]
    public void The_library_describes_itself()
    {
        Assert.Matches(@"^\d+\.\d+\.\d+$", torch.version);
        Assert.Contains("libtorch", torch.LibraryPath, StringComparison.Ordinal);
        Assert.NotEmpty(torch.show_config());
        Assert.EndsWith(".so", torch.ShimPath, StringComparison.Ordinal);
        Assert.Equal(torch.cuda.is_available(), torch.cuda.device_count() > 0);
    }

    private string Write(string name)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllText(path, "not a library");
        return path;
    }
}
