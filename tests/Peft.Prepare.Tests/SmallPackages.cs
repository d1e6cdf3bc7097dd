using System.Text;
using Peft.Prepare.Sources;

namespace Peft.Prepare.Tests;

/// <summary>
/// A folder with packages of a few lines each, laid out as npm and Debian lay them out; removed at the end.
/// </summary>
internal sealed class SmallPackages : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("peft-prepare-");

    public Places Places => new(Inside("npm"), Inside("debian"), Inside("cache"));

    public InstalledPackages Packages => new(Places.Npm, Places.Debian);

    /// <summary>Adds an npm package: its version and its files.</summary>
    public SmallPackages Npm(string package, string version, params (string Path, string Text)[] files)
    {
        var folder = Path.Combine(Places.Npm, "node_modules", package);
        foreach (
            var (path,
            text) in files.Prepend(("package.json", $$"""{"name": "{{package}}", "version": "{{version}}"}""")))
            Write(Path.Combine(folder, path), text);
        return this;
    }

    /// <summary>Adds a Debian package, all of the files that are read of it.</summary>
    public SmallPackages Debian(string package, params byte[][] files)
    {
        foreach (var (file, bytes) in InstalledPackages.OfDebian[package].Zip(files, ValueTuple.Create))
            Write(Path.Combine(Places.Debian, package, file), bytes);
        return this;
    }

    /// <summary>Adds the *.exc files of wordnet-base; those that are not given are empty.</summary>
    public SmallPackages Exceptions(params (string Name, string Text)[] files) => Debian(
        WordNet.ExceptionsPackage,
        [.. from path in InstalledPackages.OfDebian[WordNet.ExceptionsPackage]
            let text = files.SingleOrDefault(file => file.Name == Path.GetFileName(path)).Text ?? ""
            select Encoding.UTF8.GetBytes(text)]);

    public void Dispose() => _folder.Delete(recursive: true);

    private string Inside(string name) => Path.Combine(_folder.FullName, name);

    private static void Write(string path, string text) => Write(path, Encoding.UTF8.GetBytes(text));

    private static void Write(string path, byte[] bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
    }
}
