using CommandLine;
using Peft.Adapters.Bundles;
using Peft.Cli.Printing;
using Peft.Recipes;
using Peft.Torch;

namespace Peft.Cli.Verbs;

/// <summary>Checks a bundle: hashes, keys, shapes, finite numbers, and that it fits its base.</summary>
[Verb("adapter-verify", HelpText = "Checks a bundle: hashes, keys, shapes, NaN, and that it fits its base.")]
public sealed class VerifyVerb : IVerb
{
    /// <summary>The bundle.</summary>
    [Value(0, MetaName = "DIR", Required = true, HelpText = "A bundle.")]
    public string Directory { get; set; } = "";

    /// <summary>The base.</summary>
    [Option("base", MetaValue = "DIR", HelpText = "Base model (default: the one the bundle names).")]
    public string? Base { get; set; }

    /// <inheritdoc/>
    public int Run(Output output)
    {
        output.Result(Check(Directory, Base));
        return ExitCode.Done;
    }

    /// <summary>Checks a bundle and says what it is.</summary>
    /// <exception cref="Formats.UserException">Anything is wrong with it.</exception>
    public static string Check(string directory, string? baseDirectory)
    {
        var manifest = BundleReader.Load(directory).Manifest;
        using var loaded = LoadedModel.Open(baseDirectory, directory, "float32", torch.CPU);
        return $"{directory}: intact - {manifest.Files.Count} files, {manifest.TrainableParameters:N0} trained values, fits {loaded.BaseDirectory}";
    }
}
