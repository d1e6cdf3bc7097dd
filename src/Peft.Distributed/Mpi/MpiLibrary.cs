using System.Runtime.InteropServices;
using System.Text;
using Peft.Formats;

namespace Peft.Distributed.Mpi;

/// <summary>The functions and handles of an MPI that was opened at run time.</summary>
/// <remarks>
/// Source: Open MPI 4.1 mpi.h (handles are addresses of exported data), MPICH 4.0 mpi.h (handles are 32-bit numbers),
/// MPI 5.0 chapter 20 (the standard's own numbers). A handle is passed as 64 bits whatever its type: of a 32-bit
/// number a C function reads the lower half.
/// </remarks>
internal sealed unsafe partial class MpiLibrary
{
    private const int Now = 2;       // RTLD_NOW
    private const int Global = 256;  // RTLD_GLOBAL: Open MPI opens plugins that need its symbols

    private readonly nint _library;

    private MpiLibrary(nint library, string file)
    {
        (_library, File) = (library, file);
        Version = ReadVersion();
        Abi = Has("MPI_Abi_get_version") ? MpiAbi.Standard
            : Has("ompi_mpi_comm_world") ? MpiAbi.OpenMpi : MpiAbi.Mpich;
        var handles = Handles();
        (World, Float, Double, Byte, Sum, Errors) =
            (handles[0], handles[1], handles[2], handles[3], handles[4], handles[5]);
        (InPlace, NoStatus) = Abi == MpiAbi.Mpich ? (-1, 1) : ((nint)1, (nint)0);
    }

    /// <summary>The file that was opened.</summary>
    public string File { get; }

    /// <summary>The first line of what the library says of itself.</summary>
    public string Version { get; }

    /// <summary>Which binary interface it has.</summary>
    public MpiAbi Abi { get; }

    public nint World { get; }

    public nint Float { get; }

    public nint Double { get; }

    public nint Byte { get; }

    public nint Sum { get; }

    public nint Errors { get; }

    public nint InPlace { get; }

    public nint NoStatus { get; }

    /// <summary>Opens the first of the files that is there.</summary>
    /// <returns>The library; null where none is there, with the loader's words on each.</returns>
    public static MpiLibrary? Open(IEnumerable<string> files, out string words)
    {
        var said = new List<string>();
        foreach (var file in files)
        {
            var library = dlopen(file, Now | Global);
            if (library != 0)
            {
                words = "";
                return new MpiLibrary(library, file);
            }
            said.Add(Marshal.PtrToStringUTF8(dlerror()) ?? file);
        }
        words = string.Join("; ", said);
        return null;
    }

    /// <summary>The files of a family, best first; the standard's own last, which either may be.</summary>
    public static IReadOnlyList<string> FilesOf(MpiFamily family) => family == MpiFamily.OpenMpi
        ? ["libmpi.so.40", "libmpi.so.80", "libmpi_abi.so.0", "libmpi_abi.so"]
        : ["libmpich.so.12", "libmpi.so.12", "libmpi_cray.so.12", "libmpi_abi.so.0", "libmpi_abi.so"];

    /// <summary>The address of a function.</summary>
    /// <exception cref="UserException">The library has none of that name.</exception>
    public nint Function(string name) => NativeLibrary.TryGetExport(_library, name, out var address)
        ? address
        : throw UserException.At(File, $"has no {name}", "an MPI of version 3 or later",
            $"set {MpiCommunicator.Variable} to the library of another one");

    private bool Has(string name) => NativeLibrary.TryGetExport(_library, name, out _);

    private nint[] Handles()
    {
        string[] names = ["comm_world", "float", "double", "byte", "op_sum", "errors_return"];
        return Abi switch
        {
            MpiAbi.OpenMpi => [.. names.Select(name => Function($"ompi_mpi_{name}"))],
            MpiAbi.Mpich => [0x44000000, 0x4c00040a, 0x4c00080b, 0x4c00010d, 0x58000003, 0x54000001],
            _ => [0x101, 0x210, 0x214, 0x247, 0x21, 0x143],
        };
    }

    // Allowed before MPI_Init.
    private string ReadVersion()
    {
        const int Longest = 8192;
        var text = new byte[Longest];
        var length = 0;
        fixed (byte* first = text)
        {
            var ask = (delegate* unmanaged<byte*, int*, int>)Function("MPI_Get_library_version");
            _ = ask(first, &length);
        }
        return Encoding.UTF8.GetString(text, 0, Math.Clamp(length, 0, Longest)).Split('\n', '\0', ',')[0]
            .Replace('\t', ' ').Trim();
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint dlopen(string file, int flags);

    [LibraryImport("libc")]
    private static partial nint dlerror();
}

/// <summary>The binary interfaces of MPI that there are.</summary>
internal enum MpiAbi
{
    OpenMpi,
    Mpich,
    Standard,
}
