using Peft.Adapters.Bundles;
using Peft.Data.Batches;
using Peft.Evaluation.Results;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Recipes.Tests.Support;
using Peft.Training;

namespace Peft.Recipes.Tests;

/// <summary>Recipes run from their text to their result, as <c>peft train</c> runs them.</summary>
public sealed class RunTests : IDisposable
{
    private readonly TinyProject _project = new();

    private TempFolder Folder => _project.Folder;

    public void Dispose() => _project.Dispose();

    [Theory]
    [InlineData(TinyProject.Mixture, "adapter_model.safetensors", "data.packing=false")]
    [InlineData(TinyProject.Mixture, "adapter_model.safetensors", "data.packing=true")]
    [InlineData(TinyProject.Full, "model.safetensors", "data.packing_strategy=bfd")]
    [InlineData(TinyProject.Full, "model.safetensors", "data.packing_strategy=wrapped")]
    public void A_run_that_was_stopped_and_resumed_ends_in_the_same_bytes(string text, string weights, string packing)
    {
        var recipe = _project.Load(text, packing);
        var straight = _project.Train(recipe, "straight");
        Assert.Equal((TrainingEnd.Finished, 8), (straight.Outcome.End, straight.Outcome.Steps));

        var first = _project.Train(recipe, "resumed", stopAfter: 5);
        Assert.Equal(TrainingEnd.Interrupted, first.Outcome.End);
        Assert.False(File.Exists(Folder[$"resumed/{weights}"]));
        // Keys that change no number may have changed.
        var second = _project.Train(
            _project.Load(text, packing, "training.save_steps=2", "training.logging_steps=1",
                "training.gradient_checkpointing=true"),
            "resumed", resume: "auto");

        Assert.Equal(straight.Losses, first.Losses.Concat(second.Losses));
        Assert.Equal(File.ReadAllBytes(Folder[$"straight/{weights}"]), File.ReadAllBytes(Folder[$"resumed/{weights}"]));
    }

    [Fact]
    public void A_bundle_stays_whole_while_a_run_with_other_allowed_settings_goes_on_in_its_directory()
    {
        _project.Train(_project.Load(TinyProject.Mixture), "out");
        var before = File.ReadAllText(Folder["out/bundle.json"]);
        var other = _project.Load(TinyProject.Mixture, "training.logging_steps=3");

        Assert.Equal(TrainingEnd.Interrupted, _project.Train(other, "out", resume: "auto", stopAfter: 7).Outcome.End);
        OwnBundle.Open(Folder["out"]);
        Assert.Equal(before, File.ReadAllText(Folder["out/bundle.json"]));

        _project.Train(other, "out", resume: "auto");
        OwnBundle.Open(Folder["out"]);
        Assert.Contains("logging_steps: 3", File.ReadAllText(Folder["out/recipe.resolved.yaml"]),
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_result_is_a_bundle_that_gives_the_trained_models_answers()
    {
        var recipe = _project.Load(TinyProject.Mixture);
        _project.Train(recipe, "out");

        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors", "bundle.json", "metrics.jsonl",
                "recipe.resolved.yaml"],
            Directory.GetFiles(Folder["out"]).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        using var loaded = LoadedModel.Open(Folder["base"], Folder["out"], "float32", torch.CPU);
        using var bare = LoadedModel.Open(Folder["base"], null, "float32", torch.CPU);
        using var run = _project.Build(recipe, "next");
        run.Trainable.Restore(Folder["out"]);
        Assert.Equal(Logits(run.Trainable.Model), Logits(loaded.Model));
        Assert.NotEqual(Logits(bare.Model), Logits(loaded.Model));
        // The base is found by the name in the bundle, from the bundle's folder upwards.
        using var found = LoadedModel.Open(null, Folder["out"], "float32", torch.CPU);
        Assert.Equal(Logits(loaded.Model), Logits(found.Model));
    }

    [Fact]
    public void A_model_that_was_trained_whole_is_a_checkpoint_with_its_tokenizer()
    {
        _project.Train(_project.Load(TinyProject.Full), "out");

        using var loaded = LoadedModel.Open(Folder["out"], null, "auto", torch.CPU);
        Assert.Equal(ScalarType.Float32, loaded.Model.Dtype);
        Assert.Equal(File.ReadAllText(Folder["base/tokenizer.json"]), File.ReadAllText(Folder["out/tokenizer.json"]));
        Assert.Contains("a", loaded.Tokenizer.Decode(loaded.Tokenizer.EncodeToIds("a")), StringComparison.Ordinal);
    }

    [Fact]
    public void What_was_trained_and_the_base_are_measured_and_the_numbers_kept()
    {
        var recipe = _project.Load(TinyProject.Mixture);
        using var run = _project.Build(recipe);
        run.Train(new StopRequest());

        var results = run.Measure(_ => { }, new())!;

        Assert.Equal([("base", 0L), ("out", run.TrainableParameters)],
            results.Subjects.Select(s => (s.Name, s.TrainableParameters)));
        Assert.Equal(("copy", "char_error_rate", 3),
            (results.Tasks[0].Name, results.Tasks[0].Main.Name, results.Tasks[0].Rows));
        Assert.Equal(Sha256.OfFile(Folder["out/bundle.json"]), results.Subjects[1].Fingerprint);
        Assert.Equal(ResultsFile.ToJson(results), File.ReadAllText(Folder["out/results.json"]));
        Assert.Single(results.Comparisons);
        Assert.Equal(("out", 4), (results.Routing.Single().Subject, results.Routing[0].Modules.Count));
        Assert.Empty(run.Baselines());
    }

    [Fact]
    public void Recorded_results_are_found_and_a_missing_one_is_named()
    {
        Folder.Write("results/one.json", """
            {"format_version": 1, "model": "x", "trainable_parameters": 7, "tasks": [
              {"task": "copy", "metric": "char_error_rate", "higher_is_better": false, "value": 0.25, "rows": 3}]}
            """);
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, "evaluation.baselines=[{name: one, results: results/one.json}]"));
        Assert.Equal("one", run.Baselines().Single().Name);
        run.Train(new StopRequest());
        var results = run.Measure(_ => { }, new())!;
        Assert.Equal([("base", "base"), ("one", "recorded"), ("out", "adapter")],
            results.Subjects.Select(s => (s.Name, s.Kind)));
        Assert.Equal((0.25, null),
            (results.ScoreOf("one", "copy", "char_error_rate")!.Value,
            results.ScoreOf("one", "copy", "char_error_rate")!.Low));

        using var other = _project.Build(
            _project.Load(TinyProject.Mixture, "evaluation.baselines=[{name: two, results: results/two.json}]"),
            "other");
        Assert.StartsWith("results/two.json: no such file",
            Assert.Throws<UserException>(() => other.Baselines()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Another_recipe_does_not_continue_a_checkpoint()
    {
        _project.Train(_project.Load(TinyProject.Mixture), "out", stopAfter: 2);
        var error = Assert.Throws<UserException>(
            () => _project.Train(_project.Load(TinyProject.Mixture, "training.learning_rate=0.5", "adapter.r=4"),
                "out", resume: "auto"));

        Assert.Equal(
            $"{Folder["out/checkpoint-2"]}: written by another recipe. Continue with that recipe, or train again with "
            + $"--overwrite.\n"
            + "  checkpoint: adapter.lora_alpha: 4.0\n  checkpoint: adapter.r: 2\n"
            + "  checkpoint: training.learning_rate: 0.02\n"
            + "  recipe:     adapter.lora_alpha: 8.0\n  recipe:     adapter.r: 4\n"
            + "  recipe:     training.learning_rate: 0.5", error.Message);
    }

    [Fact]
    public void Other_data_does_not_continue_a_checkpoint()
    {
        _project.Train(_project.Load(TinyProject.Mixture), "out", stopAfter: 2);
        File.AppendAllText(Folder["rows.jsonl"], "{\"p\": \"c\", \"a\": \"c\"}\n");
        Assert.Throws<UserException>(() => _project.Train(_project.Load(TinyProject.Mixture), "out", resume: "auto"));
    }

    [Fact]
    public void A_longer_row_than_the_model_takes_is_refused_and_a_token_that_no_row_uses_is_not()
    {
        Folder.Write("small/config.json", File.ReadAllText(Folder["base/config.json"])
            .Replace("264", "240", StringComparison.Ordinal).Replace("\"max_position_embeddings\": 64",
            "\"max_position_embeddings\": 16", StringComparison.Ordinal));
        var error = Assert.Throws<FaultsException>(() => _project.Build(_project.Load(
            TinyProject.Full, "model.from_config=small", "model.tokenizer=base")));

        Assert.Equal(
            $"""
            {Folder["r.yaml"]} has 1 fault:
              data.max_length  32; expected at most the model's max_position_embeddings 16.
            """, error.Message);
    }

    [Fact]
    public void Files_that_are_nowhere_are_all_told_with_what_was_probably_meant()
    {
        var text = TinyProject.Mixture.Replace("rows.jsonl, limit", "nothing.csv, limit", StringComparison.Ordinal)
            .Replace("files: rows.jsonl", "files: row.jsonl", StringComparison.Ordinal);
        var error = Assert.Throws<FaultsException>(() => _project.Build(_project.Load(text)));
        var looked = $"Looked in {Directory.GetCurrentDirectory()} and {Folder.Path}.";
        Assert.Equal(
            "the data section has 2 faults:\n"
            + $"  data.train[0].files  row.jsonl does not exist. Did you mean {Folder["rows.jsonl"]}? {looked}\n"
            + $"  data.eval[0].files   nothing.csv does not exist. {looked}", error.Message);
    }

    [Fact]
    public void What_a_run_will_write_is_known_before_it_begins()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture, "training.save_steps=2"));
        run.Train(new StopRequest());
        var written = new DirectoryInfo(Folder["out"]).EnumerateFiles("*",
            SearchOption.AllDirectories).Sum(file => file.Length);
        Assert.InRange(run.DiskBytes, written / 2, written * 2);
    }

    [Fact]
    public void An_end_of_text_beyond_the_embedding_is_refused()
    {
        var config = System.Text.RegularExpressions.Regex.Replace(File.ReadAllText(Folder["base/config.json"]),
            "\"eos_token_id\": *[0-9]+", "\"eos_token_id\": 5000");
        Assert.Contains("5000", config, StringComparison.Ordinal);
        Folder.Write("small/config.json", config);
        var error =
            Assert.Throws<FaultsException>(() => _project.Build(
            _project.Load(TinyProject.Full, "model.from_config=small", "model.tokenizer=base")));
        Assert.Equal(
            """
            the model's tokenizer has 1 fault:
              eos_token_id  5000; expected an id below the model's vocab_size 264. Correct config.json or generation_config.json.
            """, error.Message);
    }

    [Fact]
    public void A_task_that_no_held_out_row_has_is_refused_before_training()
    {
        File.WriteAllText(Folder["rows.jsonl"],
            "{\"p\": \"a\", \"a\": \"b\", \"kind\": \"copy\"}\n{\"p\": \"b\", \"a\": \"b\", \"kind\": \"same\"}\n");
        var text = TinyProject.Mixture.Replace("name: copy,", "name: copy, task_column: kind,",
            StringComparison.Ordinal);
        using (_project.Build(
            _project.Load(text, "data.max_length=64", "evaluation.tasks=[{task: same}, {task: copy}]")))
        {
        }
        var error =
            Assert.Throws<FaultsException>(() => _project.Build(
            _project.Load(text, "data.max_length=64", "evaluation.tasks=[{task: other}]")));
        Assert.EndsWith(
            "  evaluation.tasks  'coppy'; expected a task of held-out rows: copy or same. Did you mean copy?",
            Assert.Throws<FaultsException>(() => _project.Build(
                _project.Load(text, "data.max_length=64", "evaluation.tasks=[{task: coppy}]"))).Message);
        Assert.Equal(
            $"{Folder["r.yaml"]} has 1 fault:\n  evaluation.tasks  'other'; expected a task of held-out rows: copy or "
            + $"same.", error.Message);
    }

    [Fact]
    public void Building_a_run_writes_nothing()
    {
        using (_project.Build(_project.Load(TinyProject.Mixture)))
        {
        }
        Assert.False(Directory.Exists(Folder["out"]));
    }

    [Theory]
    [InlineData(TinyProject.Mixture)]
    [InlineData(TinyProject.Full)]
    public void A_run_frees_everything(string text)
    {
        var recipe = _project.Load(text);
        var before = LiveTensors.Settled();
        _project.Train(recipe, "out");
        LiveTensors.AssertNoMoreThan(before);
    }

    private static float[] Logits(CausalLanguageModel model)
    {
        using var scope = torch.NewDisposeScope();
        return model.Forward(torch.tensor(new long[] { 5, 6, 7 }, [1, 3]),
            ForwardPass.ForInference()).data<float>().ToArray();
    }
}
