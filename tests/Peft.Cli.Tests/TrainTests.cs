using System.Text.Json;
using System.Text.RegularExpressions;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed partial class TrainTests(TrainedBundle trained) : IClassFixture<TrainedBundle>
{
    private static readonly string[] StepKeys = ["step", "loss", "aux", "lr", "grad_norm", "tokens",
        "tokens_per_second", "peak_memory_bytes", "load"];

    private TempFolder Folder => trained.Folder;

    [Fact]
    public void A_run_tells_what_it_does_and_prints_its_results_as_json()
    {
        trained.Run.Succeeds().Says(
            "trainable parameters on a base of", "12 sequences", "6 steps; 1 thread; ", "step 1/6  loss",
            "step 2/6  loss", "step 3  eval_loss", "step 6/6  loss", "out: saved after 6 steps");
        Assert.DoesNotContain("step 5/6", trained.Run.Error);
        using var results = JsonDocument.Parse(trained.Run.Output);
        var models = results.RootElement.GetProperty("models").EnumerateArray().ToList();
        Assert.Equal(["base", "out"], models.Select(m => m.GetProperty("name").GetString()));
        Assert.Equal("held", models[1].GetProperty("tasks")[0].GetProperty("task").GetString());
    }

    [Fact]
    public void The_bundle_has_its_files_and_verifies()
    {
        Assert.All(
            ["adapter_config.json", "adapter_model.safetensors", "bundle.json", "recipe.resolved.yaml",
                "metrics.jsonl", "README.md", "results.json"],
            name => Assert.True(File.Exists(Folder[$"out/{name}"]), name));
        Assert.Single(Directory.GetFiles(Folder["out/events"]));
        // save_total_limit is 2.
        Assert.Equal(["checkpoint-2", "checkpoint-4"],
            Directory.GetDirectories(Folder["out"], "checkpoint-*").Select(Path.GetFileName).Order());
        Assert.Contains("out: intact", PeftProcess.Run(Folder, "adapter", "verify", "out").Succeeds().Output);
    }

    [Fact]
    public void Metrics_have_a_line_a_step_and_a_line_an_evaluation()
    {
        var lines = File.ReadAllLines(Folder["out/metrics.jsonl"]).Select(
            line => JsonDocument.Parse(line).RootElement).ToList();
        var steps = lines.Where(line => line.TryGetProperty("loss", out _)).ToList();
        Assert.Equal(Enumerable.Range(1, TrainedBundle.Steps),
            steps.Select(line => line.GetProperty("step").GetInt32()));
        Assert.All(steps, line =>
        {
            Assert.Equal(StepKeys, line.EnumerateObject().Select(key => key.Name).Where(key => key != "routing"));
            Assert.All(StepKeys[1..^1], key => Assert.True(double.IsFinite(line.GetProperty(key).GetDouble()), key));
            Assert.True(line.GetProperty("aux").GetDouble() > 0);
            var load = line.GetProperty("load").EnumerateArray().Select(share => share.GetDouble()).ToList();
            Assert.Equal(3, load.Count);
            Assert.InRange(load.Sum(), 0.99999, 1.00001);
        });
        // What each module's routing did, at logging steps.
        var routing = steps[^1].GetProperty("routing").EnumerateObject().First().Value;
        Assert.Equal(
            ["load", "mean_probability", "entropy", "effective_support", "experts_per_token", "dead_experts"],
            routing.EnumerateObject().Select(key => key.Name));
        Assert.Equal(1, routing.GetProperty("load").EnumerateArray().Sum(share => share.GetDouble()), 1e-4);
        Assert.Equal(
            [3, 6], lines.Where(line => line.TryGetProperty("eval_loss", out _)).Select(
                line => line.GetProperty("step").GetInt32()));
        Assert.True(steps[^1].GetProperty("loss").GetDouble() < steps[0].GetProperty("loss").GetDouble());
    }

    [Fact]
    public void Results_say_how_far_the_loads_moved_from_one_logged_step_to_the_next()
    {
        var loads = File.ReadAllLines(Folder["out/metrics.jsonl"]).Select(line => JsonDocument.Parse(line).RootElement)
            .Where(line => line.TryGetProperty("routing", out _))
            .Select(line => (
                Step: line.GetProperty("step").GetInt64(),
                Loads: line.GetProperty("routing").EnumerateObject()
                    .Select(module => module.Value.GetProperty("load").EnumerateArray()
                        .Select(share => share.GetDouble()).ToList()).ToList()))
            .ToList();
        var expected = loads.Zip(loads.Skip(1)).Select(pair => pair.First.Loads.Zip(pair.Second.Loads)
            .Average(module => module.First.Zip(module.Second).Sum(share => Math.Abs(share.First - share.Second)) / 2));

        using var results = JsonDocument.Parse(File.ReadAllText(Folder["out/results.json"]));
        var training = results.RootElement.GetProperty("subjects").EnumerateArray()
            .Single(subject => subject.GetProperty("name").GetString() == "out").GetProperty("training");
        Assert.Equal(
            loads.Skip(1).Select(load => load.Step),
            training.GetProperty("load_step").EnumerateArray().Select(step => step.GetInt64()));
        var changes = training.GetProperty("load_change").EnumerateArray().Select(c => c.GetDouble()).ToList();
        Assert.True(changes.Count >= 2);
        Assert.All(expected.Zip(changes), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
        Assert.Contains(changes, change => change > 0);
    }

    [Fact]
    public void The_same_seed_gives_the_same_bytes()
    {
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "again", "--set", "training.report_to=[none]",
            "--set", "evaluation.tasks=[]")
            .Succeeds();
        Assert.Equal(File.ReadAllBytes(Folder["out/adapter_model.safetensors"]),
            File.ReadAllBytes(Folder["again/adapter_model.safetensors"]));
        Assert.Equal(File.ReadAllText(Folder["out/adapter_config.json"]),
            File.ReadAllText(Folder["again/adapter_config.json"]));
        Assert.False(Directory.Exists(Folder["again/events"]));
    }

    [Fact]
    public void The_resolved_recipe_is_a_recipe_and_a_dry_run_writes_nothing()
    {
        var before = Folder.Snapshot();
        var plan = PeftProcess.Run(Folder, "train", "out/recipe.resolved.yaml", "--dry-run", "--output",
            "planned").Succeeds().Output;
        Assert.StartsWith(File.ReadAllText(Folder["out/recipe.resolved.yaml"]).TrimEnd(), plan);
        Assert.Contains("model.layers.*.mlp.down_proj", plan);
        Assert.Contains("memory: about ", plan);
        Assert.Equal(before, Folder.Snapshot());
        Assert.False(Directory.Exists(Folder["planned"]));
    }

    [Fact]
    public void Existing_output_is_refused_and_left_as_it_is()
    {
        var before = Folder.Snapshot("out");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "out")
            .IsRefused(
            "out: holds the result of an earlier run. Replace it with --overwrite, or choose another directory with "
            + "--output.");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "out", "--resume", "auto",
            "--overwrite").IsRefused("--resume: given with --overwrite; expected one of the two.");
        Folder.Write("foreign/README.md", "mine");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "foreign", "--overwrite").IsRefused(
            "foreign: is not empty, and holds no run. Choose another directory with --output.\n");
        PeftProcess.Run(Folder, Surroundings.With("MAKELEVEL", "1"), "train", "mix.yaml", "--output", "out").IsRefused(
            "with --output.\nWith make, options are given in ARGS: ARGS='--overwrite'\n");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--dry-run", "--json").IsRefused(
            "--json: given with --dry-run, which measures nothing; expected one of the two.\n");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "out", "--resume",
            "out/nowhere").IsRefused("out/nowhere");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "mix.yaml").IsRefused("mix.yaml: is a file");
        Assert.Equal(before, Folder.Snapshot("out"));
    }

    [Fact]
    public void A_checkpoint_of_another_recipe_is_not_continued_and_nothing_is_changed()
    {
        var before = Folder.Snapshot("out");
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "out", "--resume", "auto", "--set",
            "training.learning_rate=0.02")
            .Exits(2).Says(
            "out/checkpoint-4: written by another recipe. Continue with that recipe, or train again with --overwrite.",
            "checkpoint: training.learning_rate: 0.01",
            "recipe:     training.learning_rate: 0.02");
        Assert.Equal(before, Folder.Snapshot("out"));
    }

    [Fact]
    public void Overwrite_replaces_a_mixture_by_a_plain_lora_which_generates()
    {
        foreach (var file in Directory.GetFiles(Folder["out"], "*", SearchOption.AllDirectories))
        {
            var copy = file.Replace(Folder["out"], Folder["old"], StringComparison.Ordinal);
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            File.Copy(file, copy);
        }
        Folder.Write("old/notes.txt", "mine");
        Folder.Write("lora.yaml",
            TinyBase.Recipe("{r: 2, target_modules: [q_proj, v_proj]}", "{max_steps: 1, report_to: none}"));
        PeftProcess.Run(Folder, "train", "lora.yaml", "--output", "old", "--overwrite").Succeeds();

        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors", "bundle.json", "metrics.jsonl",
                "notes.txt", "recipe.resolved.yaml"],
            Directory.GetFileSystemEntries(Folder["old"]).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        using var config = JsonDocument.Parse(File.ReadAllText(Folder["old/adapter_config.json"]));
        Assert.Equal("LORA", config.RootElement.GetProperty("peft_type").GetString());
        Assert.Equal(TinyBase.Model, config.RootElement.GetProperty("base_model_name_or_path").GetString());
        Assert.Single(File.ReadAllLines(Folder["old/metrics.jsonl"]));
        // The bundle knows its base.
        PeftProcess.Run(Folder, "generate", "--adapter", "old", "--prompt", "the cat", "--max-new-tokens",
            "3").Succeeds();
    }

    [Fact]
    public void Inspect_shows_what_the_bundle_holds()
    {
        var text = PeftProcess.Run(Folder, "adapter", "inspect", "out").Succeeds().Output;
        Assert.Matches(@"experts +3, router top-k", text);
        Assert.Matches(@"layers\.0\.self_attn\.q_proj +3 +2 +2\.0000 +\d+\.\d{4} +\d+\.\d{4} +\d+\.\d{4} to \d", text);
        Assert.Matches(
            @"\nall \d+ +\d+ +\d+\.\d{4} +\d+\.\d{4} +\d+\.\d{4} to \d+\.\d{4}\n\n\|x\|: Frobenius norm; ", text);
        using var json = JsonDocument.Parse(
            PeftProcess.Run(Folder, "adapter", "inspect", "out", "--json").Succeeds().Output);
        Assert.Equal(42, json.RootElement.GetProperty("seed").GetInt32());
        Assert.Equal(3, json.RootElement.GetProperty("modules")[0].GetProperty("norm_added").GetArrayLength());
    }

    [Fact]
    public void Inspect_shows_whose_matrices_a_projection_shares()
    {
        Folder.Write("lily.yaml", TinyBase.Recipe(
            "{method: mixture, r: 2, target_modules: [q_proj], experts: {count: 2}, router: {kind: lily}}",
            "{max_steps: 1, report_to: none}"));
        PeftProcess.Run(Folder, "train", "lily.yaml", "--output", "lily").Succeeds();
        const string First = "model.layers.0.self_attn.q_proj";
        var text = PeftProcess.Run(Folder, "adapter", "inspect", "lily").Succeeds().Output;
        Assert.Matches(@"\nprojection +experts +r +scale +\|A\| +\|B\| +\|scale B A\| +shares\n", text);
        Assert.Matches(@"\nmodel\.layers\.0\.self_attn\.q_proj .* to \d\.\d{4} *\n", text);
        Assert.Matches(
            @"\nmodel\.layers\.1\.self_attn\.q_proj .* to \d\.\d{4} +B of model\.layers\.0\.self_attn\.q_proj\n", text);
        using var json = JsonDocument.Parse(
            PeftProcess.Run(Folder, "adapter", "inspect", "lily", "--json").Succeeds().Output);
        Assert.Equal(First, json.RootElement.GetProperty("modules")[1].GetProperty("owner_b").GetString());
        Assert.EndsWith(
            "layers.1.self_attn.q_proj", json.RootElement.GetProperty("modules")[1].GetProperty("owner_a").GetString());
    }

    [Fact]
    public void Inspect_of_one_lora_speaks_of_no_experts_and_adds_its_norms_up()
    {
        Folder.Write("one.yaml",
            TinyBase.Recipe("{r: 2, target_modules: [q_proj, v_proj]}", "{max_steps: 1, report_to: none}"));
        PeftProcess.Run(Folder, "train", "one.yaml", "--output", "one").Succeeds();
        var text = PeftProcess.Run(Folder, "adapter", "inspect", "one").Succeeds().Output;
        Assert.DoesNotContain("expert", text);
        Assert.EndsWith("\n\n|x|: Frobenius norm; scale B A: what the adapter adds to a weight\n", text);
        var norms = NormsLine().Matches(text).Select(line => double.Parse(line.Groups[2].Value,
            System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.Equal(norms[^1], Math.Sqrt(norms.SkipLast(1).Sum(norm => norm * norm)), 3);
        Assert.Contains($"\nall {norms.Count - 1} ", text);
    }

    [Fact]
    public void A_dry_run_puts_alike_layers_on_one_line_and_tells_when_the_output_is_taken()
    {
        Folder.Write("dry.yaml",
            TinyBase.Recipe("{r: 2, target_modules: [q_proj, v_proj]}", "{max_steps: 1, report_to: none}"));
        var free = PeftProcess.Run(Folder, "train", "dry.yaml", "--dry-run", "--output", "dry").Succeeds().Output;
        Assert.Matches(@"\nmodel\.layers\.\*\.self_attn\.q_proj +2 +\d+ +\d+\n", free);
        Assert.Single(free.Split('\n'), line => line.Contains("self_attn.q_proj", StringComparison.Ordinal));
        Assert.EndsWith("\noutput: dry\n", free);
        var taken = PeftProcess.Run(Folder, "train", "dry.yaml", "--dry-run", "--output", "out").Succeeds().Output;
        Assert.Contains("\nwarning: out: holds the result of an earlier run. Replace it with --overwrite, or choose "
            + "another directory with --output.", taken);
    }

    [Fact]
    public void A_dry_run_shows_what_is_trained_at_which_rate()
    {
        string[] plan = ["train", "mix.yaml", "--dry-run", "--output", "rates", "--set"];
        var one = PeftProcess.Run(Folder, [.. plan, "training.learning_rate=0.002"]).Succeeds().Output;
        Assert.DoesNotContain("training key", one);
        var three = PeftProcess.Run(Folder, [.. plan, "training.learning_rate=0.002", "--set",
            "training.loraplus_lr_ratio=16", "--set", "training.router_learning_rate=0.0005"]).Succeeds().Output;
        Assert.Matches(@"\n0\.002 +learning_rate +[\d,]+ +lora_A\n0\.032 +loraplus_lr_ratio +[\d,]+ +lora_B\n"
            + @"0\.0005 +router_learning_rate +[\d,]+ +router\.weight\n", three);
        PeftProcess.Run(Folder, "train", "mix.yaml", "--output", "rates", "--set", "adapter={r: 2}", "--set",
            "training.router_learning_rate=0.01").IsRefused(
            "training.router_learning_rate: 0.01, and no router has parameters that learn; expected a router that "
            + "learns. Leave it out otherwise.\n");
        Assert.False(Directory.Exists(Folder["rates"]));
    }

    [Fact]
    public void Verify_names_the_file_that_was_changed()
    {
        Folder.Copy(Folder["out"], "damaged");
        var weights = File.ReadAllBytes(Folder["damaged/adapter_model.safetensors"]);
        weights[^1] ^= 1;
        File.WriteAllBytes(Folder["damaged/adapter_model.safetensors"], weights);
        PeftProcess.Run(Folder, "adapter", "verify", "damaged").IsRefused("damaged has 1 fault",
            "adapter_model.safetensors", "changed or damaged");
        PeftProcess.Run(Folder, "adapter", "verify", "nowhere").IsRefused(
            "nowhere: no such directory; expected the directory of a bundle.");
    }

    [Fact]
    public void A_loss_that_is_no_number_ends_the_run_with_the_rows_and_leaves_the_recipe_of_step_1()
    {
        Folder.Copy(TinyBase.Model, "broken");
        var weights = File.ReadAllBytes(Folder["broken/model.safetensors"]);
        Array.Fill(weights, (byte)0xFF, weights.Length - 64, 64); // the last values of the file become NaN
        File.WriteAllBytes(Folder["broken/model.safetensors"], weights);
        Folder.Write("nan.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 3, per_device_train_batch_size: 2}"));

        PeftProcess.Run(Folder, "train", "nan.yaml", "--output", "nan", "--set", "model.model_name_or_path=broken")
            .Exits(1).Says("step 1: the loss is not a finite number", "rows.jsonl");
        Assert.Contains("max_steps: 3", File.ReadAllText(Folder["nan/recipe.resolved.yaml"]));
        Assert.Equal("", File.ReadAllText(Folder["nan/metrics.jsonl"]));
        Assert.False(File.Exists(Folder["nan/bundle.json"]));
    }

    [Fact]
    public void Full_training_leaves_a_model_in_hugging_face_layout()
    {
        Assert.All(
            ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "recipe.resolved.yaml",
                "metrics.jsonl"],
            name => Assert.True(File.Exists(Path.Combine(TinyBase.Model, name)), name));
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(TinyBase.Model, "config.json")));
        Assert.Equal("llama", config.RootElement.GetProperty("model_type").GetString());
    }

    [Fact]
    public void Data_shows_what_is_learned()
    {
        var text = PeftProcess.Run(Folder, "data", "mix.yaml", "--rows", "1").Succeeds().Output;
        Assert.Contains("learned:", text);
        Assert.Matches(@"rows +12 +12", text);
        Assert.Matches(@"held \(eval\) +4 +4", text);
        Assert.DoesNotContain("packing:", text);
    }

    [Fact]
    public void Data_shows_how_sequences_share_rows()
    {
        var text = PeftProcess.Run(Folder, "data", "mix.yaml", "--rows", "0", "--set",
            "data.packing=true").Succeeds().Output;
        Assert.Matches(@"packing: 12 sequences in \d+ rows of up to \d+ tokens, \d+\.\d per row, \d+\.\d% filled",
            text);
        Assert.Matches(@"padding: \d+ tokens per epoch, \d+ without packing", text);
    }

    [Fact]
    public void What_is_cut_off_and_skipped_is_told_by_train_and_data()
    {
        var folder = Folder;
        folder.Write("lossy.jsonl", """
            {"question": "the cat sat on the mat and the dog ran to the cat", "answer": " mat"}
            {"question": "the cat", "answer": " mat"}
            {"question": null, "answer": " mat"}
            {"question": "the", "answer": " the cat sat on the mat and the dog ran to the cat sat on the mat"}
            """);
        folder.Write("lossy.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 1}", """
            evaluation: {}
            """));
        string[] keys =
        [
            "--set",
            "data.train=[{files: lossy.jsonl, on_bad_row: skip, template: {prompt: \"{question}\", answer: "
            + "\"{answer}\"}}]",
            "--set", "data.max_length=10", "--set", "data.on_long_answer=skip",
        ];
        const string Cut = @"\d+ tokens cut off to fit max_length 10, from 1 sequence \(50\.0%\)";
        const string Skipped = "2 of 4 rows skipped (50.0%): 1 without a value or unreadable, 1 too long";
        foreach (var told in new[]
        {
            PeftProcess.Run(folder, ["data", "lossy.yaml", "--rows", "0", .. keys]).Succeeds().Output,
            PeftProcess.Run(folder,
                ["train", "lossy.yaml", "--output", "lossy", "--dry-run", .. keys]).Succeeds().Output,
            PeftProcess.Run(folder, ["train", "lossy.yaml", "--output", "lossy", .. keys]).Succeeds().Error,
        })
        {
            Assert.Matches(Cut, told);
            Assert.Contains(Skipped, told);
        }

        // Streamed, the first rows are a sample of it, and the end of the run knows all that was read.
        string[] streaming = ["--set", "data.streaming=true", "--set", "training.max_steps=4"];
        var streamed = PeftProcess.Run(
            folder, ["train", "lossy.yaml", "--output", "streamed", "--overwrite", .. keys, .. streaming]).Succeeds();
        Assert.Matches(@"lossy, sample of the first 4 rows: " + Cut, streamed.Error);
        Assert.Contains("lossy, sample of the first 4 rows: " + Skipped, streamed.Error);
        Assert.Matches(@"streamed: \d+ rows drawn: \d+ sequences, [\d,]+ tokens, \d+ learned\n", streamed.Error);
        Assert.Matches(@"streamed: \d+ tokens cut off to fit max_length 10, from \d+ sequences? \(\d", streamed.Error);
        Assert.Matches(@"streamed: \d+ of \d+ rows skipped \(33\.3%\): \d+ too long\n", streamed.Error);
        Assert.Matches(
            @"streamed: \d+ of \d+ rows skipped \(25\.0%\): \d+ without a value or unreadable\n", streamed.Error);

        folder.Write("blank.jsonl", """
            {"question": "the cat sat", "answer": ""}
            {"question": "the dog ran", "answer": "mat"}
            """);
        var blank = PeftProcess.Run(
            folder, "train", "lossy.yaml", "--output", "blank", "--json", "--resume", "auto", "--set",
            "data.train=[{files: blank.jsonl, template: {prompt: \"{question}\", answer: \" {answer}\"}}]", "--set",
            "data.max_length=4").Succeeds();
        Assert.Matches(
            @"\nwarning: \d+ tokens cut off to fit max_length 4, from 2 sequences \(100\.0%\); "
            + @"raise data\.max_length\n",
            blank.Error);
        blank.Says("1 row of 2 (50.0%) with an empty answer, which is learned as one\n",
            "blank: no checkpoint to resume from; starting at the first step\n", " --prompt TEXT\n");
        Assert.Matches(
            """^\{"models":\[\{"name":"blank","trainable_parameters":\d+,"tasks":\[\]\}\]\}\n$""", blank.Output);

        var whole = PeftProcess.Run(folder, ["data", "lossy.yaml", "--rows", "0"]).Succeeds().Output;
        Assert.DoesNotContain("cut off", whole);
        Assert.DoesNotContain("skipped (", whole);
    }

    [Fact]
    public void Streamed_data_is_shown_by_a_sample_and_a_dry_run_says_what_is_unknown()
    {
        string[] streaming = ["--set", "data.streaming=true", "--set", "data.shuffle_buffer_size=5"];
        var text = PeftProcess.Run(Folder, ["data", "mix.yaml", "--rows", "1", .. streaming]).Succeeds().Output;
        Assert.Contains("learned:", text);
        Assert.Matches(@"rows \(sample\) +5 +5", text);
        Assert.Matches(@"held \(eval\) +4 +4", text);
        Assert.Contains("streamed in blocks of 5 rows: number of sequences unknown (data.train[0]: ", text);
        var plan = PeftProcess.Run(Folder,
            ["train", "mix.yaml", "--dry-run", "--output", "planned", .. streaming]).Succeeds().Output;
        Assert.Contains("  streaming: true\n", plan);
        Assert.Contains("number of tokens unknown, longest row unknown (assumed to be max_length 32); 6 steps", plan);
        PeftProcess.Run(Folder,
            ["train", "mix.yaml", "--output", "planned", "--set", "training.max_steps=0", .. streaming])
            .IsRefused("training.max_steps", "streaming leaves the number of sequences unknown");
    }

    [Fact]
    public void A_run_that_diverged_ends_with_a_word_about_it()
    {
        Folder.Write("wild.yaml",
            TinyBase.Recipe("{r: 2}",
            "{max_steps: 30, learning_rate: 60, lr_scheduler_type: constant, report_to: none}"));
        PeftProcess.Run(Folder, "train", "wild.yaml", "--output", "wild").Succeeds().Says(
            "warning: learning_rate 60 is far above what trains adapters with adamw (at most about 0.05)",
            "warning: at the end the loss is ",
            "next: train again with another learning rate (training.learning_rate was 60): peft train wild.yaml --set "
            + "training.learning_rate=6 --output wild --overwrite\n");
    }

    [Fact]
    public void The_line_after_training_says_what_comes_next_with_the_real_paths() => trained.Run.Says(
        "next: peft eval --adapter out --output out/evaluation; peft generate --adapter out --prompt '"
        + "the cat 1 sat on'; peft "
        + "adapter export out --output out-peft");

    [Fact]
    public void The_table_after_training_leads_with_the_sentence_that_the_report_leads_with()
    {
        string[] words = ["train", "mix.yaml", "--output", "table", "--set", "training.max_steps=2"];
        var lines = PeftProcess.Run(Folder, words).Succeeds().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("task ", lines[1], StringComparison.Ordinal);
        PeftProcess.Run(Folder, "report", "table", "--template", "report.md", "--output",
            "table.md").Succeeds().Says(lines[0]);
    }

    [GeneratedRegex(@"\n(\S+(?: \d+)?) +(?:\d+ +\d\.\d+ +)?\d+\.\d{4} +(\d+\.\d{4}) +\d+\.\d{4}(?=\n)")]
    private static partial Regex NormsLine();
}
