namespace Peft.Cli.Tests.Support;

/// <summary>A folder for one test, where the program is started.</summary>
internal sealed class TempFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("peft-cli-").FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    /// <summary>Writes a file.</summary>
    public void Write(string name, string text)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(this[name])!);
        File.WriteAllText(this[name], text);
    }

    /// <summary>Copies the files of a folder, not its folders.</summary>
    public void Copy(string folder, string name)
    {
        Directory.CreateDirectory(this[name]);
        foreach (var file in Directory.GetFiles(folder))
            File.Copy(file, System.IO.Path.Combine(this[name], System.IO.Path.GetFileName(file)));
    }

    /// <summary>Every file with its bytes' hash, sorted: equal when nothing was changed.</summary>
    public string Snapshot(string name = "") => string.Join('\n', Directory
        .EnumerateFiles(this[name], "*", SearchOption.AllDirectories)
        .Select(file => $"{System.IO.Path.GetRelativePath(Path, file)} {Formats.Files.Sha256.OfFile(file)}")
        .Order(StringComparer.Ordinal));

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
