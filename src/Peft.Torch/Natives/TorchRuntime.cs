using System.Globalization;
using System.Runtime;
using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>The start of libtorch, and what a program asks of it as a whole: version, threads, memory.</summary>
public static class TorchRuntime
{
    // With these a user or a test keeps oneDNN, libtorch's loops, MKL and .NET from some of the processor's
    // instructions.
    private static readonly string[] Narrowing =
    [
        "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "DOTNET_EnableAVX512",
        "DOTNET_EnableAVX2", "DOTNET_EnableHWIntrinsic",
    ];

    private const string SpinCount = "GOMP_SPINCOUNT";

    private static readonly Lock Gate = new();
    private static (nint Kernels, string File, string Version) _library;
    private static bool _keepsMemory;

    /// <summary>libtorch's version, such as <c>2.10.0</c>.</summary>
    public static string Version => Started().Version;

    /// <summary>The file of the libtorch in use.</summary>
    public static string LibraryPath => Started().File;

    /// <summary>What is in use, a line each, for <c>peft doctor</c>.</summary>
    public static IReadOnlyList<(string Name, string Found)> Describe()
    {
        Start();
        var narrowed = Narrowing.Select(name => (name, value: Environment.GetEnvironmentVariable(name)))
            .Where(set => !string.IsNullOrEmpty(set.value));
        return
        [
            ("libtorch", $"{_library.Version}, {_library.File}"),
            ("TorchSharp", typeof(torch).Assembly.GetName().Version!.ToString(3)
                + (NativeLoader.IsMarked
                ? ", adapted in memory to this system's libstdc++, which is older than GCC 13.2's" : "")),
            ("MKL", MklOnAmd.State),
            ("threads", $"{Threads} of {Environment.ProcessorCount} cores"),
            ("allocator", (_keepsMemory ? "keeps freed memory for reuse"
                : "does not keep freed memory for reuse: training may be slower")
                + (HasSmallCaches() ? ", with caches of small pieces: training holds more memory than with bin/peft"
                : "")),
            ("devices", torch.cuda.is_available() ? $"cpu, {torch.cuda.device_count()} CUDA" : "cpu"),
            .. narrowed.Select(set => ("narrowed", $"{set.name}={set.value}")),
        ];
    }

    /// <summary>Tensors held now in the whole program: equal before and after anything that leaks none.</summary>
    public static long LiveTensorCount
    {
        get
        {
            Started();
            return Tensor.TotalCount;
        }
    }

    /// <summary>Whether threads wait as this program likes; not where the user said how.</summary>
    internal static bool WatchesNeighbours { get; private set; }

    /// <summary>Threads of libtorch's loops and of its products.</summary>
    public static int Threads
    {
        get
        {
            Started();
            return torch.get_num_threads();
        }

        set
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 1);
            Started();
            torch.set_num_threads(value);
        }
    }

    /// <summary>Starts libtorch, once: loads it, keeps freed memory in the process, sets the threads. Must come before
    /// the first use of TorchSharp.</summary>
    /// <param name="threads">Threads of libtorch's loops; null means what the environment variable OMP_NUM_THREADS
    /// says, or else the processors this process may really use (CPU affinity and the container's quota are
    /// respected).</param>
    /// <exception cref="NativeLibraryException">A library is missing, damaged or of another version, or the processor
    /// cannot run it.</exception>
    public static void Start(int? threads = null)
    {
        lock (Gate)
        {
            if (_library.Kernels == 0)
            {
                NativeLoader.CheckProcessor();
                var files = NativeFiles.Find(
                    AppContext.BaseDirectory, Environment.GetEnvironmentVariable(NativeFiles.LibTorchVariable));
                _keepsMemory = KeepFreedMemory();
                LetThreadsSpinAMoment();
                KeepProductsFromHoarding();
                _library = NativeLoader.Load(files);
                MklOnAmd.Mend(_library.Kernels);
                torch.set_num_threads(threads ?? DefaultThreads(Environment.GetEnvironmentVariable("OMP_NUM_THREADS")));
            }
            else if (threads is { } count)
            {
                torch.set_num_threads(count);
            }
        }
    }

    /// <summary>Gives memory that was freed back to the kernel; for the end of a phase, not for a loop.</summary>
    /// <returns>Whether any could be given back.</returns>
    public static bool TrimMemory() => Libc.TrimMalloc(0) == 1;

    /// <summary>Gives the kernel back the pages of code that only the start of libtorch ran through, once, to register
    /// its operations; for the beginning of a long phase. The kernel still has them of the file; what runs later is
    /// mapped again as it is called.</summary>
    public static void GiveBackCodeOfTheStart()
    {
        const string Maps = "/proc/self/maps";
        var library = Started().File;
        if (!File.Exists(Maps))
            return;
        // Code alone: it was never written to, so that nothing is lost with its pages.
        foreach (var line in File.ReadLines(Maps).Where(line =>
            line.Contains(" r-xp ", StringComparison.Ordinal) && line.EndsWith(library, StringComparison.Ordinal)))
        {
            var range = line[..line.IndexOf(' ')].Split('-')
                .Select(end => nint.Parse(end, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToArray();
            _ = Libc.Advise(range[0], range[1] - range[0], Libc.NotNeeded);
        }
    }

    /// <summary>The threads that OMP_NUM_THREADS asks for (of a list the first number, as OpenMP reads it), or else one
    /// a processor.</summary>
    internal static int DefaultThreads(string? asked) =>
        int.TryParse(
            (asked ?? "").Split(',')[0], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite,
            CultureInfo.InvariantCulture, out var count)
            && count > 0
            ? count
            : Environment.ProcessorCount;

    private static (nint Kernels, string File, string Version) Started()
    {
        Start();
        return _library;
    }

    // What scripts/allocator sets; glibc reads it before any code of ours runs.
    private static bool HasSmallCaches() =>
        Environment.GetEnvironmentVariable("GLIBC_TUNABLES")?.Contains("tcache_count=0", StringComparison.Ordinal)
        is not true;

    // Blocks below the threshold come from the heap and are used again. 32 MiB is the largest value glibc takes, so the
    // heap is told to serve larger blocks too, never to shrink, and to be one for all threads: activations are few and
    // large, and the heaps of other threads end at 64 MiB.
    private static bool KeepFreedMemory() =>
        Libc.SetMalloc(Libc.MallocMmapThreshold, 32 << 20) == 1
        && Libc.SetMalloc(Libc.MallocMmapMax, 0) == 1
        && Libc.SetMalloc(Libc.MallocTrimThreshold, int.MaxValue) == 1
        && Libc.SetMalloc(Libc.MallocTopPad, 64 << 20) == 1
        && Libc.SetMalloc(Libc.MallocArenaMax, 1) == 1;

    // OpenMP's threads wait for their next loop by spinning. Left to its 300,000 turns, a product beside a busy
    // neighbour fell to a hundredth of its speed; without any, each of a step's many loops first wakes its threads,
    // which cost 2 to 4 % of a step. Read once, when libgomp is loaded; what the user set stands.
    private static void LetThreadsSpinAMoment() =>
        WatchesNeighbours = Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") is null
            && Libc.GetVariable(SpinCount) is null && Libc.SetVariable(SpinCount, "10000", overwrite: 0) == 0;

    // MKL keeps the memory that it packs factors in, of each thread and each kind of product. Given back, it is that
    // of the next product or of tensors. MKL asks only whether the variable is there, not for its value.
    private static void KeepProductsFromHoarding() => _ = Libc.SetVariable("MKL_DISABLE_FAST_MM", "1", overwrite: 0);
}

/// <summary>Other programs that want the cores, as the kernel shows them: it takes a core from a thread that would go
/// on. Threads that spin beside them take from each other what they wait for, so then they sleep at once.</summary>
/// <remarks>OpenMP's threads spin only where there are not more of them than cores, in all. So a thread is added, which
/// holds one of OpenMP's that has nothing to do.</remarks>
/// <param name="wake">Begins OpenMP's threads for the thread that calls it.</param>
internal sealed class Neighbours(Action wake)
{
    // Times a second that the kernel takes a core from this process: alone some 50, beside a busy program 250 and more.
    private const double Many = 180, Few = 120;
    private const long Interval = 100; // milliseconds from one look to the next

    private readonly Lock _gate = new();
    private (long Time, long Taken, long Compiled) _last;
    private ManualResetEvent? _leave;

    /// <summary>Whether there were any at the last look.</summary>
    public bool AreThere => _leave is not null;

    /// <summary>Looks whether there are any now, where the last look is a while ago.</summary>
    public void Look()
    {
        var now = Environment.TickCount64;
        if (now - Volatile.Read(ref _last.Time) < Interval || !_gate.TryEnter())
            return;
        try
        {
            Judge(now, Libc.CoresTaken(), JitInfo.GetCompiledMethodCount());
        }
        finally
        {
            _gate.Exit();
        }
    }

    /// <summary>Judges by how many cores the kernel had taken, and methods the compiler made, at a time in
    /// milliseconds.</summary>
    internal void Judge(long now, long taken, long compiled)
    {
        var rate = 1e3 * (taken - _last.Taken) / (now - _last.Time);
        // The compiler's thread is our own, and soon done.
        var isCompiling = compiled != _last.Compiled;
        _last = (now, taken, compiled);
        if (isCompiling || (AreThere ? rate >= Few : rate <= Many))
            return;
        if (_leave is { } leave)
        {
            leave.Set();
            _leave = null;
            return;
        }
        _leave = Add();
    }

    // Waits for the thread: from then on it allocates nothing beside the one that computes.
    private ManualResetEvent Add()
    {
        var leave = new ManualResetEvent(initialState: false);
        using var isAdded = new ManualResetEvent(initialState: false);
        var thread = new Thread(Stay, maxStackSize: 1 << 18) { IsBackground = true, Name = "beside neighbours" };
        thread.Start();
        isAdded.WaitOne();
        return leave;

        void Stay()
        {
            wake();
            isAdded.Set();
            leave.WaitOne();
            leave.Dispose();
        }
    }
}

/// <summary>The few calls of glibc that .NET has no words for.</summary>
internal static partial class Libc
{
    private const int FileSize = 1; // RLIMIT_FSIZE

    internal const int MallocTrimThreshold = -1;
    internal const int MallocTopPad = -2;
    internal const int MallocMmapThreshold = -3;
    internal const int MallocMmapMax = -4;
    internal const int MallocArenaMax = -8;
    internal const int NotNeeded = 4; // MADV_DONTNEED

    /// <summary>Processor time of the calling thread, in seconds.</summary>
    internal static double ThreadSeconds()
    {
        const int ThreadClock = 3; // CLOCK_THREAD_CPUTIME_ID
        _ = ReadClock(ThreadClock, out var time);
        return time.Seconds + 1e-9 * time.Nanoseconds;
    }

    /// <summary>How often the kernel took a core from a thread of this process that would have gone on.</summary>
    internal static unsafe long CoresTaken()
    {
        const int Own = 0, Fields = 18, Involuntary = 17; // RUSAGE_SELF; struct rusage, whose last is ru_nivcsw
        var usage = stackalloc long[Fields];
        return ReadUsage(Own, usage) == 0 ? usage[Involuntary] : 0;
    }

    /// <summary>Sets one of the allocator's parameters; 1 when it was taken.</summary>
    [LibraryImport("libc", EntryPoint = "mallopt")]
    internal static partial int SetMalloc(int parameter, int value);

    /// <summary>Gives freed memory back to the kernel.</summary>
    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    internal static partial int TrimMalloc(nuint keep);

    /// <summary>Tells the kernel what memory will be used for; 0 when it took it.</summary>
    [LibraryImport("libc", EntryPoint = "madvise")]
    internal static partial int Advise(nint address, nint length, int advice);

    /// <summary>Sets a variable that native code will read; .NET's own SetEnvironmentVariable stays within
    /// .NET.</summary>
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int SetVariable(string name, string value, int overwrite);

    /// <summary>What native code reads of a variable; null when it is not set.</summary>
    internal static string? GetVariable(string name) => Marshal.PtrToStringUTF8(ReadVariable(name));

    /// <summary>Lifts this process's own limit of file sizes to the one it may not pass; returns what to put
    /// back.</summary>
    internal static (ulong Own, ulong Highest) LiftFileSizeLimit()
    {
        if (GetLimit(FileSize, out var limit) == 0)
            _ = SetLimit(FileSize, limit with { Own = limit.Highest });
        return (limit.Own, limit.Highest);
    }

    /// <summary>Puts back what <see cref="LiftFileSizeLimit"/> returned.</summary>
    internal static void SetFileSizeLimit((ulong Own, ulong Highest) limit) =>
        _ = SetLimit(FileSize, new Limit { Own = limit.Own, Highest = limit.Highest });

    [LibraryImport("libc", EntryPoint = "getrlimit")]
    private static partial int GetLimit(int resource, out Limit limit);

    [LibraryImport("libc", EntryPoint = "setrlimit")]
    private static partial int SetLimit(int resource, in Limit limit);

    /// <summary>A file that lives in memory; its descriptor, or -1.</summary>
    [LibraryImport(
        "libc", EntryPoint = "memfd_create", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    internal static partial int CreateMemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ReadClock(int clock, out Time time);

    [LibraryImport("libc", EntryPoint = "getrusage")]
    private static unsafe partial int ReadUsage(int who, long* usage);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint ReadVariable(string name);

    private struct Time
    {
        internal long Seconds;
        internal long Nanoseconds;
    }

    private struct Limit
    {
        internal ulong Own;
        internal ulong Highest;
    }
}
