using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Experts that go by the task of each row, trained, measured and used.</summary>
public sealed class TaskRoutingTests : IClassFixture<TaskRoutingTests.Trained>, IDisposable
{
    private const string Rule = "(router hard-soft, stage hard)";

    private readonly Trained _trained;
    private readonly TempFolder _folder = new();

    public TaskRoutingTests(Trained trained) => _trained = trained;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_run_measures_each_task_by_its_own_expert_and_so_does_eval()
    {
        _trained.Run.Succeeds().Says("evaluating out on 4 rows of even and odd", "--task odd --prompt");
        using var own = JsonDocument.Parse(File.ReadAllText(_trained.Folder["out/results.json"]));
        using var manifest = JsonDocument.Parse(File.ReadAllText(_trained.Folder["out/bundle.json"]));
        Assert.Equal(
            ["odd", "even"],
            manifest.RootElement.GetProperty("tasks").EnumerateArray().Select(name => name.GetString()));

        PeftProcess.Run(
            _folder, "eval", "--adapter", _trained.Folder["out"], "--no-base", "--output", "measured").Succeeds();

        using var measured = JsonDocument.Parse(File.ReadAllText(_folder["measured/results.json"]));
        // One expert did all of a task's tokens: what is known of the task is known of the expert.
        var routing = measured.RootElement.GetProperty("routing")[0].GetProperty("expert_by_task");
        Assert.Equal(1, routing.GetProperty("normalized_mutual_information").GetDouble(), 1e-6);
        var all = measured.RootElement.GetProperty("routing")[0];
        Assert.All(
            all.GetProperty("modules").EnumerateArray(),
            module => Assert.Equal(1, module.GetProperty("task_information").GetDouble(), 1e-6));
        Assert.Equal(1, all.GetProperty("task_distance")[0][1].GetDouble(), 1e-6);
        foreach (var task in new[] { "odd", "even" })
            Assert.Equal(Score(own, task), Score(measured, task));
    }

    [Fact]
    public void A_prompt_is_continued_by_the_expert_of_its_task()
    {
        string Continued(string task) => PeftProcess.Run(
            _folder, "generate", "--adapter", _trained.Folder["out"], "--prompt", "the cat 3 sat on", "--task", task,
            "--no-prompt", "--max-new-tokens", "3").Succeeds().Output;

        Assert.Equal(" dog", Continued("odd")[..4]);
        Assert.Equal(" mat", Continued("even")[..4]);
    }

    [Fact]
    public void A_task_that_is_missing_unknown_or_of_no_effect_is_refused()
    {
        var adapter = _trained.Folder["out"];
        string[] words = ["generate", "--prompt", "the cat", "--adapter"];

        PeftProcess.Run(_folder, [.. words, adapter]).IsRefused(
            $"--task: missing, and the experts of {adapter} go by task {Rule}; expected odd or even.");
        PeftProcess.Run(_folder, [.. words, adapter, "--task", "prose"]).IsRefused(
            $"--task: no expert for task 'prose'; its experts go by task {Rule}; expected odd or even.");
        PeftProcess.Run(_folder, "generate", "--prompt", "the cat", "--base", TinyBase.Model, "--task", "odd")
            .IsRefused("--task: 'odd', and no adapter. Remove it.");
        PeftProcess.Run(_folder, "logits", "--adapter", adapter, "--ids", "1,2", "--output", "l.json").IsRefused(
            $"--task: missing, and the experts of {adapter} go by task {Rule}");
        PeftProcess.Run(
            _folder, "logits", "--adapter", adapter, "--ids", "1,2", "--output", "l.json", "--task", "even").Succeeds();
        _folder.Write("prose.yaml", $$$"""
            kind: generation
            data: {files: {{{TinyBase.RowsFile}}}, template: {prompt: "{question}", answer: "{answer}"}}
            """);
        PeftProcess.Run(_folder, "eval", "--adapter", adapter, "--no-base", "--tasks", "prose.yaml", "--output", "m")
            .IsRefused($"{adapter}: no expert for task 'prose'; its experts go by task {Rule}; expected odd or even.");
    }

    [Fact]
    public void More_tasks_than_experts_and_held_out_rows_of_no_expert_are_refused_before_training()
    {
        _folder.Write("r.yaml", Trained.Recipe(["odd", "even", "third"], "odd"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "x").IsRefused(
            $"data.train  3 tasks: odd, even and third; expected at most 2, since the experts go by task {Rule}. "
                + "Raise adapter.experts.count, or take tasks out of the data.");
        _folder.Write("r.yaml", Trained.Recipe(["odd", "even", "third"], "odd").Replace(
            "hard-soft, stage: hard", "post-moe, task_experts: [0, 1]", StringComparison.Ordinal));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "x").IsRefused(
            "data.train  3 tasks: odd, even and third; expected at most 2, since the experts go by task (router "
                + "post-moe in training). Extend adapter.router.task_experts, or take tasks out of the data.");
        _folder.Write("r.yaml", Trained.Recipe(["odd", "even"], "third"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "x").IsRefused(
            $"data.eval  rows of task 'third', which no expert knows {Rule}; expected odd or even.");
        Assert.False(Directory.Exists(_folder["x"]));
    }

    private static double Score(JsonDocument results, string task) =>
        results.RootElement.GetProperty("scores").EnumerateArray()
            .Single(score => score.GetProperty("task").GetString() == task
                && score.GetProperty("subject").GetString() == "out").GetProperty("value").GetDouble();

    /// <summary>Two tasks that ask the same and want other answers.</summary>
    public sealed class Trained : IDisposable
    {
        public Trained()
        {
            Folder.Write("rows.yaml", Recipe(["odd", "even"], "odd", "even"));
            Run = PeftProcess.Run(Folder, "train", "rows.yaml", "--output", "out");
        }

        internal TempFolder Folder { get; } = new();

        internal ProgramRun Run { get; }

        public static string Recipe(string[] tasks, params string[] held)
        {
            static string Word(string task) => task == "odd" ? "dog" : "mat";
            static string Set(string task) => $$"""
                    - name: {{task}}
                      files: {{TinyBase.RowsFile}}
                      columns: {word: "question == '' ? '' : '{{Word(task)}}'"}
                      template: {prompt: "{question}", answer: " {word}"}
                      limit: 4

                """;
            return $$"""
                model: {model_name_or_path: {{TinyBase.Model}}}
                adapter:
                  method: mixture
                  r: 4
                  experts: {count: 2}
                  router: {kind: hard-soft, stage: hard}
                data:
                  max_length: 32
                  train:
                {{string.Concat(tasks.Select(Set))}}
                  eval:
                {{string.Concat(held.Select(Set))}}
                training: {per_device_train_batch_size: 8, max_steps: 60, learning_rate: 0.02, report_to: none}
                evaluation:
                  base: false
                  tasks: [{{string.Join(", ", held.Order().Select(
                      task => $"{{task: {task}, metric: exact_match, rows: 2, max_new_tokens: 4}}"))}}]
                """;
        }

        public void Dispose() => Folder.Dispose();
    }
}
