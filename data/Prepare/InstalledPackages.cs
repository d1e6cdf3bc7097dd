using System.Text;
using System.Text.Json;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Prepare;

/// <summary>The packages that the data sets are made of, as <c>make setup</c> fetched them.</summary>
/// <param name="npm">The folder that holds <c>node_modules</c>.</param>
/// <param name="debian">The folder that holds the unpacked Debian packages, a folder each.</param>
internal sealed class InstalledPackages(string npm, string debian)
{
    /// <summary>The variables that name other folders.</summary>
    public const string NpmVariable = "PEFT_NPM";
    public const string DebianVariable = "PEFT_DEBIAN";

    private const string SwordComments = "usr/share/sword/modules/comments/zcom";

    /// <summary>The packages that come from Debian, with the files that are read of each.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<string>> OfDebian { get; } =
        new Dictionary<string, IReadOnlyList<string>>
        {
            ["wordnet-base"] = [.. ((string[])["noun", "verb", "adj", "adv"]).Select(ExceptionsOf)],
            ["dict-gcide"] = ["usr/share/dictd/gcide.dict.dz"],
            ["r-cran-janeaustenr"] = [.. ((string[])["rdx", "rdb"]).Select(
                kind => $"usr/lib/R/site-library/janeaustenr/data/Rdata.{kind}")],
            ["sword-comm-mhcc"] = [.. ((string[])["ot.bzs", "ot.bzz", "nt.bzs", "nt.bzz"]).Select(
                file => $"{SwordComments}/mhcc/{file}")],
            ["sword-comm-tdavid"] = [$"{SwordComments}/tdavid/ot.czs", $"{SwordComments}/tdavid/ot.czz"],
        };

    /// <summary>The file of wordnet-base with the irregular forms of a part of speech.</summary>
    public static string ExceptionsOf(string kind) => $"usr/share/wordnet/{kind}.exc";

    /// <summary>The path of a file or folder inside a package.</summary>
    public string PathOf(string package, params string[] parts) => Path.Combine(
        [OfDebian.ContainsKey(package) ? Path.Combine(debian, package) : Path.Combine(npm, "node_modules", package),
            .. parts]);

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

    /// <summary>What a reader makes of the files of a Debian package, in the order of
    /// <see cref="OfDebian"/>.</summary>
    /// <exception cref="UserException">The reader finds that they are not of its format.</exception>
    public T Read<T>(string package, Func<IReadOnlyList<byte[]>, T> reader)
    {
        var files = OfDebian[package];
        try
        {
            return reader([.. files.Select(file => Bytes(package, file))]);
        }
        catch (Exception error) when (error is InvalidDataException or ArgumentOutOfRangeException)
        {
            throw Damaged(package, PathOf(package, files[0]), error);
        }
    }

    /// <summary>Notes what is missing of the packages, all at once.</summary>
    public void Check(IEnumerable<string> packages, Faults faults)
    {
        foreach (var package in packages.Distinct())
        {
            var (files, kind, variable) = OfDebian.TryGetValue(package, out var read)
                ? (read, "Debian", DebianVariable)
                : (["package.json"], "npm", NpmVariable);
            foreach (var path in files.Select(file => PathOf(package, file)).Where(path => !File.Exists(path)))
            {
                var advice = $"run make setup, or set {variable} to its folder";
                faults.Add(path, "missing", $"a file of the {kind} package {package}", advice);
            }
        }
    }

    /// <summary>What decides the content of a package: its version, or of one of Debian the files
    /// themselves.</summary>
    public string Identity(string package)
    {
        if (OfDebian.TryGetValue(package, out var files))
            return string.Join(' ', files.Select(file => Sha256.OfBytes(Bytes(package, file))));
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
