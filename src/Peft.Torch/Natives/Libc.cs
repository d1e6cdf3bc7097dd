using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>The few calls of glibc that .NET has no words for.</summary>
internal static partial class Libc
{
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
    [LibraryImport("libc", EntryPoint = "memfd_create", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    internal static partial int CreateMemoryFile(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "getenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint ReadVariable(string name);
}
