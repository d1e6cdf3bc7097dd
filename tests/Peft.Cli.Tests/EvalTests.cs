using System.Globalization;
using System.Text.Json;
using Parquet;
using Parquet.Data;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary><c>peft eval</c> on the tiny base and adapters trained on it.</summary>
public sealed class EvalTests : IClassFixture<EvalTests.Trained>, IDisposable
{
    private readonly Trained _trained;
    private readonly TempFolder _folder = new();

    public EvalTests(Trained trained)
    {
        _trained = trained;
        _folder.Write("choice.yaml", $$$"""
            kind: multiple_choice
            data:
              files: {{{TinyBase.RowsFile}}}
              columns: {label: "answer > ' mat 5' ? 'high' : 'low'"}
              template: {prompt: "{question}", answer: "{label}"}
            labels: [low, high]
            choices: [" mat {answer}", " dog"]
            metrics: [acc, acc_norm]
            """);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_metric_of_choices_is_told_from_the_same_of_generated_answers_and_a_common_name_has_its_folder()
    {
        var rows = $$"""
            data:
              files: {{TinyBase.RowsFile}}
              columns: {label: "answer > ' mat 5' ? 'high' : 'low'"}
              template: {prompt: "{question}", answer: "{label}"}
            metrics: [accuracy]

            """;
        _folder.Write("chosen.yaml", rows + "kind: classification\nlabels: [low, high]\n");
        _folder.Write("written.yaml", rows + "kind: generation\nmax_new_tokens: 2\n");
        _folder.Copy(_trained.Adapter, "mine/adapter");
        var run = PeftProcess.Run(
            _folder, "eval", "--adapter", "mine/adapter", "--no-base", "--rows", "2", "--tasks",
            "chosen.yaml,written.yaml", "--output", "kinds").Succeeds();
        Assert.Matches(@"\nchosen +accuracy \(choices, higher is better\) +2 ", "\n" + run.Output);
        Assert.Matches(@"\nwritten +accuracy \(generated, higher is better\) +2 ", run.Output);
        Assert.Matches(@"^task +metric +rows +mine/adapter\n", run.Output);
    }

    [Fact]
    public void Adapter_and_base_are_measured_on_the_recipes_tasks_and_a_missed_bound_exits_with_3()
    {
        var run = PeftProcess.Run(
            _folder, "eval", "--adapter", _trained.Adapter, "--output", "out", "--batch-size", "3", "--json",
            "--fail-under", "rows.exact_match=2");
        run.Exits(3).Says("rows.exact_match is", "below the bound 2", "base on rows", "mix on rows");
        using var json = JsonDocument.Parse(run.Output);
        Assert.Equal("peft.results", json.RootElement.GetProperty("format").GetString());
        Assert.Equal(["base", "mix"],
            json.RootElement.GetProperty("subjects").EnumerateArray().Select(
            subject => subject.GetProperty("name").GetString()));
        Assert.Equal(1, json.RootElement.GetProperty("routing").GetArrayLength());
        Assert.Equal(["examples.parquet", "results.json"],
            Directory.GetFiles(_folder["out"]).Select(Path.GetFileName).Order());
        // What training took, out of the bundle's metrics; the base model took nothing.
        Assert.Equal(JsonValueKind.Null,
            json.RootElement.GetProperty("subjects")[0].GetProperty("peak_memory_bytes").ValueKind);
        Assert.InRange(json.RootElement.GetProperty("subjects")[1].GetProperty("peak_memory_bytes").GetInt64(),
            20L << 20, 20L << 30);
        var recipe = json.RootElement.GetProperty("subjects")[1].GetProperty("recipe");
        Assert.Equal("mixture", recipe.GetProperty("adapter").GetProperty("method").GetString());

        PeftProcess.Run(_folder, "eval", "--adapter", _trained.Adapter, "--output",
            "out").IsRefused("out: already holds results. Replace them with --overwrite, "
                + "or choose another directory with --output.");
    }

    [Fact]
    public void Training_writes_what_an_evaluation_of_the_same_adapter_writes()
    {
        PeftProcess.Run(_folder, "eval", "--adapter", _trained.Adapter, "--no-base", "--output", "out").Succeeds();

        using var trained = JsonDocument.Parse(File.ReadAllText(Path.Combine(_trained.Adapter, "results.json")));
        using var evaluated = JsonDocument.Parse(File.ReadAllText(_folder["out/results.json"]));
        Assert.Equal(1, trained.RootElement.GetProperty("routing").GetArrayLength());
        foreach (var part in new[] { "tasks", "scores", "comparisons", "routing", "base" })
            Assert.Equal(
                evaluated.RootElement.GetProperty(part).GetRawText(),
                trained.RootElement.GetProperty(part).GetRawText());
    }

    [Fact]
    public void Adapters_of_a_sequence_are_told_by_what_was_forgotten_and_what_is_no_sequence_is_refused()
    {
        _folder.Copy(_trained.Adapter, "first");
        _folder.Copy(_trained.Adapter, "second");
        string[] words =
            ["eval", "--adapter", "first", "--adapter", "second", "--rows", "2", "--output", "out", "--sequence"];

        var run = PeftProcess.Run(_folder, [.. words, "--tasks", "rows,choice.yaml"]).Succeeds();

        // The same adapter twice: nothing is forgotten, nothing is gained.
        Assert.Matches(@"\nafter +rows +choice\n", run.Output);
        Assert.Matches(@"\nforgotten +0\.000 +-\n", run.Output);
        Assert.Contains(
            "\nmean forgetting 0.000 (the best before the last stage less the last), backward transfer 0.000",
            run.Output);
        using var results = JsonDocument.Parse(File.ReadAllText(_folder["out/results.json"]));
        var sequence = results.RootElement.GetProperty("sequences")[0];
        Assert.Equal(
            ["first", "second"], sequence.GetProperty("stages").EnumerateArray().Select(name => name.GetString()));
        Assert.Equal(
            ["rows", "choice"], sequence.GetProperty("tasks").EnumerateArray().Select(name => name.GetString()));
        PeftProcess.Run(_folder, "report", "out", "--template", "report.md", "--output", "o.md").Succeeds();
        Assert.Contains("| forgotten | 0.000 | – |", File.ReadAllText(_folder["o.md"]));

        PeftProcess.Run(_folder, [.. words, "--overwrite", "--tasks", "rows"]).IsRefused(
            "--sequence: 2 adapters and 1 task (rows); expected a task for each adapter, in the order of training. "
                + "Name them with --tasks.");
        PeftProcess.Run(_folder, "eval", "--adapter", "first", "--output", "x", "--sequence", "--rewire", "default")
            .IsRefused(
                "--sequence  1 adapter; expected two or more with --adapter: the same one after each data set, in the "
                    + "order of training", "--sequence  --rewire too; expected one of the two.");
    }

    [Fact]
    public void A_killed_evaluation_goes_on_where_it_stopped_with_the_same_numbers()
    {
        string[] words = ["eval", "--adapter", _trained.Adapter, "--tasks", "rows,choice.yaml", "--batch-size", "1",
            "--output"];
        PeftProcess.Run(_folder, [.. words, "whole"]).Succeeds();
        using (var first = PeftProcess.Start(_folder, new(), [.. words, "out"]))
        {
            first.WaitFor("base on choice");
            first.Send(PeftProcess.KillNow);
            first.Wait();
        }
        Assert.False(File.Exists(_folder["out/results.json"]));
        using (var second = PeftProcess.Start(_folder, new(), [.. words, "out"]))
        {
            second.WaitFor("mix on rows");
            second.Send(PeftProcess.Interrupt);
            second.Wait().Exits(130).Says("resuming after", "re-run the same command (without --overwrite) to resume");
        }
        PeftProcess.Run(_folder, [.. words, "other", "--rows", "2"]).Succeeds();
        PeftProcess.Run(_folder, "eval", "--adapter", _trained.Adapter, "--output",
            "out").IsRefused("out: holds an interrupted evaluation of other");
        PeftProcess.Run(_folder, [.. words, "out"]).Succeeds();
        Assert.Equal(Scores("whole"), Scores("out"));
        Assert.Equal(File.ReadAllBytes(_folder["whole/examples.parquet"]),
            File.ReadAllBytes(_folder["out/examples.parquet"]));
    }

    [Fact]
    public void Log_likelihoods_are_those_of_peft_logits()
    {
        // One choice of several tokens and one of another length, against the sums over the logits of their ids.
        PeftProcess.Run(
            _folder, "eval", "--adapter", _trained.Adapter, "--no-base", "--tasks", "choice.yaml", "--rows", "1",
            "--dtype", "float32", "--output", "out").Succeeds();
        var prompt = Ids("the cat 1 sat on");
        foreach (var (choice, text) in new[] { " mat  mat 1", " dog" }.Index())
        {
            var ids = Ids("the cat 1 sat on" + text);
            PeftProcess.Run(
                _folder, "logits", "--base", TinyBase.Model, "--adapter", _trained.Adapter, "--dtype", "float32",
                "--ids", string.Join(',', ids),
                "--output", "l.json").Succeeds();
            using var json = JsonDocument.Parse(File.ReadAllText(_folder["l.json"]));
            var rows = json.RootElement.GetProperty("logits").EnumerateArray().Select(
                row => row.EnumerateArray().Select(v => v.GetDouble()).ToArray()).ToArray();
            var sum = 0.0;
            for (var t = prompt.Length; t < ids.Length; t++)
                sum += rows[t - 1][ids[t]] - Math.Log(rows[t - 1].Sum(Math.Exp));
            Assert.Equal(sum, LogLikelihood("out", choice), 1e-4);
        }
    }

    [Theory]
    [InlineData("--tasks: 'row' is not a task. Did you mean rows?", "--tasks", "row")]
    [InlineData("--tasks: 'row' and 'row*' are not tasks. Did you mean rows?", "--tasks", "row,row*")]
    [InlineData(
        "--tasks: no name; expected names of tasks, or a task file. Leave --tasks out for the tasks of the recipes.",
        "--tasks", ",")]
    [InlineData("metrics  'accurcy'; expected a metric of classification tasks: accuracy, macro_f1, ", "--tasks",
        "wrong.yaml")]
    [InlineData("no column 'quetsion' in ", "--tasks", "column.yaml")]
    [InlineData("the answer ' mat 1'; expected one of the task's labels, a or b. Correct ", "--tasks", "label.yaml")]
    [InlineData(
        "--fail-under: rows.exact_mtch is not measured; expected rows.exact_match. Did you mean rows.exact_match?",
        "--fail-under",
        "rows.exact_mtch=1")]
    [InlineData("--data nowhere: no such folder", "--data", "nowhere")]
    [InlineData("--rows: 0; expected a whole number of at least 1.", "--rows", "0")]
    public void Mistakes_are_told_before_anything_is_computed(string message, params string[] words)
    {
        _folder.Write("wrong.yaml", Classes("{question}", "accurcy"));
        _folder.Write("column.yaml", Classes("{quetsion}", "accuracy"));
        _folder.Write("label.yaml", Classes("{question}", "accuracy"));
        PeftProcess.Run(_folder,
            ["eval", "--adapter", _trained.Adapter, "--output", "out", .. words]).IsRefused(message);
        Assert.False(Directory.Exists(_folder["out"]));
    }

    [Fact]
    public void An_adapter_of_another_base_is_refused_with_both_fingerprints()
    {
        _folder.Copy(TinyBase.Model, "base2");
        var weights = File.ReadAllBytes(_folder["base2/model.safetensors"]);
        weights[^1] ^= 1;
        File.WriteAllBytes(_folder["base2/model.safetensors"], weights);
        PeftProcess.Run(_folder, "eval", "--adapter", _trained.Adapter, "--base", "base2", "--output", "out")
            .IsRefused(": trained on ", "; expected the base here, base2 (fingerprint ", "ame its base with --base");
    }

    private static string Classes(string prompt, string metric) => $$$"""
        kind: classification
        data: {files: {{{TinyBase.RowsFile}}}, template: {prompt: "{{{prompt}}}", answer: "{answer}"}}
        labels: [a, b]
        metrics: [{{{metric}}}]
        """;

    private int[] Ids(string text) => JsonSerializer.Deserialize<int[]>(PeftProcess.Run(
        _folder, Surroundings.WithInput(text), "tokenize", "--tokenizer", TinyBase.Model).Succeeds().Lines[0])!;

    private string Scores(string folder)
    {
        using var json = JsonDocument.Parse(File.ReadAllText(_folder[$"{folder}/results.json"]));
        return json.RootElement.GetProperty("scores").GetRawText()
            + json.RootElement.GetProperty("comparisons").GetRawText()
            + json.RootElement.GetProperty("routing").GetRawText();
    }

    private double LogLikelihood(string folder, int choice)
    {
        return Read().GetAwaiter().GetResult();

        // Of the first row, whose numbers stand first.
        async Task<double> Read()
        {
            await using var reader = await ParquetReader.CreateAsync(_folder[$"{folder}/examples.parquet"]);
            using var group = reader.OpenRowGroupReader(0);
            using var column = await group.ReadRawColumnDataBaseAsync(
                reader.Schema.DataFields.Single(field => field.Path.FirstPart == "log_likelihoods"));
            return ((RawColumnData<double>)column).Values[choice];
        }
    }

    /// <summary>A routed adapter on the tiny base, whose recipe names one task.</summary>
    public sealed class Trained : IDisposable
    {
        private readonly TempFolder _folder = new();

        public Trained()
        {
            _folder.Write("mix.yaml", TinyBase.Recipe(
                "{method: mixture, r: 2, experts: {count: 2}, router: {kind: top-k, top_k: 1}}",
                "{max_steps: 3, per_device_train_batch_size: 4, report_to: none}",
                "evaluation: {base: false, tasks: [{task: rows, rows: 8, max_new_tokens: 16}]}").Replace(
                "training:", $$"""
                  eval:
                    - name: rows
                      files: {{TinyBase.RowsFile}}
                      template: {prompt: "{question}", answer: "{answer}"}
                training:
                """.TrimStart('\n'), StringComparison.Ordinal));
            PeftProcess.Run(_folder, "train", "mix.yaml", "--output", "mix").Succeeds();
        }

        public string Adapter => _folder["mix"];

        public void Dispose() => _folder.Dispose();
    }
}
