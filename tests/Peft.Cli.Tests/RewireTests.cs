using System.Text.Json.Nodes;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Routers that are fitted to each prompt while a mixture is used.</summary>
public sealed class RewireTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_prompt_is_continued_and_tasks_are_measured_with_routers_fitted_to_each_prompt()
    {
        Train("mix", "{kind: top-k, top_k: 2}");
        string[] generate = ["generate", "--adapter", "mix", "--prompt", "the cat", "--max-new-tokens", "6"];
        var plain = Peft(generate).Succeeds().Output;
        Assert.Equal(plain, Peft([.. generate, "--rewire", "learning_rate=0.000000001,every=2"]).Succeeds().Output);
        var fitted = Peft([.. generate, "--rewire", "default"]).Succeeds().Output;
        Assert.Equal(fitted, Peft([.. generate, "--rewire", "steps=5"]).Succeeds().Output);

        Peft("eval", "--adapter", "mix", "--rewire", "steps=2", "--output", _folder["results"]).Succeeds();
        var results = JsonNode.Parse(File.ReadAllText(_folder["results/results.json"]))!;
        Assert.Equal(
            ["base", "mix", "mix rewired (steps=2)"],
            results["subjects"]!.AsArray().Select(subject => (string?)subject!["name"]));
    }

    [Fact]
    public void What_cannot_be_fitted_is_told()
    {
        Train("one", "{kind: top-k, top_k: 1}");
        Peft("generate", "--adapter", "one", "--prompt", "the cat", "--rewire", "default").IsRefused(
            "--rewire: router top-k has top_k 1 and normalize true, so that every gate is 1; expected gates that "
                + "depend on the logits.");
        Peft("eval", "--adapter", "one", "--rewire", "default", "--output", _folder["results"]).IsRefused(
            "--rewire: router top-k has top_k 1");
        Assert.False(Directory.Exists(_folder["results"]));
        Peft("generate", "--adapter", "one", "--prompt", "the cat", "--rewire", "speed=3").IsRefused(
            "--rewire", "speed", "unknown key");
        Peft("generate", "--base", TinyBase.Model, "--prompt", "the cat", "--rewire", "default").IsRefused(
            "--rewire: no adapter; expected a mixture, whose routers are fitted. Name one with --adapter DIR.");
    }

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, words);

    private void Train(string name, string router)
    {
        _folder.Write($"{name}.yaml", TinyBase.RecipeWithHeldRows(
            $"{{method: mixture, r: 2, lora_dropout: 0.1, experts: {{count: 3}}, router: {router}}}",
            "{per_device_train_batch_size: 4, max_steps: 3, learning_rate: 0.05, save_steps: 0, report_to: none}",
            "evaluation: {tasks: [{task: held, rows: 4, max_new_tokens: 3}]}"));
        Peft("train", $"{name}.yaml", "--output", name).Succeeds();
    }
}
