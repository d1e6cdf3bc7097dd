using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class InitTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_init_writes_trains_as_it_is_and_answers_its_rows()
    {
        PeftProcess.Run(_folder, "init", "first").Succeeds().Says("next: peft train first/recipe.yaml");
        Assert.Contains("Train it with:\n#   peft train first/recipe.yaml\n",
            File.ReadAllText(_folder["first/recipe.yaml"]));
        Assert.Equal(10, File.ReadAllLines(_folder["first/rows.jsonl"]).Length);

        var run = PeftProcess.Run(_folder, "train", "first/recipe.yaml").Succeeds();

        run.Says("first: 311,296 trainable parameters", "first/adapter: saved after 60 steps",
            "next: peft generate --adapter first/adapter --prompt 'Question: What is the capital of France? "
            + "Answer:'\n");
        Assert.DoesNotContain("warning", run.Error);
        var answer = PeftProcess.Run(
            _folder, "generate", "--adapter", "first/adapter", "--no-prompt", "--prompt",
            "Question: What is the capital of Greece? Answer:");
        Assert.Equal(" Athens\n", answer.Succeeds().Output);
    }

    [Fact]
    public void The_recipe_writes_beside_itself_from_wherever_it_is_trained()
    {
        PeftProcess.Run(_folder, "init", "a/b/first").Succeeds();
        using var elsewhere = new TempFolder();
        PeftProcess.Run(elsewhere, "train", _folder["a/b/first/recipe.yaml"], "--set", "training.max_steps=1")
            .Succeeds().Says($"{_folder["a/b/first/adapter"]}: saved after 1 step");
        Assert.Empty(Directory.GetFileSystemEntries(elsewhere.Path));
        Assert.True(File.Exists(_folder["a/b/first/adapter/bundle.json"]));
    }

    [Fact]
    public void Nothing_is_overwritten()
    {
        _folder.Write("mine/rows.jsonl", "mine");
        PeftProcess.Run(_folder, "init",
            "mine").IsRefused("mine/rows.jsonl: already exists. Name another folder: peft init FOLDER.");
        Assert.Equal("mine", File.ReadAllText(_folder["mine/rows.jsonl"]));
        Assert.False(File.Exists(_folder["mine/recipe.yaml"]));
        PeftProcess.Run(_folder, "init").Succeeds();
        PeftProcess.Run(_folder,
            "init").IsRefused("./recipe.yaml: already exists. Name another folder: peft init FOLDER.");
    }
}
