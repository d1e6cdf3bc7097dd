using Peft.Formats.Configuration;
using Peft.Recipes.Reading;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests;

/// <summary>The recipes that come with the program.</summary>
public sealed class RecipeFilesTests
{
    private static string Folder => Path.Combine(SharedAssets.Repository, "recipes");

    public static TheoryData<string> Recipes =>
        [.. Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    public static TheoryData<string> Fragments =>
        [.. Directory.GetFiles(Path.Combine(Folder, "base"),
            "*.yaml").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Recipes))]
    public void Every_recipe_is_valid_and_its_resolved_form_reads_as_itself(string name)
    {
        using var folder = new TempFolder();
        var recipe = Recipe.Load(Path.Combine(Folder, name), []);
        var resolved = ConfigText.ToYaml(recipe.Resolved);

        Assert.NotEmpty(recipe.Data.Train);
        Assert.Equal(resolved, ConfigText.ToYaml(Recipe.Load(folder.Write("resolved.yaml", resolved), []).Resolved));
    }

    [Theory]
    [MemberData(nameof(Fragments))]
    public void Every_fragment_parses_and_is_in_the_list_of_the_readme(string name)
    {
        Assert.NotEqual(0, RecipeLoader.Load(Path.Combine(Folder, "base", name), []).Count);
        Assert.Single(
            File.ReadLines(Path.Combine(Folder, "README.md")),
            line => line.StartsWith($"| `{name}` |", StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Fragments))]
    public void With_an_adapter_a_fragment_measures_the_tasks_that_it_trains(string name)
    {
        var recipe = Recipe.Load(
            Path.Combine(Folder, "base", name), ["adapter={method: lora, target_modules: all-linear}"]);
        var names = recipe.Data.Train.Select(set => set.Name).ToList();
        Assert.NotEmpty(names);
        Assert.Equal(names, recipe.Data.Eval.Select(set => set.Name));
        Assert.Equal(names, recipe.Evaluation.Tasks!.Select(task => task.Name));
    }
}
