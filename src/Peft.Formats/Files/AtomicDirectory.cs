using System.Buffers;
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Peft.Formats.Files;

/// <summary>
/// Replaces a directory so that after a crash at any moment either the old one or the new one is found.
/// One process at a time may replace a target; readers may come at any time.
/// </summary>
public static class AtomicDirectory
{
    private static readonly SearchValues<char> NumberCharacters = SearchValues.Create("-0123456789");
    private const string TemporaryMark = AtomicFile.TemporaryMark; // being filled; with the process id behind it
    private const string AsideMark = ".old-"; // the former directory, on its way out

    /// <summary>
    /// Calls <paramref name="fill"/> with a temporary directory beside the target, flushes all that it wrote, and
    /// gives it
    /// the target's name. A former target is exchanged with it in one step where the system can, otherwise moved aside
    /// first, and then removed. When anything fails before that, the temporary directory is removed and the target is
    /// untouched.
    /// </summary>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void Replace(string target, Action<string> fill) => Replace(target, fill, UnixFiles.TryExchange);

    /// <summary>
    /// Puts right what a crash left: a target that was moved aside comes back when there is no target, and everything
    /// else
    /// that processes now gone left beside it is removed. <see cref="Replace(string, Action{string})"/> begins with
    /// this;
    /// readers call it when a target is missing.
    /// </summary>
    public static void RecoverLeftovers(string target) => RecoverLeftovers(target, IsAbandoned);

    /// <summary>
    /// Does so for everything inside a directory that this class or <see cref="AtomicFile"/> was writing. The caller
    /// holds the directory's <see cref="DirectoryLock"/>: whatever is half written there belongs to nobody.
    /// </summary>
    public static void RecoverInside(string directory)
    {
        try
        {
            foreach (
                var target in Directory.EnumerateDirectories(directory).Select(TargetOf).OfType<string>().Distinct()
                .ToList())
                RecoverLeftovers(target, _ => true);
            foreach (var file in Directory.EnumerateFiles(directory).Where(path => TargetOf(path) is not null).ToList())
                File.Delete(file);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(directory, error);
        }
    }

    /// <summary>Whether a path has the name of something that was being written when its process ended.</summary>
    public static bool IsLeftover(string path) => TargetOf(path) is not null;

    /// <summary>Removes a directory so that after a crash at any moment it is there whole or not at all.</summary>
    /// <exception cref="FileOperationException">It may not be removed.</exception>
    public static void Remove(string target)
    {
        var path = FullPath(target);
        try
        {
            RecoverLeftovers(path);
            var temporary = path + TemporaryMark + Environment.ProcessId;
            Directory.Move(path, temporary);
            Directory.Delete(temporary, recursive: true);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(target, error);
        }
    }

    private static void RecoverLeftovers(string target, Predicate<string> isAbandoned)
    {
        var path = FullPath(target);
        try
        {
            var aside = Leftovers(path, AsideMark, isAbandoned).OrderByDescending(Directory.GetLastWriteTimeUtc)
                .ToList();
            if (!Directory.Exists(path) && aside.Count > 0)
            {
                Directory.Move(aside[0], path);
                UnixFiles.FlushDirectory(Path.GetDirectoryName(path)!);
                aside.RemoveAt(0);
            }

            foreach (var leftover in aside.Concat(Leftovers(path, TemporaryMark, isAbandoned)))
                Directory.Delete(leftover, recursive: true);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw FileOperationException.Writing(target, error);
        }
    }

    internal static void Replace(string target, Action<string> fill, Func<string, string, bool> tryExchange)
    {
        var path = FullPath(target);
        var temporary = path + TemporaryMark + Environment.ProcessId;
        try
        {
            if (File.Exists(path))
                throw new FileOperationException(
                    Fault.Text(target, "is a file, not a directory", null, "choose another name"));
            var parent = Path.GetDirectoryName(path) ?? throw new FileOperationException(
                Fault.Text(target, "is the root directory", "a directory inside another one", "choose another name"));
            Directory.CreateDirectory(parent);
            RecoverLeftovers(path);
            Directory.CreateDirectory(temporary);
            fill(temporary);
            FlushAll(temporary);
            PutInPlace(temporary, path, tryExchange);
        }
        catch (Exception error)
        {
            RemoveQuietly(temporary);
            if (FileOperationException.Covers(error))
                throw FileOperationException.Writing(target, error);
            throw;
        }
    }

    private static void PutInPlace(string temporary, string path, Func<string, string, bool> tryExchange)
    {
        var parent = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(path))
        {
            Directory.Move(temporary, path);
            UnixFiles.FlushDirectory(parent);
        }
        else if (tryExchange(temporary, path))
        {
            UnixFiles.FlushDirectory(parent);
            RemoveQuietly(temporary); // now the former directory
        }
        else
        {
            // Between the two moves there is no target; RecoverLeftovers brings the former one back after a crash here.
            var aside = path + AsideMark + Environment.ProcessId;
            Directory.Move(path, aside);
            MoveOrBringBack(temporary, path, aside);
            UnixFiles.FlushDirectory(parent);
            RemoveQuietly(aside);
        }
    }

    private static void MoveOrBringBack(string temporary, string path, string aside)
    {
        try
        {
            Directory.Move(temporary, path);
        }
        catch
        {
            Directory.Move(aside, path);
            throw;
        }
    }

    private static void FlushAll(string directory)
    {
        foreach (var file in Directory.EnumerateFiles(directory))
        {
            using var handle = File.OpenHandle(file, FileMode.Open, FileAccess.ReadWrite);
            RandomAccess.FlushToDisk(handle);
        }

        foreach (var inner in Directory.EnumerateDirectories(directory))
            FlushAll(inner);
        UnixFiles.FlushDirectory(directory);
    }

    // Directories beside the target that carry a mark; usually that of this process or of one that no longer runs.
    private static IEnumerable<string> Leftovers(string path, string mark, Predicate<string> isAbandoned)
    {
        var parent = Path.GetDirectoryName(path);
        if (parent is null || !Directory.Exists(parent))
            return [];
        var prefix = Path.GetFileName(path) + mark;
        return [.. Directory.EnumerateDirectories(parent)
            .Where(found => Path.GetFileName(found).StartsWith(prefix, StringComparison.Ordinal))
            .Where(found => isAbandoned(Path.GetFileName(found)[prefix.Length..]))];
    }

    // The path whose writing left this one; null for a name that we do not give.
    private static string? TargetOf(string path)
    {
        var name = Path.GetFileName(path);
        var mark = Math.Max(
            name.LastIndexOf(TemporaryMark, StringComparison.Ordinal),
            name.LastIndexOf(AsideMark, StringComparison.Ordinal));
        return mark > 0 && name.AsSpan(mark + TemporaryMark.Length) is { Length: > 0 } number
            && number.IndexOfAnyExcept(NumberCharacters) < 0
            ? path[..(path.Length - name.Length + mark)]
            : null;
    }

    private static bool IsAbandoned(string processId)
    {
        if (!int.TryParse(processId, NumberStyles.None, CultureInfo.InvariantCulture, out var id))
            return false; // not a name that we give
        if (id == Environment.ProcessId)
            return true;
        try
        {
            using var process = System.Diagnostics.Process.GetProcessById(id);
            return process.HasExited;
        }
        catch (ArgumentException)
        {
            return true;
        }
    }

    private static string FullPath(string target) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(target));

    private static void RemoveQuietly(string directory)
    {
        try
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            // What remains is removed by the next RecoverLeftovers.
        }
    }
}

/// <summary>
/// Says that this process writes into a directory. The lock is on the directory itself and goes with the process
/// however it ends: no file is left behind, and none can be stale.
/// </summary>
public sealed class DirectoryLock : IDisposable
{
    private readonly SafeFileHandle _handle;

    private DirectoryLock(SafeFileHandle handle, bool isHeld) => (_handle, IsHeld) = (handle, isHeld);

    /// <summary>False where the file system has no locks (some network file systems): then nothing keeps others
    /// out.</summary>
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
