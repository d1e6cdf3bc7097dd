namespace Peft.Tests;

/// <summary>The checkpoints of the shared vectors, as they lie there.</summary>
public static class VectorModels
{
    /// <summary>Those of architectures that this program refuses.</summary>
    public static readonly IReadOnlyList<string> Refused = ["models/mamba", "models/t5-gated", "models/t5-tied"];

    /// <summary>All others, as <c>models/NAME</c> or <c>models-2/NAME</c>.</summary>
    public static TheoryData<string> Names => [.. Readable];

    /// <summary>The same as plain names.</summary>
    public static IEnumerable<string> Readable => All.Except(Refused);

    /// <summary>Those of <c>models-2</c>, with padded rows and gradients of the first loss.</summary>
    public static TheoryData<string> Newer => [.. Readable.Where(IsNewer)];

    /// <summary>Whether a checkpoint is one of <c>models-2</c>.</summary>
    public static bool IsNewer(string name) => name.StartsWith("models-2/", StringComparison.Ordinal);

    private static IEnumerable<string> All => SharedAssets.Folder is null
        ? ["none"]
        : new[] { "models", "models-2" }.SelectMany(set => Directory.GetDirectories(SharedAssets.Path("vectors", set))
            .Select(folder => $"{set}/{Path.GetFileName(folder)}").Order(StringComparer.Ordinal));

    /// <summary>A checkpoint's folder.</summary>
    public static string Folder(string name) => SharedAssets.Path(["vectors", .. name.Split('/')]);
}
