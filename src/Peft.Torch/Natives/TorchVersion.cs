using System.Runtime.InteropServices;

namespace Peft.Torch.Natives;

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
            : "too old to say its version";
        if (found.StartsWith(Expected + ".", StringComparison.Ordinal)) return found;
        throw new NativeLibraryException(
            $"{file} - found: libtorch {found} - expected: {Expected}, for which TorchSharp is built - "
            + $"set {NativeFiles.LibTorchVariable} to the folder of a libtorch {Expected}, or unset it to use the libtorch of the build");
    }

    /// <summary>The three upper bytes are the three numbers.</summary>
    internal static string Text(ulong version) => $"{version >> 56}.{(version >> 48) & 0xff}.{(version >> 40) & 0xff}";
}
