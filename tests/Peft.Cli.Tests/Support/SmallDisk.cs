using System.Diagnostics;

namespace Peft.Cli.Tests.Support;

/// <summary>A file system of a given size; only root can make one.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly TempFolder _folder = new();

    public SmallDisk(int kilobytes)
    {
        Directory.CreateDirectory(Path);
        if (!Mount(Path, kilobytes))
            throw new InvalidOperationException($"{Path}: tmpfs not mounted");
    }

    public static bool IsPossible { get; } = Try();

    public string Path => _folder["disk"];

    /// <summary>Changes how it is mounted: <c>ro</c>, <c>size=4m</c>.</summary>
    public void Remount(string option) =>
        Assert.True(Do("mount", "-o", $"remount,{option}", Path), $"{Path}: not remounted with {option}");

    public void Dispose()
    {
        Do("umount", Path);
        _folder.Dispose();
    }

    private static bool Try()
    {
        if (!Environment.IsPrivilegedProcess)
            return false;
        using var folder = new TempFolder();
        return Mount(folder.Path, 64) && Do("umount", folder.Path);
    }

    private static bool Mount(string path, int kilobytes) =>
        Do("mount", "-t", "tmpfs", "-o", $"size={kilobytes}k", "tmpfs", path);

    private static bool Do(string program, params string[] words)
    {
        try
        {
            var start = new ProcessStartInfo(program, words) { RedirectStandardError = true };
            using var process = Process.Start(start)!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}

/// <summary>
/// A fact that needs a file system of its own; reported as skipped, with the reason, where none can be mounted.
/// </summary>
public sealed class SmallDiskFactAttribute : FactAttribute
{
    public SmallDiskFactAttribute() =>
        Skip = SmallDisk.IsPossible ? null : "needs to mount a small tmpfs, which only root can";
}
