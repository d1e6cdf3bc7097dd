using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Peft.Architecture.Tests;

/// <summary>Every recipe is YAML; what its keys mean is tested with the recipe schema.</summary>
public sealed class RecipeFileTests
{
    [Fact]
    public void The_recipe_that_make_train_runs_exists() => Assert.True(RepositoryFiles.Exists("recipes/default.yaml"));

    [Fact]
    public void Every_recipe_is_one_yaml_mapping() =>
        RepositoryFiles.AssertNone(RepositoryFiles.Below("recipes", ".yaml", ".yml").Select(FaultOf).OfType<string>(),
            "recipes that do not parse:");

    [Fact]
    public void Recipes_end_in_yaml() =>
        Assert.DoesNotContain(
            RepositoryFiles.Below("recipes").Where(
                file => !file.StartsWith("recipes/results/", StringComparison.Ordinal)),
            file => Path.GetExtension(file) is not (".yaml" or ".md"));

    private static string? FaultOf(string file)
    {
        var stream = new YamlStream();
        try
        {
            stream.Load(new StringReader(RepositoryFiles.Text(file)));
        }
        catch (YamlException error)
        {
            return $"{file}:{error.Start.Line}: {error.Message}";
        }
        return stream.Documents is [{ RootNode: YamlMappingNode }] ? null : $"{file}: not one mapping";
    }
}
