namespace Peft.Torch.Tests.Natives;

/// <summary>A folder with a folder of natives in it: links to the real ones, for a test to break.</summary>
internal sealed class TempNatives : IDisposable
{
    /// <summary>The program's folder.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("peft-natives-").FullName;

    /// <summary>The folder of natives.</summary>
    public string Natives => Path.Combine(Folder, "natives");

    public TempNatives()
    {
        Directory.CreateDirectory(Natives);
        foreach (var file in Directory.GetFiles(Real)) File.CreateSymbolicLink(this[Path.GetFileName(file)], file);
    }

    /// <summary>The folder that this program uses.</summary>
    public static string Real => NativeFiles.FindFolder(AppContext.BaseDirectory);

    /// <summary>A file in the folder of natives.</summary>
    public string this[string name] => Path.Combine(Natives, name);

    /// <summary>Puts these bytes in place of a link.</summary>
    public void Replace(string name, byte[] content)
    {
        File.Delete(this[name]);
        File.WriteAllBytes(this[name], content);
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
