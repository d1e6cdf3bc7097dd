using System.Reflection;
using System.Runtime.InteropServices;

namespace Peft.Data.DuckDb;

/// <summary>Finds and loads libduckdb.so once: <c>DUCKDB_LIB</c>, beside the program, then what <c>make setup</c> installed.</summary>
public static class DuckDbLibrary
{
    /// <summary>The name that the imports use.</summary>
    internal const string Name = "duckdb";

    private const string FileName = "libduckdb.so";
    private const string Variable = "DUCKDB_LIB";
    private const string NewestImport = "duckdb_pending_prepared_streaming";
    private static readonly string Installed =
        Path.Combine(".artifacts", "npm", "node_modules", "@duckdb", "node-bindings-linux-x64", FileName);

    private static readonly Lock Gate = new();
    private static nint s_handle;
    private static bool s_resolverIsSet;

    /// <summary>DuckDB's version, such as <c>v1.5.6</c>.</summary>
    /// <exception cref="DuckDbLibraryException">The library is missing or cannot be loaded.</exception>
    public static string Version
    {
        get
        {
            EnsureLoaded();
            return Marshal.PtrToStringUTF8(NativeMethods.duckdb_library_version()) ?? "unknown";
        }
    }

    /// <summary>The file that is, or would be, loaded.</summary>
    /// <exception cref="DuckDbLibraryException">There is none.</exception>
    public static string Locate() => Locate(Environment.GetEnvironmentVariable(Variable), AppContext.BaseDirectory);

    /// <summary>Loads the library; does nothing when that is done.</summary>
    /// <exception cref="DuckDbLibraryException">The library is missing or cannot be loaded.</exception>
    public static void EnsureLoaded()
    {
        lock (Gate)
        {
            if (s_handle != 0)
                return;
            s_handle = Load(Locate());
            if (!s_resolverIsSet)
                NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), Resolve);
            s_resolverIsSet = true;
        }
    }

    internal static string Locate(string? given, string programFolder)
    {
        if (!string.IsNullOrEmpty(given))
        {
            return File.Exists(given)
                ? given
                : throw new DuckDbLibraryException(
                    $"{Variable} - {given} does not exist - the path of {FileName} - correct it, or unset it and run `make setup`");
        }

        var beside = Path.Combine(programFolder, FileName);
        if (File.Exists(beside))
            return beside;
        for (var folder = programFolder; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            var installed = Path.Combine(folder, Installed);
            if (File.Exists(installed))
                return installed;
        }

        throw new DuckDbLibraryException(
            $"{FileName} - not found beside the program ({programFolder}) nor in {Installed} above it - DuckDB reads the data files"
            + $" - run `make setup`, or set {Variable}=/path/to/{FileName}");
    }

    internal static nint Load(string path)
    {
        try
        {
            var library = NativeLibrary.Load(path);
            return NativeLibrary.TryGetExport(library, NewestImport, out _)
                ? library
                : throw new DuckDbLibraryException(
                    $"{path} - is no DuckDB of version 1 (no {NewestImport}) - {FileName} for linux-x64"
                    + $" - run `make setup`, or set {Variable}=/path/to/{FileName}");
        }
        catch (Exception error) when (error is DllNotFoundException or BadImageFormatException)
        {
            throw new DuckDbLibraryException(
                $"{path} - cannot be loaded: {error.Message.Split('\n')[0].Trim()} - {FileName} for linux-x64"
                + $" - run `make setup`, or set {Variable}=/path/to/{FileName}",
                error);
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? search) => name == Name ? s_handle : 0;
}
