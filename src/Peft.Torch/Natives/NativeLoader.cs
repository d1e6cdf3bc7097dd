using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Microsoft.Win32.SafeHandles;

namespace Peft.Torch.Natives;

/// <summary>Loads libtorch and TorchSharp's binding before any code of TorchSharp runs: it then finds them by their
/// names. Left alone it would take any libtorch that lies around in the system, or copy half a gigabyte.</summary>
internal static class NativeLoader
{
    // TorchSharp's binding is built with GCC 13. Of that compiler's library it asks for one symbol that older systems
    // lack, and never calls it: Debian 12 and Ubuntu 22.04 end at GLIBCXX_3.4.30.
    private const string NewVersion = "GLIBCXX_3.4.32";
    private const string NewSymbol = "_ZSt21ios_base_library_initv";
    private const string Lacking = $"needs {NewVersion} of libstdc++, which this system lacks";
    private const string NewerSystem = "use a system with the libstdc++ of GCC 13.2 or later";

    private static readonly Dictionary<string, nint> Loaded = [];

    /// <summary>Whether the binding was loaded from a copy in memory, marked for an older libstdc++.</summary>
    internal static bool IsMarked { get; private set; }

    /// <summary>Loads the files in their order. What is loaded already stays.</summary>
    /// <returns>The handle of libtorch_cpu, its file and its version.</returns>
    internal static (nint Kernels, string File, string Version) Load(IReadOnlyList<string> files)
    {
        var (kernels, path, version) = ((nint)0, "", "");
        foreach (var file in files)
        {
            var name = Path.GetFileName(file);
            var handle = name == NativeFiles.Binding ? OpenBinding(file) : Open(file);
            Loaded[name] = handle;
            if (name != NativeFiles.Kernels) continue;
            (kernels, path) = (handle, File.ResolveLinkTarget(file, returnFinalTarget: true)?.FullName ?? file);
            version = TorchVersion.Check(handle, path);
        }
        return (kernels, path, version);
    }

    /// <summary>Refuses a processor that libtorch's kernels do not run on; said here, because there it is the signal
    /// SIGILL.</summary>
    internal static void CheckProcessor()
    {
        // From the processor itself: .NET's answer can be narrowed by its settings.
        if (X86Base.IsSupported && X86Base.CpuId(0, 0).Eax >= 7)
            CheckProcessor((X86Base.CpuId(7, 0).Ebx & (1 << 5)) != 0);
        else CheckProcessor(hasAvx2: false);
    }

    internal static void CheckProcessor(bool hasAvx2)
    {
        if (hasAvx2) return;
        throw NativeLibraryException.At(
            "processor", "no AVX2",
            "an x86-64 processor with AVX2 (Intel since 2013, AMD since 2015), which libtorch's kernels need",
            "use another machine; in a virtual machine, pass the host's processor through (QEMU: -cpu host)");
    }

    /// <summary>Loads a file, or says in one message what keeps it from loading.</summary>
    internal static nint Open(string file)
    {
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw NativeLibraryException.At(
                file, $"does not load ({Words(error)})", "an undamaged library for this system (glibc 2.34 or later)",
                "run make clean build; peft doctor shows what is in use", error);
        }
    }

    /// <summary>Loads TorchSharp's binding; where libstdc++ is older than its compiler, a copy that does not
    /// insist.</summary>
    internal static nint OpenBinding(string file)
    {
        // Asked before: to try, and fail, takes ten times as long.
        IsMarked = NativeLibrary.TryLoad("libstdc++.so.6", out var standard)
            && !NativeLibrary.TryGetExport(standard, NewSymbol, out _);
        return IsMarked ? OpenMarked(file) : Open(file);
    }

    /// <summary>Loads a marked copy. It lies in memory: nothing on disk can be stale, half written or in a folder that
    /// is read-only, and the package cache stays as it is.</summary>
    internal static nint OpenMarked(string file)
    {
        var image = File.ReadAllBytes(file);
        try
        {
            ElfFile.Weaken(image, NewVersion, NewSymbol);
        }
        catch (InvalidDataException error)
        {
            throw NativeLibraryException.At(
                file, $"{Lacking}, and cannot do without it: {error.Message}",
                advice: $"{NewerSystem} (Debian 13, Ubuntu 24.04)", inner: error);
        }
        var descriptor = Libc.CreateMemoryFile(NativeFiles.Binding, 0);
        if (descriptor < 0)
        {
            throw NativeLibraryException.At(
                file, $"{Lacking}, and a changed copy could not be made in memory (memfd_create: "
                    + $"{Marshal.GetLastPInvokeErrorMessage()})",
                advice: $"allow it (sysctl vm.memfd_noexec=0), or {NewerSystem}");
        }
        using var memory = new FileStream(
            new SafeFileHandle(descriptor, ownsHandle: true), FileAccess.Write, bufferSize: 0);
        // `ulimit -f` is meant for files, but counts this memory too.
        var limit = Libc.LiftFileSizeLimit();
        try
        {
            memory.Write(image);
        }
        catch (Exception error) when (error is IOException or ArgumentOutOfRangeException)
        {
            throw NativeLibraryException.At(
                file, $"{Lacking}, and this shell allows no changed copy of {image.Length:N0} bytes, which counts as "
                    + "a file",
                advice: $"raise the limit (ulimit -f), or {NewerSystem}", inner: error);
        }
        finally
        {
            Libc.SetFileSizeLimit(limit);
        }
        return Open($"/proc/self/fd/{descriptor}");
    }

    // The loader's own words, which follow .NET's advice: "liby.so: cannot open shared object file: No such file or
    // directory".
    private static string Words(Exception error)
    {
        var lines = error.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines[^1];
    }

#pragma warning disable CA2255 // a library's module initializer: it only registers, and so cannot fail
    [ModuleInitializer]
    internal static void Register()
    {
        NativeLibrary.SetDllImportResolver(typeof(NativeLoader).Assembly, Resolve);
        NativeLibrary.SetDllImportResolver(typeof(torch).Assembly, Resolve);
    }
#pragma warning restore CA2255

    // A native call before Start starts everything, too.
    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        var file = $"lib{name}.so";
        if (file is not (NativeFiles.Binding or NativeFiles.Kernels)) return 0;
        TorchRuntime.Start();
        return Loaded[file];
    }
}
