using System.Diagnostics;
using Peft.Formats.Files;

namespace Peft.Formats.Tests.Files;

public sealed class DirectoryLockTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_lock_is_held_once_and_leaves_nothing_behind()
    {
        using (var held = DirectoryLock.TryTake(_folder.Path)!)
        {
            Assert.True(held.IsHeld);
            Assert.Null(DirectoryLock.TryTake(_folder.Path));
        }
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
        using var again = DirectoryLock.TryTake(_folder.Path);
        Assert.NotNull(again);
    }

    [Fact]
    public void The_lock_of_a_process_goes_with_it_however_it_ends()
    {
        // util-linux's flock takes the same lock; it says so once it holds it.
        using var other = Process.Start(new ProcessStartInfo("flock", [_folder.Path, "sh", "-c", "echo held; exec sleep 600"]) { RedirectStandardOutput = true })!;
        try
        {
            Assert.Equal("held", other.StandardOutput.ReadLine());
            Assert.Null(DirectoryLock.TryTake(_folder.Path));
        }
        finally
        {
            other.Kill(entireProcessTree: true);
            other.WaitForExit();
        }
        // The child that inherited the lock is gone a moment after its parent.
        using var taken = Enumerable.Range(0, 200).Select(_ =>
        {
            var found = DirectoryLock.TryTake(_folder.Path);
            if (found is null)
                Thread.Sleep(50);
            return found;
        }).FirstOrDefault(found => found is not null);
        Assert.NotNull(taken);
    }

    [Fact]
    public void A_directory_that_is_not_there_is_told() => Assert.Equal(
        "DIR/none - cannot be written: No such file or directory - a place you may write to",
        _folder.Message<FileOperationException>(() => DirectoryLock.TryTake(_folder.At("none"))));
}
