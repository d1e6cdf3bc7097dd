using System.Runtime.InteropServices;

namespace Peft.Formats.Files;

/// <summary>Whether a file that a manifest or an index names really lies in its directory.</summary>
public static class InnerPath
{
    /// <summary>
    /// Where a name leads when links on the way lead out of the directory; null when it stays inside, or is not there.
    /// The cache of the Hugging Face Hub is made of links from <c>snapshots/REVISION/</c> to <c>blobs/</c> beside it:
    /// those count as inside.
    /// </summary>
    /// <param name="directory">The directory.</param>
    /// <param name="name">A relative path that has been checked to have no <c>..</c>.</param>
    public static string? OutsideTarget(string directory, string name)
    {
        if (RealPath(directory) is not { } root || RealPath(Path.Combine(directory, name)) is not { } target)
            return null;
        return IsBelow(root, target) || BlobsOfHub(root) is { } blobs && IsBelow(blobs, target) ? null : target;
    }

    private static string? BlobsOfHub(string root)
    {
        var snapshots = Path.GetDirectoryName(root);
        return Path.GetFileName(snapshots) == "snapshots"
            ? Path.Combine(Path.GetDirectoryName(snapshots)!, "blobs")
            : null;
    }

    private static bool IsBelow(string directory, string path) =>
        path.StartsWith(
            Path.TrimEndingDirectorySeparator(directory) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    // Without links and dots; null where there is nothing.
    private static string? RealPath(string path)
    {
        var found = UnixFiles.RealPath(path);
        try
        {
            return Marshal.PtrToStringUTF8(found);
        }
        finally
        {
            UnixFiles.Free(found);
        }
    }
}
