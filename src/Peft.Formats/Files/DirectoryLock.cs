using Microsoft.Win32.SafeHandles;

namespace Peft.Formats.Files;

/// <summary>
/// Says that this process writes into a directory. The lock is on the directory itself and goes with the process however it
/// ends: no file is left behind, and none can be stale.
/// </summary>
public sealed class DirectoryLock : IDisposable
{
    private readonly SafeFileHandle _handle;

    private DirectoryLock(SafeFileHandle handle, bool isHeld) => (_handle, IsHeld) = (handle, isHeld);

    /// <summary>False where the file system has no locks (some network file systems): then nothing keeps others out.</summary>
    public bool IsHeld { get; }

    /// <summary>Takes the lock of an existing directory.</summary>
    /// <returns>The lock; null while another process, or another lock of this one, holds it.</returns>
    /// <exception cref="FileOperationException">The directory cannot be opened.</exception>
    public static DirectoryLock? TryTake(string directory)
    {
        try
        {
            var (handle, isHeld) = UnixFiles.TryLockDirectory(directory);
            return handle is null ? null : new DirectoryLock(handle, isHeld);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(directory, error);
        }
    }

    /// <summary>Gives it back.</summary>
    public void Dispose() => _handle.Dispose();
}
