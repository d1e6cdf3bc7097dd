using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class GenerateTests : IDisposable
{
    private readonly TempFolder _folder = new();

    [SharedFact]
    public void The_greedy_story_is_the_recorded_one()
    {
        var model = SharedAssets.Path("models", "stories260K");
        using var expected = JsonDocument.Parse(File.ReadAllText(Path.Combine(model, "expected.json")));
        var prompt = expected.RootElement.GetProperty("text").GetString()!;
        var story = expected.RootElement.GetProperty("greedy_text").GetString()!;
        var added = expected.RootElement.GetProperty("greedy_ids").GetArrayLength() - expected.RootElement.GetProperty(
            "ids").GetArrayLength();

        var run = PeftProcess.Run(_folder, "generate", "--base", model, "--prompt", prompt, "--max-new-tokens",
            $"{added}").Succeeds();
        Assert.Equal(story + "\n", run.Output);
        Assert.Equal("", run.Error);
    }

    [Fact]
    public void The_same_seed_gives_the_same_text_and_another_seed_another()
    {
        string[] words = ["generate", "--base", TinyBase.Model, "--prompt", "the cat", "--no-prompt", "--temperature",
            "1", "--max-new-tokens", "30"];
        var first = PeftProcess.Run(_folder, [.. words, "--seed", "7"]).Succeeds().Output;
        Assert.DoesNotContain("the cat", first);
        Assert.Equal(first, PeftProcess.Run(_folder, [.. words, "--seed", "7"]).Succeeds().Output);
        Assert.NotEqual(first, PeftProcess.Run(_folder, [.. words, "--seed", "8"]).Succeeds().Output);
    }

    [Theory]
    [InlineData("--max-new-tokens", "0", "--max-new-tokens: 0; expected a whole number of at least 1.")]
    [InlineData("--temperature", "-1", "--temperature: -1; expected a number of at least 0.")]
    [InlineData("--temperature", "NaN", "--temperature: NaN; expected a number of at least 0.")]
    [InlineData("--top-p", "0", "--top-p: 0; expected a number above 0 and at most 1.")]
    [InlineData("--top-p", "1.5", "--top-p: 1.5; expected a number above 0 and at most 1.")]
    [InlineData("--top-k", "-3", "--top-k: -3; expected a whole number of at least 0.")]
    [InlineData("--dtype", "int3", "--dtype: 'int3'; expected auto, ")]
    public void Options_outside_their_range_are_refused(string option, string value, string message) =>
        PeftProcess.Run(_folder, "generate", "--base", "nowhere", "--prompt", "x", option, value).IsRefused(message);

    [Fact]
    public void A_prompt_longer_than_the_context_is_refused() => PeftProcess
        .Run(_folder, "generate", "--base", TinyBase.Model, "--prompt", string.Concat(Enumerable.Repeat("xyz ", 40)))
        .IsRefused("--prompt: ", "tokens; expected at most 64, the length of the model's context. Shorten the prompt.");

    public void Dispose() => _folder.Dispose();
}
