using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Peft.Formats.Files;

/// <summary>
/// The calls of the C library that .NET does not offer: flushing a directory, locking one, exchanging two names,
/// following all links of a path.
/// </summary>
internal static class UnixFiles
{
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const uint Exchange = 2;           // RENAME_EXCHANGE
    private const int ReadOnly = 0;            // O_RDONLY
    private const int CloseOnExecute = 0x80000; // O_CLOEXEC
    private const int InputOutputError = 5;    // errno EIO
    private const int WouldBlock = 11;         // errno EWOULDBLOCK
    private const int NoPermission = 13;       // errno EACCES
    private const int LockAtOnce = 2 | 4;      // LOCK_EX | LOCK_NB

    /// <summary>
    /// Makes the names in a directory durable. File systems that cannot do so are passed over; a failing disk is not.
    /// </summary>
    /// <exception cref="IOException">The disk reported an error.</exception>
    public static void FlushDirectory(string path)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
            return;
        var descriptor = Open(Terminated(path), ReadOnly);
        if (descriptor < 0)
            return;
        var failed = Flush(descriptor) != 0 && Marshal.GetLastPInvokeError() == InputOutputError;
        _ = Close(descriptor);
        if (failed)
            throw new IOException("the disk reported an error", InputOutputError);
    }

    /// <summary>
    /// Locks a directory until the handle is closed or the process ends; whether somebody else holds it is told apart
    /// from a file system that has no locks.
    /// </summary>
    /// <returns>The handle and whether the lock is held; no handle when another one holds it.</returns>
    /// <exception cref="IOException">The directory cannot be opened.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be.</exception>
    public static (SafeFileHandle? Handle, bool IsHeld) TryLockDirectory(string path)
    {
        var descriptor = Open(Terminated(path), ReadOnly | CloseOnExecute);
        if (descriptor < 0)
            throw Marshal.GetLastPInvokeError() is var error and not NoPermission
                ? new IOException(Marshal.GetPInvokeErrorMessage(error), error)
                : new UnauthorizedAccessException();
        var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        if (Lock(descriptor, LockAtOnce) == 0)
            return (handle, true);
        var isTaken = Marshal.GetLastPInvokeError() == WouldBlock;
        handle.Dispose();
        return isTaken ? (null, false) : (new SafeFileHandle(), false);
    }

    /// <summary>
    /// Gives each of two existing files or directories the other's name, in one step that no crash can split.
    /// </summary>
    /// <returns>False where the system or file system cannot do so; nothing has changed then.</returns>
    public static bool TryExchange(string first, string second)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        try
        {
            return Rename(CurrentDirectory, Terminated(first), CurrentDirectory, Terminated(second), Exchange) == 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false; // a C library older than 2018
        }
    }

    /// <summary>The path without links and dots, in memory for <see cref="Free"/>; zero where there is
    /// nothing.</summary>
    public static nint RealPath(string path) => Resolve(Terminated(path), 0);

    private static byte[] Terminated(string path) => System.Text.Encoding.UTF8.GetBytes(path + '\0');

    [DllImport("libc", EntryPoint = "free")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    public static extern void Free(nint memory);

    [DllImport("libc", EntryPoint = "realpath", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern nint Resolve(byte[] path, nint resolved);

    [DllImport("libc", EntryPoint = "open", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Open(byte[] path, int flags);

    [DllImport("libc", EntryPoint = "fsync", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Flush(int descriptor);

    [DllImport("libc", EntryPoint = "flock", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Lock(int descriptor, int operation);

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Close(int descriptor);

    [DllImport("libc", EntryPoint = "renameat2", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Rename(int firstDirectory, byte[] first, int secondDirectory, byte[] second, uint flags);
}
