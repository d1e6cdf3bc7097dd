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

    [SharedTheory]
    [InlineData("Once upon a time, there was a little girl named ")]
    [InlineData("<s>Once upon a time, there was a little girl named")]
    public void A_space_at_the_prompts_end_or_a_begin_spelled_out_changes_nothing_of_what_follows(string prompt)
    {
        string Continued(string text) => PeftProcess.Run(
            _folder, "generate", "--base", SharedAssets.Path("models", "stories260K"), "--prompt", text, "--no-prompt",
            "--max-new-tokens", "16").Succeeds().Output;

        var plain = Continued("Once upon a time, there was a little girl named");
        Assert.StartsWith(" Lily", plain, StringComparison.Ordinal);
        Assert.Equal(prompt.EndsWith(' ') ? plain[1..] : plain, Continued(prompt));
    }

    [Fact]
    public void A_text_ends_where_training_put_its_end_whatever_else_the_config_names()
    {
        _folder.Write("rows.jsonl", """{"q": "the cat =", "a": " dog"}""" + "\n");
        _folder.Write("full.yaml", $$$"""
            method: full
            model: {from_config: {{{TinyBase.New}}}, save_dtype: float32}
            data:
              max_length: 32
              train:
                - {files: rows.jsonl, template: {prompt: "{q}", answer: "{a}"}}
            training: {max_steps: 40, learning_rate: 0.01, report_to: none}
            """);
        PeftProcess.Run(_folder, "train", "full.yaml", "--output", "base").Succeeds();
        var config = File.ReadAllText(_folder["base/config.json"]);
        Assert.Contains("\"eos_token_id\": 0", config);
        string[] words = ["generate", "--base", "base", "--prompt", "the cat =", "--max-new-tokens", "20",
            "--no-prompt"];
        Assert.Equal(" dog\n", PeftProcess.Run(_folder, words).Succeeds().Output);

        // As base models that were given another tokenizer: the tokenizer's end is the one that was learned.
        _folder.Write("base/config.json",
            config.Replace("\"eos_token_id\": 0", "\"eos_token_id\": 9", StringComparison.Ordinal));
        _folder.Write("base/generation_config.json", """{"eos_token_id": [7, 8]}""");
        Assert.Equal(" dog\n", PeftProcess.Run(_folder, words).Succeeds().Output);

        // Any end of either file is one, and is not printed: here the first token of the answer.
        _folder.Write("base/tokenizer_config.json", """{"eos_token": null}""");
        var ids = PeftProcess.Run(_folder, Surroundings.WithInput(" dog"), "tokenize", "--tokenizer",
            "base").Succeeds().Output;
        var first = ids.Trim('[', ']', '\n').Split(',')[0];
        _folder.Write("base/generation_config.json", $$"""{"eos_token_id": [7, {{first}}]}""");
        Assert.Equal("\n", PeftProcess.Run(_folder, words).Succeeds().Output);
        _folder.Write("base/generation_config.json", """{"eos_token_id": [7, 8]}""");
        _folder.Write("base/config.json",
            config.Replace("\"eos_token_id\": 0", $"\"eos_token_id\": {first}", StringComparison.Ordinal));
        Assert.Equal("\n", PeftProcess.Run(_folder, words).Succeeds().Output);
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
    [InlineData(
        "--top-k", "3",
        "--top-k: no effect with --temperature 0. Remove it, or add a temperature, such as --temperature 1.")]
    [InlineData(
        "--seed", "3",
        "--seed: no effect with --temperature 0. Remove it, or add a temperature, such as --temperature 1.")]
    [InlineData("--dtype", "int3", "--dtype: 'int3'; expected auto, ")]
    public void Options_outside_their_range_are_refused(string option, string value, string message) =>
        PeftProcess.Run(_folder, "generate", "--base", "nowhere", "--prompt", "x", option, value).IsRefused(message);

    [Theory]
    [InlineData("-")]
    [InlineData("--prompt", "-")]
    public void Prompts_come_from_standard_input_and_each_answer_is_a_line_of_json(params string[] input)
    {
        string[] words = ["generate", "--base", TinyBase.Model, "--max-new-tokens", "5"];
        var prompts = new[] { "the cat", "a \"dog\"" };
        var lines = PeftProcess.Run(_folder, Surroundings.WithInput(prompts),
            [.. words, "--jsonl", .. input]).Succeeds()
            .Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(prompts,
            lines.Select(line => JsonDocument.Parse(line).RootElement.GetProperty("prompt").GetString()));
        foreach (var (prompt, line) in prompts.Zip(lines))
        {
            var alone = PeftProcess.Run(_folder, [.. words, "--prompt", prompt, "--no-prompt"]).Succeeds().Output;
            Assert.Equal(alone, JsonDocument.Parse(line).RootElement.GetProperty("answer").GetString() + "\n");
        }
    }

    [Fact]
    public void All_options_out_of_range_are_told_at_once() => PeftProcess.Run(
        _folder, "generate", "--base", "nowhere", "--temperature", "-1", "--top-p", "2", "--dtype", "int3").IsRefused(
        """
        the command line has 4 faults:
          --dtype        'int3'; expected auto, float32, bfloat16, float16 or float64.
          --temperature  -1; expected a number of at least 0.
          --top-p        2; expected a number above 0 and at most 1.
          --prompt       missing; expected --prompt TEXT, or '-' for prompts from standard input.

        """);

    [Fact]
    public void The_program_ends_without_the_destructors_of_libtorch()
    {
        // The loader then names each library as it starts and as it ends.
        var tells = Surroundings.With("LD_DEBUG", "files");
        var run = PeftProcess.Run(_folder, tells, "generate", "--base", TinyBase.Model, "--prompt", "the cat");
        Assert.Matches("calling init: .*libtorch_cpu", run.Succeeds().Error);
        Assert.DoesNotMatch("calling fini: .*libtorch_cpu", run.Error);
    }

    [Fact]
    public void An_empty_line_of_standard_input_gets_an_empty_answer()
    {
        string[] words = ["generate", "--base", TinyBase.Model, "--max-new-tokens", "5", "-"];
        var run = PeftProcess.Run(_folder, Surroundings.WithInput("the cat", "", "the dog"), [.. words, "--jsonl"])
            .Succeeds();
        Assert.Equal("standard input line 2: empty; nothing was generated for it\n", run.Error);
        Assert.Equal(3, run.Lines.Length);
        Assert.Equal("""{"prompt":"","answer":""}""", run.Lines[1]);
        Assert.Equal("\n", PeftProcess.Run(_folder, Surroundings.WithInput(""), words).Succeeds().Output);
    }

    [Theory]
    [InlineData("--prompt: missing; expected --prompt TEXT, or '-' for prompts from standard input.")]
    [InlineData("--prompt: given together with '-'; expected --prompt TEXT, or '-' for prompts from standard input.",
        "-", "--prompt", "x")]
    [InlineData("peft generate: 'x' is one word too many; expected --prompt TEXT", "x")]
    public void Where_the_prompts_are_must_be_said_once(string message, params string[] words) =>
        PeftProcess.Run(_folder, ["generate", "--base", TinyBase.Model, .. words]).IsRefused(message);

    [Fact]
    public void A_prompt_of_standard_input_that_is_too_long_is_told_with_its_line() => PeftProcess
        .Run(_folder, Surroundings.WithInput(["x", string.Concat(Enumerable.Repeat("xyz ", 40))]), "generate",
        "--base", TinyBase.Model, "-")
        .Exits(2).Says("standard input line 2: ", "tokens; expected at most 64");

    [Fact]
    public void A_prompt_longer_than_the_context_is_refused() => PeftProcess
        .Run(_folder, "generate", "--base", TinyBase.Model, "--prompt", string.Concat(Enumerable.Repeat("xyz ", 40)))
        .IsRefused("--prompt: ", "tokens; expected at most 64, the length of the model's context. Shorten the prompt.");

    public void Dispose() => _folder.Dispose();
}
