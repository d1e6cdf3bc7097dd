using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>The few calls of glibc that .NET has no words for.</summary>
internal static partial class Libc
{
    private const int FileSize = 1; // RLIMIT_FSIZE

    internal const int MallocTrimThreshold = -1;
    internal const int MallocTopPad = -2;
    internal const int MallocMmapThreshold = -3;
    internal const int MallocMmapMax = -4;
    internal const int MallocArenaMax = -8;

    /// <summary>Sets one of the allocator's parameters; 1 when it was taken.</summary>
    [LibraryImport("libc", EntryPoint = "mallopt")]
    internal static partial int SetMalloc(int parameter, int value);

    /// <summary>Gives freed memory back to the kernel.</summary>
    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    internal static partial int TrimMalloc(nuint keep);

    /// <summary>Sets a variable that native code will read; .NET's own SetEnvironmentVariable stays within .NET.</summary>
    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int SetVariable(string name, string value, int overwrite);

    /// <summary>What native code reads of a variable; null when it is not set.</summary>
    internal static string? GetVariable(string name) => Marshal.PtrToStringUTF8(ReadVariable(name));

    /// <summary>A file that lives in memory; its descriptor, or -1.</summary>
    /// <summary>Lifts this process's own limit of file sizes to the one it may not pass; returns what to put back.</summary>
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

    [LibraryImport("libc", EntryPoint = "memfd_create", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    internal static partial int CreateMemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint ReadVariable(string name);

    private struct Limit
    {
        internal ulong Own;
        internal ulong Highest;
    }
}
