using System.Text;
using System.Text.Json;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Prepare;

/// <summary>The packages that the data sets are made of, as npm and the distribution installed them.</summary>
/// <param name="npm">The folder that holds <c>node_modules</c>.</param>
/// <param name="exceptions">The folder of WordNet's <c>*.exc</c> files.</param>
internal sealed class InstalledPackages(string npm, string exceptions)
{
    /// <summary>The one package that does not come from npm.</summary>
    public const string WordNetBase = "wordnet-base";

    /// <summary>The irregular forms of wordnet-base, with the part of speech that each file is about.</summary>
    public static IReadOnlyList<string> ExceptionFiles { get; } = ["noun.exc", "verb.exc", "adj.exc", "adv.exc"];

    /// <summary>The path of a file or folder inside a package.</summary>
    public string PathOf(string package, params string[] parts) =>
        Path.Combine([package == WordNetBase ? exceptions : Path.Combine(npm, "node_modules", package), .. parts]);

    /// <summary>The files of a folder inside a package, by name in the order of their code units.</summary>
    public IReadOnlyList<string> Files(string package, string folder, string pattern)
    {
        var path = PathOf(package, folder);
        if (!Directory.Exists(path))
            throw Damaged(package, path);
        return [.. Directory.EnumerateFiles(path,
            pattern).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal)];
    }

    /// <summary>
    /// A file of a package as UTF-8, byte order mark and all; bytes that are not UTF-8 become U+FFFD.
    /// </summary>
    public string Text(string package, params string[] parts) => Encoding.UTF8.GetString(Bytes(package, parts));

    /// <summary>A JSON file of a package.</summary>
    public JsonDocument Json(string package, params string[] parts)
    {
        try
        {
            return JsonDocument.Parse(Bytes(package, parts));
        }
        catch (JsonException error)
        {
            throw Damaged(package, PathOf(package, parts), error);
        }
    }

    /// <summary>Notes what is missing of the packages, all at once.</summary>
    public void Check(IEnumerable<string> packages, Faults faults)
    {
        foreach (var package in packages.Distinct())
        {
            var (files, kind, variable) = package == WordNetBase
                ? (ExceptionFiles, "Debian", "WORDNET_EXC")
                : (["package.json"], "npm", "PEFT_NPM");
            foreach (var path in files.Select(file => PathOf(package, file)).Where(path => !File.Exists(path)))
            {
                var advice = $"run make setup, or set {variable} to its folder";
                faults.Add(path, "missing", $"a file of the {kind} package {package}", advice);
            }
        }
    }

    /// <summary>What decides the content of a package: its version, or of wordnet-base the files themselves.</summary>
    public string Identity(string package)
    {
        if (package == WordNetBase)
            return string.Join(' ', ExceptionFiles.Select(file => Sha256.OfBytes(Bytes(package, file))));
        using var description = Json(package, "package.json");
        return $"{package} {description.RootElement.GetProperty("version").GetString()}";
    }

    private byte[] Bytes(string package, params string[] parts)
    {
        var path = PathOf(package, parts);
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception error) when (FileOperationException.Covers(error))
        {
            throw Damaged(package, path, error);
        }
    }

    private static UserException Damaged(string package, string path, Exception? inner = null) => UserException.At(
        path, "missing or damaged", $"a readable file of the package {package}", "install the package again", inner);
}
