using System.Globalization;
using System.Runtime.InteropServices;

namespace Peft.Torch.Tests.Natives;

/// <summary>How libtorch starts, seen from outside.</summary>
public sealed class StartTests
{
    [Fact]
    public void Starting_prints_nothing_and_copies_nothing()
    {
        var folder = AppContext.BaseDirectory;
        var before = Directory.GetFileSystemEntries(folder).Order();
        var (code, output, error) = ChildProgram.Run(null, [], "start");
        Assert.Equal((0, $"threads {Environment.ProcessorCount}\n", ""), (code, output, error));
        Assert.Equal(before, Directory.GetFileSystemEntries(folder).Order());
    }

    [Theory]
    [InlineData("1", 1)]
    [InlineData("3,2", 3)]
    public void OMP_NUM_THREADS_is_honoured(string asked, int threads) =>
        Assert.Equal($"threads {threads}\n", ChildProgram.Run(null, [$"OMP_NUM_THREADS={asked}"], "start").Output);

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("many")]
    [InlineData("0")]
    public void Threads_that_are_no_number_mean_all_processors(string? asked) =>
        Assert.Equal(Environment.ProcessorCount, TorchRuntime.DefaultThreads(asked));

    [Theory]
    [InlineData("", "10000")]
    [InlineData("GOMP_SPINCOUNT=7", "7")]
    [InlineData("OMP_WAIT_POLICY=active", "unset")]
    public void Waiting_threads_sleep_unless_the_user_says_otherwise(string variable, string count) =>
        Assert.Equal(count + "\n", ChildProgram.Run(null, variable.Length == 0 ? [] : [variable], "spin").Output);

    [Fact]
    public void Beside_a_busy_program_a_thread_is_added_until_it_is_gone()
    {
        var added = new List<Thread>();
        var neighbours = new Neighbours(() => added.Add(Thread.CurrentThread));
        neighbours.Judge(now: 1_000, taken: 900, compiled: 5);
        neighbours.Judge(1_100, 905, 5);   // 50 a second: alone
        neighbours.Judge(1_200, 960, 6);   // 550, but the compiler was at work
        Assert.False(neighbours.AreThere);
        neighbours.Judge(1_300, 985, 6);   // 250: beside another
        Assert.True(neighbours.AreThere);
        neighbours.Judge(1_400, 1_000, 6); // 150: as before
        neighbours.Judge(1_500, 1_000, 7); // none, but compiled
        Assert.True(neighbours.AreThere);
        Assert.True(Assert.Single(added).IsAlive);
        neighbours.Judge(1_600, 1_005, 7); // 50
        Assert.False(neighbours.AreThere);
        Assert.True(Assert.Single(added).Join(TimeSpan.FromMinutes(1)));
        neighbours.Judge(1_700, 1_050, 7);
        Assert.True(neighbours.AreThere);
        Assert.Equal(2, added.Count);
        neighbours.Judge(1_800, 1_050, 7);
        Assert.False(neighbours.AreThere);
    }

    [Theory]
    [InlineData("", "watched")]
    [InlineData("GOMP_SPINCOUNT=7", "unwatched")]
    [InlineData("OMP_WAIT_POLICY=passive", "unwatched")]
    public void Neighbours_are_watched_unless_the_user_says_how_threads_wait(string variable, string expected) =>
        Assert.Equal(
            expected + "\n", ChildProgram.Run(null, variable.Length == 0 ? [] : [variable], "neighbours").Output);

    [Fact]
    public void A_failure_of_the_start_reaches_the_user_whole()
    {
        using var temp = new TempNatives();
        foreach (var file in Directory.GetFiles(AppContext.BaseDirectory))
            File.Copy(file, Path.Combine(temp.Folder, Path.GetFileName(file)));
        Assert.Equal(0, ChildProgram.Run(temp.Folder, [], "start").Code);
        File.Delete(temp["libc10.so"]);
        var (code, output, error) = ChildProgram.Run(temp.Folder, [], "start");
        Assert.NotEqual(0, code);
        Assert.Equal("", output);
        Assert.Contains(
            $"{temp["libc10.so"]}: missing. Run make build (or dotnet build src/Peft.Torch).", error,
            StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(temp.Folder).Except([temp.Natives]));
    }

    [Fact]
    public void An_exception_within_others_is_found()
    {
        var missing = new NativeLibraryException("x");
        Assert.Same(
            missing, NativeLibraryException.Within(
                new TypeInitializationException("y", new InvalidOperationException("z", missing))));
        Assert.Null(NativeLibraryException.Within(new InvalidOperationException("z")));
        Assert.Null(NativeLibraryException.Within(null));
    }

    [Fact]
    public void A_library_that_does_not_load_is_named_with_the_loaders_words()
    {
        // Whole, but of a libtorch that lies elsewhere: what it needs is not beside it.
        using var temp = new TempNatives();
        var alone = Path.Combine(
            Directory.CreateDirectory(Path.Combine(temp.Folder, "alone")).FullName, "liblonely.so");
        var image = File.ReadAllBytes(Path.Combine(TempNatives.Real, "libtorch.so"));
        var name = image.AsSpan().IndexOf("libtorch_cpu.so"u8);
        "libmissing__.so"u8.CopyTo(image.AsSpan(name));
        File.WriteAllBytes(alone, image);
        var error = Assert.Throws<NativeLibraryException>(() => NativeLoader.Open(alone));
        Assert.Equal(
            $"{alone}: does not load (libmissing__.so: cannot open shared object file: No such file or directory); "
            + "expected an undamaged library for this system (glibc 2.34 or later). "
            + "Run make clean build; peft doctor shows what is in use.", error.Message);
    }

    [Fact]
    public void A_processor_without_AVX2_is_refused_before_anything_is_loaded()
    {
        var error = Assert.Throws<NativeLibraryException>(() => NativeLoader.CheckProcessor(hasAvx2: false));
        Assert.StartsWith(
            "processor: no AVX2; expected an x86-64 processor with AVX2", error.Message, StringComparison.Ordinal);
        NativeLoader.CheckProcessor(hasAvx2: true);
    }

    [Fact]
    public void Another_version_of_libtorch_is_refused()
    {
        Assert.Equal("2.10.1", TorchVersion.Text(0x020a_0100_0000_0000));
        Assert.Equal("2.9.0", TorchVersion.Text(0x0209_0000_0000_0000));
        // A library that cannot say its version stands for a libtorch of before it could.
        var other = NativeLibrary.Load("libc.so.6");
        var error = Assert.Throws<NativeLibraryException>(() => TorchVersion.Check(other, "/opt/libtorch_cpu.so"));
        Assert.Equal(
            "/opt/libtorch_cpu.so: libtorch too old to report its version; expected 2.10, the version TorchSharp is "
                + "built for. "
            + "Set LIBTORCH to the folder of a libtorch 2.10, or unset it to use the libtorch of the build.",
            error.Message);
    }

    [Fact]
    public void Errors_of_libtorch_become_words()
    {
        using var scope = torch.NewDisposeScope();
        var shapes = Assert.Throws<ExternalException>(() => torch.ones(2, 3).view(7));
        Assert.Equal("shape '[7]' is invalid for input of size 6", TorchErrors.Words(shapes));
        Assert.Null(TorchErrors.MemoryAdvice(shapes));
        var memory = Assert.Throws<ExternalException>(() => torch.empty(1L << 50));
        Assert.Equal(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes. Error code 12 "
                + "(Cannot allocate memory)",
            TorchErrors.Words(memory));
        Assert.StartsWith(
            "memory: none left for 4503599.6 GB more. Make training.per_device_train_batch_size or data.max_length "
                + "smaller, ",
            TorchErrors.MemoryAdvice(memory), StringComparison.Ordinal);
        Assert.StartsWith(
            "memory: CUDA out of memory. x. Make ", TorchErrors.MemoryAdvice(new("CUDA out of memory. x")),
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_description_names_what_is_in_use()
    {
        var (code, output, _) = ChildProgram.Run(null, ["ONEDNN_MAX_CPU_ISA=AVX2", "OMP_NUM_THREADS=1"], "describe");
        Assert.Equal(0, code);
        Assert.Matches(@"^libtorch: 2\.10\.\d+, /.*libtorch_cpu\.so\nTorchSharp: \d+\.\d+\.\d+", output);
        Assert.Contains(
            string.Create(CultureInfo.InvariantCulture, $"threads: 1 of {Environment.ProcessorCount} cores\n"), output,
            StringComparison.Ordinal);
        Assert.Contains("narrowed: ONEDNN_MAX_CPU_ISA=AVX2\n", output, StringComparison.Ordinal);
    }
}
