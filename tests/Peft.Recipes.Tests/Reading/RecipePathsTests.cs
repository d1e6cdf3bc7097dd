using Peft.Recipes.Reading;
using Peft.Recipes.Tests.Support;

namespace Peft.Recipes.Tests.Reading;

public sealed class RecipePathsTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly RecipePaths _paths;

    public RecipePathsTests()
    {
        _folder.Write("project/.git/HEAD", "");
        _folder.Write("project/recipes/deep/r.yaml", "");
        _folder.Write("project/data/tasks/rows.jsonl", "{}");
        _folder.Write("project/recipes/local.jsonl", "{}");
        _paths = new RecipePaths(_folder["project/recipes/deep/r.yaml"]);
    }

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("data/tasks/rows.jsonl", "project/data/tasks/rows.jsonl")]
    [InlineData("data/tasks", "project/data/tasks")]
    [InlineData("local.jsonl", "project/recipes/local.jsonl")]
    [InlineData("r.yaml", "project/recipes/deep/r.yaml")]
    [InlineData("data/tasks/*.jsonl", "project/data/tasks/*.jsonl")]
    [InlineData("data/**/*.jsonl", "project/data/**/*.jsonl")]
    [InlineData("tasks/rows.jsonl", null)]
    [InlineData("nowhere/*.jsonl", null)]
    public void A_relative_path_is_found_beside_the_recipe_or_above_it(string path, string? found) =>
        Assert.Equal(found is null ? path : _folder[found], _paths.Resolve(path));

    [Fact]
    public void Folders_above_are_looked_in_up_to_the_root_of_the_repository()
    {
        var here = Directory.GetCurrentDirectory();
        Assert.Equal([here, _folder["project/recipes/deep"], _folder["project/recipes"], _folder["project"]],
            _paths.Folders);
        Assert.Equal([here, _folder["loose/recipes"]], new RecipePaths(_folder["loose/recipes/r.yaml"]).Folders);
        _folder.Write("checkout/Peft.sln", "");
        Assert.Equal([here, _folder["checkout/recipes"], _folder["checkout"]],
            new RecipePaths(_folder["checkout/recipes/r.yaml"]).Folders);
    }

    [Fact]
    public void An_output_with_a_dot_starts_from_the_recipes_folder_and_any_other_from_the_working_directory()
    {
        Assert.Equal(_folder["project/recipes/deep/adapter"], _paths.OutputOf("./adapter"));
        Assert.Equal(_folder["project/recipes/adapter"], _paths.OutputOf("../adapter"));
        Assert.Equal("adapters/r", _paths.OutputOf("adapters/r"));
        Assert.Equal("/tmp/a", _paths.OutputOf("/tmp/a"));
        Assert.Equal("sub/adapter", new RecipePaths("sub/r.yaml").OutputOf("./adapter"));
        Assert.Equal("adapter", new RecipePaths("r.yaml").OutputOf("./adapter"));
    }

    [Fact]
    public void The_nearest_folder_wins()
    {
        _folder.Write("project/recipes/data/tasks/rows.jsonl", "{}");
        Assert.Equal(_folder["project/recipes/data/tasks/rows.jsonl"], _paths.Resolve("data/tasks/rows.jsonl"));
    }

    [Fact]
    public void The_working_directory_comes_first()
    {
        var here = Path.GetFileName(Directory.GetFiles(Directory.GetCurrentDirectory()).First());
        _folder.Write($"project/recipes/deep/{here}", "");
        Assert.Equal(here, _paths.Resolve(here));
    }

    [Fact]
    public void Base_directories_come_before_everything_else()
    {
        _folder.Write("other/.git", "");
        _folder.Write("other/data/tasks/rows.jsonl", "{}");
        _folder.Write("other/below/x.jsonl", "{}");
        var paths = new RecipePaths(_folder["project/recipes/deep/r.yaml"], [_folder["gone"], _folder["other/below"]]);
        Assert.Equal(_folder["other/below/x.jsonl"], paths.Resolve("x.jsonl"));
        Assert.Equal(_folder["other/data/tasks/rows.jsonl"], paths.Resolve("data/tasks/rows.jsonl"));
        Assert.Equal(_folder["project/recipes/local.jsonl"], paths.Resolve("local.jsonl"));
        Assert.Equal([_folder["gone"], _folder["other/below"]], paths.BaseDirectories);
        Assert.Equal([Directory.GetCurrentDirectory(), _folder["project/recipes/deep"]], _paths.BaseDirectories);
    }

    [Fact]
    public void An_absolute_path_is_taken_as_it_is()
    {
        Assert.Equal("/no/such/file", _paths.Resolve("/no/such/file"));
        Assert.Equal(_folder.Path, _paths.Resolve(_folder.Path));
    }

    [Fact]
    public void Without_a_recipe_a_path_stays_as_it_was_written() =>
        Assert.Equal("no/such", new RecipePaths(null).Resolve("no/such"));
}
