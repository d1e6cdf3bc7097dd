using System.Diagnostics;
using Peft.Formats.Files;

namespace Peft.Formats.Tests.Files;

public sealed class AtomicDirectoryTests : IDisposable
{
    private const int NoProcess = int.MaxValue; // beyond the largest process id of Linux
    private readonly TempFolder _folder = new();

    private string Target => _folder.At("bundle");

    public void Dispose() => _folder.Dispose();

    private static void Fill(string directory, string text)
    {
        File.WriteAllText(Path.Combine(directory, "a.txt"), text);
        Directory.CreateDirectory(Path.Combine(directory, "inner"));
        File.WriteAllText(Path.Combine(directory, "inner", "b.txt"), text);
    }

    private void AssertTarget(string text)
    {
        Assert.Equal(text, File.ReadAllText(Path.Combine(Target, "a.txt")));
        Assert.Equal(text, File.ReadAllText(Path.Combine(Target, "inner", "b.txt")));
        Assert.Equal([Target], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_directory_replaces_the_old_one_whole(bool canExchange)
    {
        Func<string, string, bool> exchange = canExchange ? UnixFiles.TryExchange : (_, _) => false;
        AtomicDirectory.Replace(Target, directory => Fill(directory, "one"), exchange);
        File.WriteAllText(Path.Combine(Target, "extra.txt"), "gone after the next");
        AtomicDirectory.Replace(Target, directory => Fill(directory, "two"), exchange);
        AssertTarget("two");
        Assert.False(File.Exists(Path.Combine(Target, "extra.txt")));
    }

    [Fact]
    public void A_trailing_slash_means_the_same_directory()
    {
        AtomicDirectory.Replace(Target + "/", directory => Fill(directory, "one"));
        AtomicDirectory.Replace(Target + "/", directory => Fill(directory, "two"));
        AssertTarget("two");
    }

    [Fact]
    public void A_removed_directory_leaves_nothing()
    {
        AtomicDirectory.Replace(Target, directory => Fill(directory, "one"));
        AtomicDirectory.Remove(Target);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
        Assert.Throws<FileOperationException>(() => AtomicDirectory.Remove(Target));
    }

    [Fact]
    public void Everything_half_written_inside_a_directory_is_put_right_and_other_names_stay()
    {
        foreach (
            var name in new[] {
                "a.tmp-1", $"b.old-{NoProcess}", $"c.tmp-{Environment.ProcessId}", "c", "notes.tmp-mine" })
            Fill(Directory.CreateDirectory(_folder.At(name)).FullName, name);
        foreach (var name in new[] { "d.json.tmp-1-17", "d.json", "e.tmp-x", ".tmp-1" })
            File.WriteAllText(_folder.At(name), name);

        AtomicDirectory.RecoverInside(_folder.Path);

        Assert.Equal(
            [".tmp-1", "b", "c", "d.json", "e.tmp-x", "notes.tmp-mine"],
            Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal($"b.old-{NoProcess}", File.ReadAllText(_folder.At("b", "a.txt")));
        Assert.Equal("c", File.ReadAllText(_folder.At("c", "a.txt")));
    }

    [Fact]
    public void Two_names_are_exchanged_in_one_step_on_Linux()
    {
        Fill(Directory.CreateDirectory(_folder.At("x")).FullName, "x");
        Fill(Directory.CreateDirectory(_folder.At("y")).FullName, "y");
        Assert.Equal(OperatingSystem.IsLinux(), UnixFiles.TryExchange(_folder.At("x"), _folder.At("y")));
        Assert.Equal(OperatingSystem.IsLinux() ? "y" : "x", File.ReadAllText(_folder.At("x", "a.txt")));
        Assert.False(UnixFiles.TryExchange(_folder.At("x"), _folder.At("none")));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_filler_that_fails_leaves_the_old_directory(bool isUserError)
    {
        AtomicDirectory.Replace(Target, directory => Fill(directory, "old"));
        Action<string> fill = directory =>
        {
            Fill(directory, "half");
            throw isUserError ? new UserException("theirs") : new InvalidOperationException("ours");
        };
        Assert.ThrowsAny<Exception>(() => AtomicDirectory.Replace(Target, fill));
        AssertTarget("old");
    }

    [Fact]
    public void A_full_disk_is_told_and_the_old_directory_stays()
    {
        AtomicDirectory.Replace(Target, directory => Fill(directory, "old"));
        Assert.Equal(
            "DIR/bundle: the disk is full. Free some space or choose another output.",
            _folder.Message<FileOperationException>(
                () => AtomicDirectory.Replace(Target, _ => throw new IOException("x", 28))));
        AssertTarget("old");
    }

    [Fact]
    public void After_a_crash_between_the_two_moves_the_old_directory_comes_back()
    {
        Fill(Directory.CreateDirectory($"{Target}.old-{NoProcess}").FullName, "old");
        Fill(Directory.CreateDirectory($"{Target}.tmp-{NoProcess}").FullName, "new");
        AtomicDirectory.RecoverLeftovers(Target);
        AssertTarget("old");
    }

    [Fact]
    public void After_a_crash_while_filling_or_removing_the_target_stays_and_the_rest_goes()
    {
        Fill(Directory.CreateDirectory(Target).FullName, "kept");
        Fill(Directory.CreateDirectory($"{Target}.old-{NoProcess}").FullName, "old");
        Fill(Directory.CreateDirectory($"{Target}.tmp-{NoProcess}").FullName, "half");
        AtomicDirectory.RecoverLeftovers(Target);
        AssertTarget("kept");
    }

    [Fact]
    public void What_a_running_process_writes_and_what_others_named_is_left_alone()
    {
        // Process 1 always runs.
        foreach (var name in new[] { "bundle.tmp-1", "bundle.tmp-mine", "bundle.tmp-", "bundle2.tmp-5" })
            Directory.CreateDirectory(_folder.At(name));
        AtomicDirectory.RecoverLeftovers(Target);
        Assert.Equal(4, Directory.GetDirectories(_folder.Path).Length);
        AtomicDirectory.RecoverLeftovers(_folder.At("no", "such", "parent"));
    }

    [Fact]
    public void A_replacement_clears_what_a_crash_of_this_process_id_left()
    {
        Fill(Directory.CreateDirectory($"{Target}.tmp-{Environment.ProcessId}").FullName, "half");
        AtomicDirectory.Replace(Target, directory => Assert.Empty(Directory.GetFileSystemEntries(directory)));
        Assert.Empty(Directory.GetFileSystemEntries(Target));
    }

    [Fact]
    public void A_file_is_not_replaced_by_a_directory()
    {
        _folder.Put("bundle", "x");
        Assert.Equal(
            "DIR/bundle: is a file, not a directory. Choose another name.",
            _folder.Message<FileOperationException>(() => AtomicDirectory.Replace(Target, _ => { })));
        Assert.Equal(
            "/: is the root directory; expected a directory inside another one. Choose another name.",
            _folder.Message<FileOperationException>(() => AtomicDirectory.Replace("/", _ => { })));
    }
}

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
        using var other = Process.Start(
            new ProcessStartInfo("flock", [_folder.Path, "sh", "-c", "echo held; exec sleep 600"])
            {
                RedirectStandardOutput = true
            })!;
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
        "DIR/none: cannot be written: No such file or directory.",
        _folder.Message<FileOperationException>(() => DirectoryLock.TryTake(_folder.At("none"))));
}
