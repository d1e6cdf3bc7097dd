namespace Peft.Tests;

/// <summary>
/// Finds the repository and the shared assets (models, tokenizers, data, vectors) that stand beside it.
/// </summary>
public static class SharedAssets
{
    /// <summary>The folder that holds Peft.sln.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>The shared folder, or null on a machine that has none.</summary>
    public static string? Folder { get; } = FindFolder();

    /// <summary>Path of an asset, e.g. <c>Path("vectors", "models", "llama-gqa")</c>.</summary>
    public static string Path(params string[] parts) =>
        System.IO.Path.Combine([Folder ?? throw new InvalidOperationException("no shared assets here"), .. parts]);

    private static string FindRepository()
    {
        var folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(System.IO.Path.Combine(folder, "Peft.sln")))
            folder = System.IO.Path.GetDirectoryName(folder);
        return folder
            ?? Environment.GetEnvironmentVariable("PEFT_REPOSITORY")
            ?? throw new InvalidOperationException("Peft.sln not found above the test assembly; set PEFT_REPOSITORY");
    }

    private static string? FindFolder()
    {
        var given = Environment.GetEnvironmentVariable("PEFT_SHARED");
        var folder = given ?? System.IO.Path.Combine(Repository, "..", "shared");
        return Directory.Exists(System.IO.Path.Combine(folder, "vectors")) ? System.IO.Path.GetFullPath(folder) : null;
    }
}

/// <summary>A fact that needs the shared assets; reported as skipped, with the reason, where they are absent.</summary>
public sealed class SharedFactAttribute : FactAttribute
{
    public SharedFactAttribute() => Skip = SharedAssets.Folder is null ? SkipReason.Text : null;
}

/// <summary>
/// A theory that needs the shared assets; reported as skipped, with the reason, where they are absent.
/// </summary>
public sealed class SharedTheoryAttribute : TheoryAttribute
{
    public SharedTheoryAttribute() => Skip = SharedAssets.Folder is null ? SkipReason.Text : null;
}

internal static class SkipReason
{
    public const string Text = "needs the shared assets (../shared or PEFT_SHARED), which are not present";
}
