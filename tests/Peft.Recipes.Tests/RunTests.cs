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

    [Fact]
    public void The_memory_estimate_counts_what_is_there_and_grows_with_the_batch()
    {
        var estimates = new[] { 1, 2, 4 }.Select(batch =>
        {
            using var run = _project.Build(
                _project.Load(TinyProject.Mixture, $"training.per_device_train_batch_size={batch}"));
            // Values, gradients and AdamW's two: four times.
            var estimate = MemoryEstimate.Of(run);
            Assert.Equal(run.TrainableParameters * 4 * sizeof(float), estimate.Trained);
            Assert.Equal(run.Trainable.Model.BaseParameters.Sum(p => p.Parameter.numel()) * sizeof(float),
                estimate.Base);
            return estimate;
        }).ToList();

        Assert.True(estimates[0].Activations > 0);
        Assert.Equal(2 * estimates[0].Activations, estimates[1].Activations);
        Assert.Equal(4 * estimates[0].Activations, estimates[2].Activations);
        Assert.Matches(
            "^memory: about [0-9]+ MB at the peak: program [0-9]+ MB, base 0 MB, trainable parameters with gradients "
            + "and optimizer 0 MB, "
            + "a training step [0-9]+ MB or an evaluation batch [0-9]+ MB, whichever is larger$",
            estimates[0].ToString());
        Assert.All(estimates,
            estimate => Assert.True(estimate.Least <= estimate.Total && estimate.Total > estimate.Program));
    }

    [Fact]
    public void The_memory_estimate_counts_what_is_left_of_weights_beside_the_weights()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture, "adapter.init_lora_weights=goat"));
        using var plain = _project.Build(_project.Load(TinyProject.Mixture), "plain");

        // Two layers, a q_proj and a v_proj each; with each weight A and B as they began.
        var copies = run.Trainable.Modules.Sum(module => sizeof(float) * (
            (module.InFeatures * module.OutFeatures) + (4 * 2 * (module.InFeatures + module.OutFeatures))));
        Assert.Equal(4, run.Trainable.Modules.Count);
        Assert.Equal(copies, MemoryEstimate.Of(run).Base - MemoryEstimate.Of(plain).Base);
    }

    [Fact]
    public void A_batch_that_no_memory_of_the_machine_can_hold_is_refused_before_it_starts()
    {
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, "training.per_device_train_batch_size=8", "training.per_device_eval_batch_size=1"));
        var estimate = MemoryEstimate.Of(run);
        estimate.RequireToFit(run, estimate.Least);
        var error = Assert.Throws<UserException>(() => estimate.RequireToFit(run, estimate.Least - 1));
        Assert.Matches(
            "^training.per_device_train_batch_size: 8 rows, which need at least [0-9.]+ GiB; expected at most the "
            + "[0-9.]+ GiB of this machine. "
            + "Reduce it or data.max_length, set training.gradient_checkpointing: true, or use a smaller base.$",
            error.Message);
        Assert.Null(estimate.Warning(estimate.Total));
        Assert.Matches("^this run may take [0-9.]+ GiB of memory and [0-9.]+ GiB are free: ",
            estimate.Warning(estimate.Total - 1));
    }

    [Fact]
    public void Processes_on_one_machine_count_together_a_mapped_base_once()
    {
        using var run = _project.Build(_project.Load(TinyProject.Mixture));
        var three = MemoryEstimate.Of(run, 3);
        Assert.Equal((3, three.Base), (three.Processes, three.Common));
        var (total, least) = ((3 * three.Total) - (2 * three.Base), (3 * three.Least) - (2 * three.Base));
        Assert.Null(three.Warning(total));
        Assert.Matches(
            "^this run may take [0-9.]+ GiB of memory in 3 processes and [0-9.]+ GiB are free: close other programs, "
            + "start fewer ranks on a machine, or reduce ", three.Warning(total - 1));
        three.RequireToFit(run, least);
        var error = Assert.Throws<UserException>(() => three.RequireToFit(run, least - 1));
        Assert.Contains(" in 3 processes on this machine; expected ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("a smaller base or fewer ranks on a machine.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_evaluation_batch_that_cannot_fit_is_named()
    {
        using var run = _project.Build(_project.Load(
            TinyProject.Mixture, "training.per_device_train_batch_size=1",
            "training.per_device_eval_batch_size=65536"));
        var estimate = MemoryEstimate.Of(run);
        Assert.True(estimate.Evaluation > estimate.Activations);
        var error = Assert.Throws<UserException>(() => estimate.RequireToFit(run, estimate.Least - 1));
        Assert.StartsWith("training.per_device_eval_batch_size: 65,536 rows, which need at least ", error.Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Gradient_checkpointing_keeps_the_inputs_of_blocks_and_one_of_them_whole()
    {
        using var kept = _project.Build(_project.Load(TinyProject.Full));
        using var again = _project.Build(_project.Load(TinyProject.Full, "training.gradient_checkpointing=true"),
            "again");
        // Two blocks of 64 tokens and width 16 in float32; the head is the same in both.
        const long Input = 64 * 16 * sizeof(float);
        var head = Input + 64L * sizeof(float) * kept.Trainable.Model.Config.VocabularySize;
        var expected = (2 * Input) + head + ((MemoryEstimate.Of(kept).Activations - head) / 2);
        Assert.Equal(expected, MemoryEstimate.Of(again).Activations);
    }

    [Fact]
    public void With_method_full_the_values_count_once()
    {
        using var adam = _project.Build(_project.Load(TinyProject.Full));
        var estimate = MemoryEstimate.Of(adam);
        Assert.Equal(3 * estimate.Base, estimate.Trained); // gradients and AdamW's two
        using var sgd = _project.Build(_project.Load(TinyProject.Full, "training.optim=sgd"), "sgd");
        Assert.Equal(estimate.Base, MemoryEstimate.Of(sgd).Trained);
    }

    private static float[] Logits(CausalLanguageModel model)
    {
        using var scope = torch.NewDisposeScope();
        return model.Forward(torch.tensor(new long[] { 5, 6, 7 }, [1, 3]),
            ForwardPass.ForInference()).data<float>().ToArray();
    }

    /// <summary>MiB of an evaluation batch's tensors, and of the whole process at its peak: the default recipe with
    /// per_device_eval_batch_size 16, 64, 128 and 256, and the last in float32.</summary>
    [Theory]
    [InlineData(29.5, 465)]
    [InlineData(117.5, 773)]
    [InlineData(235, 1029)]
    [InlineData(470, 1670)]
    [InlineData(496, 1686)]
    public void An_evaluation_batch_is_estimated_within_a_fifth_of_what_was_measured(double batch, double peak)
    {
        var estimate = new MemoryEstimate(
            328L << 20, 6L << 20, 11L << 20, 30L << 20, (long)(batch * (1 << 20)), RunsAgain: false);
        Assert.InRange(estimate.Total / peak / (1 << 20), 0.8, 1.2);
    }
}
