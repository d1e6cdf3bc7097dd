using Peft.Adapters.Lora;

namespace Peft.Adapters.Bundles;

/// <summary>What goes into a bundle.</summary>
public sealed record BundleContents
{
    /// <summary>The trained model.</summary>
    public required AdaptedModel Adapted { get; init; }

    /// <summary>Its base.</summary>
    public required BaseIdentity Base { get; init; }

    /// <summary>The recipe with every default filled in, as YAML; null where there was no recipe (an import).</summary>
    public string? ResolvedRecipe { get; init; }

    /// <summary>The data files.</summary>
    public IReadOnlyList<DataIdentity> Data { get; init; } = [];

    /// <summary>The manifest of the bundle that is written again, as it was; null where the others here say what it is.</summary>
    public BundleManifest? Earlier { get; init; }

    /// <summary>Seed of the run.</summary>
    public long Seed { get; init; }

    /// <summary>Versions of the programs that made it.</summary>
    /// <value>Default: this assembly's and libtorch's.</value>
    public IReadOnlyList<KeyValuePair<string, string>> Versions { get; init; } = OwnVersions;

    /// <summary>This assembly's version and libtorch's.</summary>
    public static IReadOnlyList<KeyValuePair<string, string>> OwnVersions =>
    [
        KeyValuePair.Create("peft", typeof(BundleContents).Assembly.GetName().Version?.ToString(3) ?? "unknown"),
        KeyValuePair.Create("libtorch", torch.__version__),
    ];
}
