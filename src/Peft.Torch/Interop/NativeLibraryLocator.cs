using System.Reflection;
using System.Runtime.InteropServices;

namespace Peft.Torch.Interop;

/// <summary>Finds, loads and checks libpeft_torch.so, and puts the right BLAS in place before it.</summary>
internal static class NativeLibraryLocator
{
    /// <summary>PT_ABI_VERSION of the peft_torch.h these imports were written for.</summary>
    internal const int ExpectedAbi = 2;

    /// <summary>The variable that names a library built elsewhere.</summary>
    internal const string PathVariable = "PEFT_TORCH_NATIVE";

    private const string FileName = "libpeft_torch.so";

    // OpenBLAS's OpenMP build, under these names: libtorch's own loops run on OpenMP, and a second pool of threads
    // beside it
    // costs a factor of two to three. Debian keeps it apart from the build that the alternatives may point to.
    private static readonly string[] BlasNames = ["libopenblas.so.0", "libblas.so.3", "liblapack.so.3"];

    private static readonly Lock Gate = new();
    private static nint _library;

    /// <summary>The folder of the BLAS that was put in place; null where the system's own choice stands.</summary>
    internal static string? BlasFolder { get; private set; }

    /// <summary>The file that was loaded; null before.</summary>
    internal static string? LoadedFile { get; private set; }

    /// <summary>Makes the imports of this assembly resolve through <see cref="Load"/>.</summary>
    internal static void Register() =>
        NativeLibrary.SetDllImportResolver(typeof(NativeLibraryLocator).Assembly, Resolve);

    /// <summary>The library's handle; loaded and checked at the first call.</summary>
    /// <exception cref="NativeLibraryException">It is missing, does not load, or is of another version.</exception>
    internal static nint Load()
    {
        lock (Gate)
        {
            if (_library != 0) return _library;
            var file = Find(Environment.GetEnvironmentVariable(PathVariable), AppContext.BaseDirectory);
            PreloadBlas();
            var library = Open(file);
            Check(library, file);
            LoadedFile = file;
            _library = library;
            return library;
        }
    }

    /// <summary>The file to load: the variable's, else the one beside the program.</summary>
    internal static string Find(string? variable, string folder)
    {
        if (!string.IsNullOrEmpty(variable))
        {
            if (File.Exists(variable)) return Path.GetFullPath(variable);
            throw new NativeLibraryException(
                $"{PathVariable} - names '{variable}', which does not exist - allowed: the path of a {FileName} - "
                + "correct the variable, or unset it to use the library beside the program");
        }

        var beside = Path.Combine(folder, FileName);
        if (File.Exists(beside)) return beside;
        throw new NativeLibraryException(
            $"{FileName} - not found beside the program ({folder}) - expected: the native library that the build puts there - "
            + $"run: make setup build; or set {PathVariable} to the path of one");
    }

    /// <summary>Loads a file, or says what it lacks.</summary>
    internal static nint Open(string file)
    {
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new NativeLibraryException(
                $"{file} - does not load: {FirstLine(error.Message)} - expected: libtorch 1.13 or newer, the one the library was "
                + "built against - run: make setup (installs libtorch); or set LIBTORCH to the folder of a libtorch and run: "
                + "make build", error);
        }
    }

    /// <summary>Compares the versions found with the expected ones.</summary>
    internal static unsafe void Check(nint library, string file)
    {
        if (!NativeLibrary.TryGetExport(library, "pt_abi_version", out var abiAddress)
            || !NativeLibrary.TryGetExport(library, "pt_libtorch_version", out var torchAddress))
        {
            throw new NativeLibraryException(
                $"{file} - is not Peft's native library (no pt_abi_version) - expected: {FileName} - run: make build; "
                + $"or correct {PathVariable}");
        }

        int abi, torchVersion;
        _ = ((delegate* unmanaged<int*, int>)abiAddress)(&abi);
        _ = ((delegate* unmanaged<int*, int>)torchAddress)(&torchVersion);
        CheckVersions(file, abi, torchVersion);
    }

    /// <summary>Refuses another interface version, and a libtorch outside the range the shim is written for.</summary>
    internal static void CheckVersions(string file, int abi, int torchVersion)
    {
        if (abi != ExpectedAbi)
        {
            throw new NativeLibraryException(
                $"{file} - found: interface version {abi} - expected: {ExpectedAbi} - the library is from another build: "
                + $"run: make clean build; or unset {PathVariable}");
        }

        if (torchVersion is < 11300 or >= 30000)
        {
            throw new NativeLibraryException(
                $"{file} - found: libtorch {FormatVersion(torchVersion)} - expected: 1.13 to 2.x - run: make setup; "
                + "or set LIBTORCH to the folder of a libtorch of such a version and run: make build");
        }
    }

    /// <summary>11301 becomes "1.13.1".</summary>
    internal static string FormatVersion(int version) => $"{version / 10000}.{version / 100 % 100}.{version % 100}";

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path) =>
        name == NativeMethods.Library ? Load() : 0;

    // A library that is already loaded under a name is taken when libtorch asks for that name.
    private static void PreloadBlas()
    {
        var architecture = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "aarch64" : "x86_64";
        var folder = $"/usr/lib/{architecture}-linux-gnu/openblas-openmp";
        if (!Directory.Exists(folder)) return;
        foreach (var name in BlasNames)
        {
            var file = Path.Combine(folder, name);
            if (File.Exists(file) && NativeLibrary.TryLoad(file, out _)) BlasFolder = folder;
        }
    }

    private static string FirstLine(string text) => text.Split('\n', 2)[0].TrimEnd();
}
