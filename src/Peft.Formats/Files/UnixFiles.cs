using System.Runtime.InteropServices;

namespace Peft.Formats.Files;

/// <summary>
/// The calls of the C library that .NET does not offer: flushing a directory, exchanging two names, following all links of a path.
/// </summary>
internal static class UnixFiles
{
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const uint Exchange = 2;           // RENAME_EXCHANGE
    private const int ReadOnly = 0;            // O_RDONLY
    private const int InputOutputError = 5;    // errno EIO

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

    /// <summary>The path without links and dots, in memory for <see cref="Free"/>; zero where there is nothing.</summary>
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

    [DllImport("libc", EntryPoint = "close", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Close(int descriptor);

    [DllImport("libc", EntryPoint = "renameat2", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Rename(int firstDirectory, byte[] first, int secondDirectory, byte[] second, uint flags);
}
