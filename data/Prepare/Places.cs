using Peft.Formats;

namespace Peft.Prepare;

/// <summary>Where the packages are and where the data sets go.</summary>
/// <param name="Npm">The folder that holds <c>node_modules</c>.</param>
/// <param name="Debian">The folder that holds the unpacked Debian packages, a folder each.</param>
/// <param name="Cache">The folder of the data sets.</param>
internal sealed record Places(string Npm, string Debian, string Cache)
{
    private const string CacheVariable = "PEFT_DATA_CACHE";

    /// <summary>Those of this checkout, unless a variable names another.</summary>
    /// <exception cref="UserException">The program stands outside a checkout and not all of its folders are
    /// named.</exception>
    public static Places FromEnvironment() => new(
        Variable(InstalledPackages.NpmVariable) ?? InCheckout(".artifacts", "npm"),
        Variable(InstalledPackages.DebianVariable) ?? InCheckout(".artifacts", "debian"),
        Variable(CacheVariable) ?? InCheckout("data", "cache"));

    // An empty variable is one that is not set.
    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private static string InCheckout(params string[] parts)
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "data", "package.json")))
                return Path.GetRelativePath(Environment.CurrentDirectory, Path.Combine([folder, .. parts]));
        }

        throw UserException.At(
            AppContext.BaseDirectory, "is not inside a checkout", "a program built in one",
            $"set {InstalledPackages.NpmVariable}, {InstalledPackages.DebianVariable} and {CacheVariable} to run it "
            + "elsewhere");
    }
}
