using System.Text.RegularExpressions;

namespace Peft.Architecture.Tests;

/// <summary>The targets of the Makefile, in its order.</summary>
internal static partial class MakefileTargets
{
    public static IReadOnlyList<string> Names { get; } =
        [.. RepositoryFiles.Lines("Makefile").Select(line => Target().Match(line)).Where(match => match.Success).Select(
            match => match.Groups[1].Value)];

    [GeneratedRegex(@"^([a-z][a-z-]*):(?!=)")]
    private static partial Regex Target();
}
