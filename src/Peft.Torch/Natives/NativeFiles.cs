using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

/// <summary>Which files are loaded, in this order, and from where.</summary>
internal static class NativeFiles
{
    /// <summary>Names the folder of another libtorch.</summary>
    internal const string LibTorchVariable = "LIBTORCH";

    /// <summary>TorchSharp's own library, which stands last.</summary>
    internal const string Binding = "libLibTorchSharp.so";

    /// <summary>libtorch's kernels.</summary>
    internal const string Kernels = "libtorch_cpu.so";

    private const string FolderName = "natives";
    private const string Build = "run make build (or dotnet build src/Peft.Torch)";

    private static readonly string[] Torch = ["libc10.so", Kernels, "libtorch.so"];

    /// <summary>The files to load: libtorch's from the folder that LIBTORCH names or else from the build's, the binding
    /// from the build's.</summary>
    /// <param name="program">The program's folder.</param>
    /// <param name="libtorch">What LIBTORCH says; null or empty: nothing.</param>
    /// <exception cref="NativeLibraryException">One is missing or cannot be loaded: all that are, in one
    /// message.</exception>
    internal static IReadOnlyList<string> Find(string program, string? libtorch)
    {
        var natives = FindFolder(program);
        var own = string.IsNullOrEmpty(libtorch);
        var folder = own ? natives : FolderOf(libtorch!);
        var remedy = own ? Build : $"correct {LibTorchVariable}, or unset it to use the libtorch of the build";
        List<string> files =
        [
            // Another libtorch may keep its OpenMP elsewhere, and then finds it by itself.
            .. OpenMp(folder, required: own), .. Torch.Select(name => Path.Combine(folder, name)),
                Path.Combine(natives, Binding),
        ];
        var faults = files.Select(file => (file, fault: Fault(file))).Where(found => found.fault is not null)
            .Select(found => NativeLibraryException.Text(
                found.file, found.fault!, advice: Path.GetFileName(found.file) == Binding ? Build : remedy))
            .ToList();
        return faults.Count == 0 ? files : throw new NativeLibraryException(string.Join('\n', faults));
    }

    /// <summary>The nearest folder of natives, going up from the program's: programs and tests share one.</summary>
    internal static string FindFolder(string program)
    {
        for (var folder = new DirectoryInfo(program); folder is not null; folder = folder.Parent)
        {
            var natives = Path.Combine(folder.FullName, FolderName);
            if (Directory.Exists(natives)) return natives;
        }
        throw NativeLibraryException.At(
            program, $"no folder '{FolderName}' here or above", "the one that the build makes, with links to libtorch",
            Build);
    }

    private static string FolderOf(string libtorch)
    {
        if (!Directory.Exists(libtorch))
        {
            throw NativeLibraryException.At(
                LibTorchVariable, $"'{libtorch}' is not a folder",
                $"the folder of a libtorch {TorchVersion.Expected} (or its lib/)",
                $"correct {LibTorchVariable}, or unset it to use the libtorch of the build");
        }
        var inner = Path.Combine(libtorch, "lib");
        return Path.GetFullPath(File.Exists(Path.Combine(inner, Kernels)) ? inner : libtorch);
    }

    private static string[] OpenMp(string folder, bool required)
    {
        var found = Directory.GetFiles(folder, "libgomp*.so*");
        return found.Length == 0 && required ? [Path.Combine(folder, "libgomp.so.1")] : found;
    }

    private static string? Fault(string file)
    {
        var link = new FileInfo(file);
        if (link.LinkTarget is not null && link.ResolveLinkTarget(returnFinalTarget: true) is { Exists: false } target)
        {
            return $"a link to {target.FullName}, which does not exist (the package cache was emptied or moved, or "
                + "this user may not read it)";
        }
        if (!File.Exists(file)) return "missing";
        try
        {
            return ElfFile.Fault(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"unreadable ({error.Message.TrimEnd('.')})";
        }
    }
}

/// <summary>libtorch's version: the binding is built for one, and another one's classes have other layouts.</summary>
internal static class TorchVersion
{
    /// <summary>The version that the binding is built for.</summary>
    internal const string Expected = "2.10";

    /// <summary>The version of the libtorch that was loaded, such as <c>2.10.0</c>.</summary>
    /// <param name="kernels">Handle of libtorch_cpu.</param>
    /// <param name="file">Its file, for messages.</param>
    /// <exception cref="NativeLibraryException">It is not of the expected version.</exception>
    internal static unsafe string Check(nint kernels, string file)
    {
        // Answers without an exception of C++.
        var found = NativeLibrary.TryGetExport(kernels, "aoti_torch_abi_version", out var ask)
            ? Text(((delegate* unmanaged<ulong>)ask)())
            : "too old to report its version";
        if (found.StartsWith(Expected + ".", StringComparison.Ordinal)) return found;
        throw NativeLibraryException.At(
            file, $"libtorch {found}", $"{Expected}, the version TorchSharp is built for",
            $"set {NativeFiles.LibTorchVariable} to the folder of a libtorch {Expected}, or unset it to use the "
                + "libtorch of the build");
    }

    /// <summary>The three upper bytes are the three numbers.</summary>
    internal static string Text(ulong version) => $"{version >> 56}.{(version >> 48) & 0xff}.{(version >> 40) & 0xff}";
}

/// <summary>A native library is missing, damaged or of another version, or this processor cannot run it. A program
/// prints the text and stops, as for any mistake in the user's surroundings.</summary>
public sealed class NativeLibraryException : Exception
{
    /// <summary>An exception with its whole text.</summary>
    public NativeLibraryException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }

    /// <summary>The one that lies within an exception: what a static constructor throws arrives wrapped. Null when
    /// there is none.</summary>
    public static NativeLibraryException? Within(Exception? error)
    {
        while (error is not null and not NativeLibraryException) error = error.InnerException;
        return (NativeLibraryException?)error;
    }

    internal static NativeLibraryException At(
        string place, string found, string? expected = null, string? advice = null, Exception? inner = null) =>
        new(Text(place, found, expected, advice), inner);

    /// <summary>The form of every message of the program: <c>place: found; expected this. Do that.</c> (This room knows
    /// no other, so it cannot take theirs.)</summary>
    internal static string Text(string place, string found, string? expected = null, string? advice = null) =>
        $"{place}: {found}{(expected is null ? "" : $"; expected {expected}")}."
        + (advice is null ? "" : $" {char.ToUpperInvariant(advice[0])}{advice[1..]}.");
}
