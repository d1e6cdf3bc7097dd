using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Peft.Architecture.Tests;

/// <summary>References between the rooms go one way only.</summary>
public sealed partial class ReferenceDirectionTests
{
    // Formats, Torch and Jinja know nobody; Chat knows Jinja and Formats; Distributed: Formats;
    // Data: Chat, Formats; Models: Torch,
    // Formats; Adapters: Models,
    // Torch, Formats;
    // Training and Evaluation: Adapters, Models, Data, Distributed, Torch, Formats, and not each other;
    // Recipes: all of these; Cli: Recipes and what it prints.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Formats"] = [],
        ["Torch"] = [],
        ["Jinja"] = [],
        ["Distributed"] = ["Formats"],
        ["Chat"] = ["Jinja", "Formats"],
        ["Data"] = ["Chat", "Jinja", "Formats"],
        ["Models"] = ["Torch", "Formats"],
        ["Adapters"] = ["Models", "Torch", "Formats"],
        ["Training"] = ["Adapters", "Models", "Data", "Distributed", "Torch", "Chat", "Jinja", "Formats"],
        ["Evaluation"] =
            ["Adapters", "Models", "Data", "Distributed", "Torch", "Chat", "Jinja", "Formats"],
        ["Recipes"] =
            ["Training", "Evaluation", "Adapters", "Models", "Data", "Distributed", "Torch", "Chat", "Jinja",
                "Formats"],
        ["Cli"] =
            ["Recipes", "Training", "Evaluation", "Adapters", "Models", "Data", "Distributed", "Torch", "Chat", "Jinja",
                "Formats"],
    };

    public static TheoryData<string> Rooms => [.. Allowed.Keys];

    [Fact]
    public void Every_room_is_in_the_table()
    {
        var rooms = Directory.EnumerateDirectories(Path.Combine(SharedAssets.Repository, "src"))
            .Select(folder => Path.GetFileName(folder).Replace("Peft.", "", StringComparison.Ordinal))
            .Order();
        Assert.Equal(Allowed.Keys.Order(), rooms);
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_project_references_only_the_rooms_below_it(string room)
    {
        var references = ReferencesOf($"src/Peft.{room}/Peft.{room}.csproj").ToList();
        Assert.All(references, reference => Assert.Contains(reference, Allowed[room]));
        Assert.Equal(references.Distinct(), references);
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_source_file_uses_only_the_namespaces_of_the_rooms_below_it(string room)
    {
        // Project references are transitive, so the project file alone does not keep a room honest.
        string[] allowed = [room, .. Allowed[room]];
        var findings =
            from file in RepositoryFiles.Below($"src/Peft.{room}", ".cs")
            from match in UsedRoom().Matches(RepositoryFiles.Text(file))
            where Allowed.ContainsKey(match.Groups[1].Value) && !allowed.Contains(match.Groups[1].Value)
            select $"{file}: {match.Value.Trim()}";
        RepositoryFiles.AssertNone(findings, $"Peft.{room} may use: {string.Join(", ", allowed)}");
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void Every_room_has_a_test_project_that_references_it(string room)
    {
        var project = $"tests/Peft.{room}.Tests/Peft.{room}.Tests.csproj";
        Assert.True(RepositoryFiles.Exists(project), $"{project} is missing");
        Assert.Contains(room, ReferencesOf(project));
    }

    [Theory]
    [InlineData("Peft.slnx")]
    [InlineData("Peft.sln")]
    public void Every_project_is_in_the_solution(string file)
    {
        var listed = ProjectPath().Matches(RepositoryFiles.Text(file).Replace('\\', '/')).Select(
            match => match.Value).Distinct().Order();
        string[] projects = [.. RepositoryFiles.Below("", ".csproj")];
        Assert.Equal(projects.Order(), listed);
    }

    private static IEnumerable<string> ReferencesOf(string project) =>
        XDocument.Parse(RepositoryFiles.Text(project)).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(
            reference.Attribute("Include")!.Value.Replace('\\', '/')))
            .Select(name => name.Replace("Peft.", "", StringComparison.Ordinal));

    [GeneratedRegex(@"[\w./]+\.csproj")]
    private static partial Regex ProjectPath();

    [GeneratedRegex(@"^\s*(?:global\s+)?using\s+(?:static\s+)?(?:\w+\s*=\s*)?(?:global::)?Peft\.(\w+)",
        RegexOptions.Multiline)]
    private static partial Regex UsedRoom();
}
