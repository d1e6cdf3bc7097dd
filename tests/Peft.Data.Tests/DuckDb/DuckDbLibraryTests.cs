using Peft.Data.DuckDb;

namespace Peft.Data.Tests.DuckDb;

public class DuckDbLibraryTests
{
    [Fact]
    public void The_library_is_of_version_1() => Assert.StartsWith("v1.", DuckDbLibrary.Version);

    [Fact]
    public void A_missing_library_names_both_ways_to_get_it()
    {
        var error = Assert.Throws<DuckDbLibraryException>(() => DuckDbLibrary.Locate(null, "/nowhere/bin"));
        Assert.Equal(
            "libduckdb.so - not found beside the program (/nowhere/bin) nor in "
            + ".artifacts/npm/node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so above it - DuckDB reads the data files"
            + " - run `make setup`, or set DUCKDB_LIB=/path/to/libduckdb.so",
            error.Message);
    }

    [Fact]
    public void A_wrong_DUCKDB_LIB_is_told_and_not_passed_over()
    {
        var error = Assert.Throws<DuckDbLibraryException>(() => DuckDbLibrary.Locate("/nowhere/libduckdb.so", "/"));
        Assert.Equal(
            "DUCKDB_LIB - /nowhere/libduckdb.so does not exist - the path of libduckdb.so - correct it, or unset it and run `make setup`",
            error.Message);
    }

    [Fact]
    public void A_file_that_is_no_library_is_told()
    {
        using var folder = new TempFolder();
        folder.Write("libduckdb.so", "no library");
        var error = Assert.Throws<DuckDbLibraryException>(() => DuckDbLibrary.Load(folder["libduckdb.so"]));
        Assert.StartsWith($"{folder["libduckdb.so"]} - cannot be loaded: ", error.Message);
        Assert.EndsWith(" - libduckdb.so for linux-x64 - run `make setup`, or set DUCKDB_LIB=/path/to/libduckdb.so", error.Message);
    }

    [Fact]
    public void Another_library_is_not_taken_for_DuckDB()
    {
        var error = Assert.Throws<DuckDbLibraryException>(() => DuckDbLibrary.Load("libc.so.6"));
        Assert.Equal(
            "libc.so.6 - is no DuckDB of version 1 (no duckdb_pending_prepared_streaming) - libduckdb.so for linux-x64"
            + " - run `make setup`, or set DUCKDB_LIB=/path/to/libduckdb.so", error.Message);
    }

    [Fact]
    public void What_setup_installed_is_found_from_below()
    {
        using var folder = new TempFolder();
        var library = ".artifacts/npm/node_modules/@duckdb/node-bindings-linux-x64/libduckdb.so";
        folder.Write(library, "");
        Directory.CreateDirectory(folder["a/b"]);
        Assert.Equal(folder[library], DuckDbLibrary.Locate("", folder["a/b"]));
    }
}
