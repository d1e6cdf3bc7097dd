using Peft.Formats;

namespace Peft.Prepare;

/// <summary>Where the packages are and where the data sets go.</summary>
/// <param name="Npm">The folder that holds <c>node_modules</c>.</param>
/// <param name="Cache">The folder of the data sets.</param>
/// <param name="Exceptions">The folder of WordNet's <c>*.exc</c> files.</param>
internal sealed record Places(string Npm, string Cache, string Exceptions)
{
    private const string NpmVariable = "PEFT_NPM";
    private const string CacheVariable = "PEFT_DATA_CACHE";
    private const string ExceptionsVariable = "WORDNET_EXC";
    private const string DebianFolder = "/usr/share/wordnet";

    /// <summary>Those of this checkout, unless a variable names another.</summary>
    /// <exception cref="UserException">The program stands outside a checkout and not both of its folders are
    /// named.</exception>
    public static Places FromEnvironment() => new(
        Variable(NpmVariable) ?? InCheckout(".artifacts", "npm"),
        Variable(CacheVariable) ?? InCheckout("data", "cache"),
        Variable(ExceptionsVariable) ?? DebianFolder);

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
            $"set {NpmVariable} and {CacheVariable} to run it elsewhere");
    }
}
