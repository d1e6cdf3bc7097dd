namespace Peft.Prepare.Tests;

/// <summary>
/// A folder with packages of a few lines each, laid out as npm and Debian lay them out; removed at the end.
/// </summary>
internal sealed class SmallPackages : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("peft-prepare-");

    public Places Places => new(Inside("npm"), Inside("cache"), Inside("exc"));

    public InstalledPackages Packages => new(Places.Npm, Places.Exceptions);

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

    /// <summary>Adds the *.exc files of wordnet-base; those that are not given are empty.</summary>
    public SmallPackages Exceptions(params (string Name, string Text)[] files)
    {
        foreach (var name in InstalledPackages.ExceptionFiles)
            Write(Path.Combine(Places.Exceptions, name), files.SingleOrDefault(file => file.Name == name).Text ?? "");
        return this;
    }

    public void Dispose() => _folder.Delete(recursive: true);

    private string Inside(string name) => Path.Combine(_folder.FullName, name);

    private static void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}
