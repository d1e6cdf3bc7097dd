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
    private const string Build = "run: make build (or: dotnet build src/Peft.Torch)";

    private static readonly string[] Torch = ["libc10.so", Kernels, "libtorch.so"];

    /// <summary>The files to load: libtorch's from the folder that LIBTORCH names or else from the build's, the binding from the build's.</summary>
    /// <param name="program">The program's folder.</param>
    /// <param name="libtorch">What LIBTORCH says; null or empty: nothing.</param>
    /// <exception cref="NativeLibraryException">One is missing or cannot be loaded: all that are, in one message.</exception>
    internal static IReadOnlyList<string> Find(string program, string? libtorch)
    {
        var natives = FindFolder(program);
        var own = string.IsNullOrEmpty(libtorch);
        var folder = own ? natives : FolderOf(libtorch!);
        var remedy = own ? Build : $"correct {LibTorchVariable}, or unset it to use the libtorch of the build";
        List<string> files =
        [
            // Another libtorch may keep its OpenMP elsewhere, and then finds it by itself.
            .. OpenMp(folder, required: own), .. Torch.Select(name => Path.Combine(folder, name)), Path.Combine(natives, Binding),
        ];
        var faults = files.Select(file => (file, fault: Fault(file))).Where(found => found.fault is not null)
            .Select(found => $"{found.file} - {found.fault} - {(Path.GetFileName(found.file) == Binding ? Build : remedy)}").ToList();
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
        throw new NativeLibraryException(
            $"{program} - found: no folder '{FolderName}' here or above - expected: the one that the build makes, with links to libtorch - {Build}");
    }

    private static string FolderOf(string libtorch)
    {
        if (!Directory.Exists(libtorch))
        {
            throw new NativeLibraryException(
                $"{LibTorchVariable} - names '{libtorch}', which is not a folder - "
                + $"expected: the folder of a libtorch {TorchVersion.Expected} (or its lib/) - "
                + $"correct {LibTorchVariable}, or unset it to use the libtorch of the build");
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
            return $"points to {target.FullName}, which is not there (the package cache was emptied or moved, or this user may not read it)";
        }
        if (!File.Exists(file)) return "is missing";
        try
        {
            return ElfFile.Fault(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"cannot be read ({error.Message.TrimEnd('.')})";
        }
    }
}
