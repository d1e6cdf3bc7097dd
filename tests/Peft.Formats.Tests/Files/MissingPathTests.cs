using Peft.Formats.Files;

namespace Peft.Formats.Tests.Files;

public sealed class MissingPathTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public MissingPathTests()
    {
        _folder.Put("recipes/default.yaml", "");
        _folder.Put("recipes/small/lora.yaml", "");
        _folder.Put("recipes/e.yaml", "");
        _folder.Put("data/train.jsonl", "");
    }

    public void Dispose() => _folder.Dispose();

    private string Advice(string path) =>
        MissingPath.Advice(_folder.At(path)).Replace(_folder.Path, "DIR", StringComparison.Ordinal);

    [Theory]
    [InlineData("recipes/defualt.yaml", "did you mean DIR/recipes/default.yaml?")]
    [InlineData("recipe/default.yml", "did you mean DIR/recipes/default.yaml?")]
    [InlineData("recipes/default", "did you mean DIR/recipes/default.yaml?")]
    [InlineData("Recipes/Small/lora.yaml", "did you mean DIR/recipes/small/lora.yaml?")]
    [InlineData("dta", "did you mean DIR/data?")]
    [InlineData("recipes/qqqqqq.yaml", "check the path")]
    [InlineData("recipes/nope.yaml", "check the path")]
    [InlineData("nowhere/at/all", "check the path")]
    [InlineData("data/train.jsonl", "DIR/data/train.jsonl is a file")]
    public void The_nearest_path_that_exists_is_named(string path, string advice) => Assert.Equal(advice, Advice(path));

    [Fact]
    public void A_name_is_found_one_folder_below() => Assert.Equal(
        _folder.At("recipes", "default.yaml"), MissingPath.Nearest("default", _folder.Path));

    [Fact]
    public void Every_folder_that_was_looked_in_is_named()
    {
        string[] folders = [_folder.At("recipes"), _folder.At("data")];
        Assert.Equal($"looked in {folders[0]} and {folders[1]}", MissingPath.Advice("x/qqqqqq", folders));
        Assert.Equal(
            $"did you mean {_folder.At("data", "train.jsonl")}? Looked in {folders[0]} and {folders[1]}",
            MissingPath.Advice("trian.jsonl", folders));
    }

    [Fact]
    public void A_relative_path_is_told_with_the_working_directory() => Assert.Equal(
        $"check the path: it was looked for in {Directory.GetCurrentDirectory()}", MissingPath.Advice(
            "qqqqqq/wwwwww/x"));

    [Fact]
    public void A_missing_file_is_told_with_its_neighbour() => Assert.Equal(
        "DIR/data/trian.jsonl: no such file. Did you mean DIR/data/train.jsonl?",
        _folder.Message<FileOperationException>(() => BoundedFile.ReadAllBytes(_folder.At("data", "trian.jsonl"), 10)));
}
