using System.Text.Json;
using System.Text.Json.Nodes;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

/// <summary>Adapters in and out, as a person types it; and what people get wrong.</summary>
public sealed class ExchangeTests(TrainedBundle trained) : IClassFixture<TrainedBundle>, IDisposable
{
    private readonly TempFolder _folder = new();

    private string Bundle => trained.Folder["out"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_mixture_goes_out_is_proven_and_comes_back()
    {
        var run = Run("adapter", "export", Bundle, "--output", "out").Succeeds();
        Assert.Contains("expert_2: 28 tensors equal bit for bit, verified: logits differ by at most", run.Output);
        Assert.Contains("## Metrics", File.ReadAllText(_folder["out/README.md"]));

        Assert.Contains("back: imported 3 experts behind router top-k of rank 2, ",
            Run("adapter", "import", "out", "--output", "back").Succeeds().Output);

        foreach (
            var name in new[] { "adapter_config.json", "adapter_model.safetensors", "bundle.json", "README.md",
            "recipe.resolved.yaml" })
            Assert.Equal(File.ReadAllBytes(Path.Combine(Bundle, name)), File.ReadAllBytes(_folder[$"back/{name}"]));
        Run("adapter", "verify", "out").Succeeds();
        Assert.Contains("fits ", Run("adapter", "verify", "back").Succeeds().Output);
        // One expert alone is a LoRA like any other.
        Run("generate", "--adapter", "out/expert_1", "--prompt", "the cat", "--max-new-tokens", "2").Succeeds();
    }

    [Theory]
    [InlineData("use_dora: true, lora_dropout: 0.1", false)]
    [InlineData("init_lora_weights: pissa", true)]
    [InlineData("init_lora_weights: pissa_niter_4, use_rslora: true", true)]
    [InlineData("init_lora_weights: olora, rank_pattern: {q_proj: 3}", true)]
    public void Variants_of_lora_are_continued_exported_and_come_back(string adapter, bool changesBase)
    {
        GoesOutAndComesBack($"{{r: 2, {adapter}}}", "0.02");
        Run("adapter", "export", "whole", "--format", "merged", "--output", "model").Succeeds();

        using var config = JsonDocument.Parse(File.ReadAllText(_folder["theirs/adapter_config.json"]));
        Assert.Equal(changesBase ? 4 : 2, config.RootElement.GetProperty("r").GetInt32());
        Assert.Equal(!changesBase, config.RootElement.GetProperty("use_dora").GetBoolean());
        Assert.Equal(JsonValueKind.True, config.RootElement.GetProperty("init_lora_weights").ValueKind);
        var own = Logits("--adapter", "whole");
        Assert.All(own.Zip(Logits("--adapter", "back")), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
        Assert.All(own.Zip(Logits("--base", "model")), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
        Assert.Contains(own.Zip(Logits("--base", TinyBase.Model)), pair => Math.Abs(pair.First - pair.Second) > 1e-2);
        Refused(["merge", "a=whole", "b=whole", "--method", "linear", "--output", "x"], changesBase
            ? "Make it a plain LoRA with peft adapter export." : "adapters of projections alone");
        Refused(["gate", "--adapter", "whole"], changesBase
            ? "left of the base; expected one plain LoRA. Make it one with peft adapter export."
            : "whole: a DoRA; expected one plain LoRA. Experts behind gates have no magnitudes.");
        if (!changesBase)
            Refused(["merge", "a=theirs", "b=theirs", "--method", "linear", "--output", "x"],
                "theirs: a DoRA; expected adapters of projections alone.");
    }

    [Theory]
    [InlineData("init_lora_weights: goat, experts: {count: 3}, router: {kind: top-k}", 8)]
    [InlineData("init_lora_weights: goat, goat: {scaling: alpha, triplets: tail}, router: {kind: soft}", 10)]
    [InlineData("lora_dropout: 0.1, router: {kind: comol}", 2)]
    [InlineData("router: {kind: comol, router_input: full, top_k: 2, balance: {kind: bip}}", 2)]
    public void Goat_and_comol_are_continued_exported_and_come_back(string adapter, int rank)
    {
        GoesOutAndComesBack($"{{method: mixture, r: 2, {adapter}}}", "0.01");
        Run("adapter", "export", "whole", "--format", "merged", "--approximate", "--output", "model").Succeeds();
        Run("adapter", "export", "whole", "--collapse", "cat", "--approximate", "--output", "one").Succeeds();

        using var config = JsonDocument.Parse(File.ReadAllText(_folder["theirs/expert_0/adapter_config.json"]));
        Assert.Equal(rank, config.RootElement.GetProperty("r").GetInt32());
        Assert.Equal(Logits("--adapter", "whole"), Logits("--adapter", "back"));
        Assert.All(Logits("--adapter", "one").Zip(Logits("--base", "model")),
            pair => Assert.Equal(pair.First, pair.Second, 1e-3));
    }

    // Trains whole, and once more from half-way to the same bytes; exports theirs and imports it as back.
    private void GoesOutAndComesBack(string adapter, string rate)
    {
        _folder.Write("v.yaml", TinyBase.Recipe(
            adapter, $"{{per_device_train_batch_size: 2, max_steps: 4, save_steps: 2, learning_rate: {rate}}}"));
        Run("train", "v.yaml", "--output", "whole").Succeeds();
        _folder.Copy(_folder["whole/checkpoint-2"], "again/checkpoint-2");
        Run("train", "v.yaml", "--output", "again", "--resume", "again/checkpoint-2").Succeeds();
        Assert.Equal(
            File.ReadAllBytes(_folder["whole/adapter_model.safetensors"]),
            File.ReadAllBytes(_folder["again/adapter_model.safetensors"]));
        Run("adapter", "verify", "whole").Succeeds();

        Run("adapter", "export", "whole", "--output", "theirs").Succeeds();
        Run("adapter", "import", "theirs", "--output", "back").Succeeds();
    }

    [Theory]
    [InlineData("{use_dora: true, method: mixture, experts: {count: 2}}",
        "adapter.use_dora           true with router.kind: top-k; expected method: lora beside it. One magnitude "
        + "cannot follow several experts.")]
    [InlineData("{init_lora_weights: pissa, method: mixture, experts: {count: 2}}",
        "pissa with router.kind: top-k; expected method: lora beside it. All experts would begin alike; goat gives "
        + "each its own part of the weight.")]
    [InlineData("{init_lora_weights: goat}",
        "goat with method: lora; expected method: mixture beside it. Pissa is the like for one adapter.")]
    [InlineData("{init_lora_weights: goat, method: mixture, experts: {count: 2, shared: 1}}",
        "goat with experts.shared: 1; expected experts.shared: 0 beside it. Each expert gets a part of the weight, and "
        + "a shared one has none.")]
    [InlineData("{init_lora_weights: goat, method: mixture, router: {kind: hydra}}",
        "goat with router.kind: hydra; expected a router whose experts have an A and a B of their own and the "
        + "adapter's scale, such as top-k.")]
    [InlineData("{init_lora_weights: goat, method: mixture, router: {kind: rloo}}", "goat with router.kind: rloo;")]
    [InlineData("{init_lora_weights: goat, method: mixture, router: {kind: mixlora}}",
        "goat with router.kind: mixlora; expected a router within each projection, such as top-k. An expert that is a "
        + "whole feed-forward would lack what the others were given.")]
    [InlineData("{init_lora_weights: goat, method: mixture, r: 9}",
        "rank 9 with init_lora_weights: goat; expected at most 8, the shorter side of its weight by 4 experts. Lower "
        + "adapter.r or adapter.experts.count, or set adapter.rank_pattern.")]
    [InlineData("{goat: {rho: 3}}",
        "no effect with init_lora_weights: true. Remove it, or write init_lora_weights: goat.")]
    [InlineData("{method: mixture, experts: {count: 2, shared: 1}, router: {kind: comol}}",
        "1; expected 0 with router.kind: comol. Its experts have one A and one B together, beside which no other "
        + "expert stands.")]
    [InlineData("{init_lora_weights: olora, use_dora: true}",
        "true with init_lora_weights: olora; expected one of the two. What is left of the base has other magnitudes.")]
    [InlineData("{init_lora_weights: pisa}",
        "'pisa'; expected true, gaussian, pissa, pissa_niter_N (N from 1 to 100), olora or goat. Did you mean pissa?")]
    [InlineData("{init_lora_weights: pissa, r: 64}",
        "rank 64 with init_lora_weights: pissa; expected at most 32, the shorter side of its weight. Lower adapter.r, "
        + "or set adapter.rank_pattern.")]
    [InlineData("{use_dora: true, target_modules: [q_proj, embed_tokens]}",
        "adapter.target_modules: the embeddings, with use_dora; expected linear projections alone with it. Leave the "
        + "embeddings out of target_modules.")]
    public void Variants_that_contradict_other_settings_are_refused(string adapter, string message)
    {
        _folder.Write("bad.yaml", TinyBase.Recipe(adapter, "{max_steps: 1, report_to: none}"));
        var text = Run("train", "bad.yaml", "--output", "bad").Exits(2).Error;
        Assert.Contains(
            System.Text.RegularExpressions.Regex.Replace(message, " +", " "),
            System.Text.RegularExpressions.Regex.Replace(text, " +", " "));
        Assert.False(Directory.Exists(_folder["bad"]));
    }

    [Theory]
    [InlineData("target_modules: [q_proj], modules_to_save: [lm_head]", "lm_head.weight [288, 32]", true)]
    [InlineData("target_modules: [q_proj], modules_to_save: [embed_tokens]", "model.embed_tokens.weight [288, 32]",
        true)]
    [InlineData("target_modules: [q_proj], trainable_token_indices: [5, 2]",
        "model.embed_tokens.token_adapter.trainable_tokens_delta [2, 32]", false)]
    [InlineData("target_modules: [embed_tokens, q_proj]", "model.embed_tokens.lora_embedding_B [32, 2]", true)]
    public void What_is_trained_beside_projections_is_continued_goes_out_and_comes_back(
        string adapter, string tensor, bool unties)
    {
        _folder.Write("r.yaml", TinyBase.Recipe(
            $"{{r: 2, {adapter}}}",
            "{per_device_train_batch_size: 2, max_steps: 4, save_steps: 2, learning_rate: 0.02}"));
        Run("train", "r.yaml", "--output", "whole").Succeeds();
        _folder.Copy(_folder["whole/checkpoint-2"], "again/checkpoint-2");
        Run("train", "r.yaml", "--output", "again", "--resume", "again/checkpoint-2").Succeeds();
        var weights = File.ReadAllBytes(_folder["whole/adapter_model.safetensors"]);
        Assert.Equal(weights, File.ReadAllBytes(_folder["again/adapter_model.safetensors"]));

        Assert.Contains(
            $"trained beside them   base_model.model.{tensor}", Run("adapter", "inspect", "whole").Succeeds().Output);
        Assert.Contains($"fits {TinyBase.Model}", Run("adapter", "verify", "whole").Succeeds().Output);
        Run("generate", "--adapter", "whole", "--prompt", "the cat", "--max-new-tokens", "2").Succeeds();
        Run("adapter", "export", "whole", "--output", "theirs").Succeeds();
        Run("adapter", "import", "theirs", "--output", "back").Succeeds();
        Assert.Equal(weights, File.ReadAllBytes(_folder["back/adapter_model.safetensors"]));
        var merged = Run("adapter", "export", "whole", "--format", "merged", "--output", "merged").Succeeds();
        Assert.Equal(unties, merged.Error.Contains("is stored apart from the embeddings", StringComparison.Ordinal));

        var expected = Logits("--adapter", "whole");
        Assert.Equal(expected, Logits("--adapter", "theirs"));
        Assert.Equal(expected, Logits("--adapter", "back"));
        Assert.All(expected.Zip(Logits("--base", "merged")), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
        Assert.Contains(
            expected.Zip(Logits("--base", TinyBase.Model)), pair => Math.Abs(pair.First - pair.Second) > 1e-2);
        Refused(["merge", "whole", "theirs", "--method", "average", "--output", "x"],
            "expected adapters of projections alone");
    }

    [Fact]
    public void An_expert_alone_is_imported_inspected_merged_and_run()
    {
        Run("adapter", "export", Bundle, "--output", "out").Succeeds();
        Run("adapter", "import", "out/expert_0", "--output", "one").Succeeds();
        using var json = JsonDocument.Parse(Run("adapter", "inspect", "out/expert_0", "--json").Succeeds().Output);
        Assert.Equal(14, json.RootElement.GetProperty("modules").GetArrayLength());
        var report = Run("adapter", "export", "one", "--format", "merged", "--dtype", "float32", "--max-shard-size",
            "100KB", "--json", "--output", "merged").Succeeds();
        using var proofs = JsonDocument.Parse(report.Output);
        Assert.InRange(proofs.RootElement.GetProperty("proofs")[0].GetProperty("largest_difference").GetDouble(), 0,
            1e-3);
        Assert.True(File.Exists(_folder["merged/model.safetensors.index.json"]));
        Assert.Matches(
            @"merged checkpoint: verified: rounding to bfloat16 changes logits by at most \S+, "
                + @"\d\.\d\d% of the largest \(refused above 5%\)\n",
            Run("adapter", "export", "one", "--format", "merged", "--dtype", "bfloat16", "--output", "half")
                .Succeeds().Output);
        Run("generate", "--base", "merged", "--prompt", "the cat", "--max-new-tokens", "2").Succeeds();
    }

    [Fact]
    public void A_router_that_follows_the_input_is_refused_and_its_means_tell_the_error()
    {
        Refused(["adapter", "export", Bundle, "--format", "merged", "--output", "x"],
            "router top-k chooses by the input", "--approximate");
        var run = Run("adapter", "export", Bundle, "--format", "merged", "--approximate", "--output", "y").Succeeds();
        Assert.Matches("gate error", run.Output);
        Assert.Contains("an approximation: logits differ from the routed mixture's by at most", run.Output);
    }

    [Fact]
    public void Bad_input_is_told_in_one_message_and_nothing_is_written()
    {
        Run("adapter", "export", Bundle, "--output", "good").Succeeds();

        Refused(["adapter", "export", Bundle, "--max-shard-size", "5MB", "--output", "x"],
            "--max-shard-size: given without --format merged, where it has no effect. Leave it out.");
        Refused(["adapter", "import", "nowhere", "--output", "x"], "nowhere", "no such directory");
        Refused(["adapter", "import", "good", "--output", "good"], "good", "is read from there");
        _folder.Write("taken/adapter_config.json", "{}");
        Refused(["adapter", "import", "good", "--output", "taken"],
            "taken: already exists. Replace it with --overwrite");

        Edit("pickle", "adapter_model.safetensors", File.Delete);
        File.WriteAllText(_folder["pickle/adapter_model.bin"], "pickle");
        Refused(["adapter", "import", "pickle", "--output", "x"], "pickled weights", "safe_serialization=True");

        Edit("cut", "adapter_model.safetensors", path =>
        {
            var bytes = File.ReadAllBytes(path);
            File.WriteAllBytes(path, bytes[..(bytes.Length - 9)]);
        });
        Refused(["adapter", "import", "cut", "--output", "x"], "adapter_model.safetensors");

        Edit("nan", "adapter_model.safetensors", path =>
        {
            var bytes = File.ReadAllBytes(path);
            bytes.AsSpan(bytes.Length - 4).Fill(0xFF);
            File.WriteAllBytes(path, bytes);
        });
        Refused(["adapter", "import", "nan", "--output", "x"], "NaN or infinity");

        EditJson("rank", "adapter_config.json", json => json["r"] = 3);
        Refused(["adapter", "import", "rank", "--output", "x"], "[3, 32]",
            "the tensors do not fit this base or rank");

        EditJson("dora", "adapter_config.json", json => json["use_dora"] = true);
        Refused(["adapter", "import", "dora", "--output", "x"], "lora_magnitude_vector", "missing");

        EditJson("bias", "adapter_config.json", json => json["bias"] = "all");
        Refused(["adapter", "import", "bias", "--output", "x"], "bias", "Train without biases");

        EditJson("modules", "adapter_config.json", json => json["modules_to_save"] = new JsonArray("lm_head"));
        Refused(["adapter", "import", "modules", "--output", "x"], "modules_to_save");

        EditJson("targets", "adapter_config.json", json => json["target_modules"] = new JsonArray("c_attn"));
        Refused(["adapter", "import", "targets", "--output", "x"], "c_attn");

        Directory.CreateDirectory(_folder["escape"]);
        Run("adapter", "export", Bundle, "--output", "escape/mix").Succeeds();
        var manifest = _folder["escape/mix/mixture.json"];
        File.WriteAllText(manifest,
            File.ReadAllText(manifest).Replace("expert_0/README.md", "../../README.md", StringComparison.Ordinal));
        Refused(["adapter", "import", "escape/mix", "--output", "x"], "'../../README.md'",
            "the files of an exported mixture");
    }

    [Fact]
    public void Keys_that_are_not_known_are_warned_about()
    {
        Run("adapter", "export", Bundle, "--output", "good").Succeeds();
        EditJson("new", "adapter_config.json", json => json["tomorrow"] = 1);

        Run("adapter", "import", "new", "--output", "x").Succeeds().Says("warning: ",
            "key 'tomorrow' is not known and has no effect");
    }

    [Fact]
    public void Ctrl_c_leaves_nothing()
    {
        using var process = PeftProcess.Start(_folder, new(), "adapter", "export", Bundle, "--output", "out");
        process.TrySend(PeftProcess.Terminate);
        var run = process.Wait();

        // It may have come before the program listened, or after it was done.
        Assert.Contains(run.ExitCode, new[] { 0, 130, 143 });
        Assert.Equal(run.ExitCode == 0, Directory.Exists(_folder["out"]));
        Assert.DoesNotContain(Directory.GetFileSystemEntries(_folder.Path),
            path => path.Contains(".tmp-", StringComparison.Ordinal) && run.ExitCode != 143);
    }

    [SmallDiskFact]
    public void A_full_disk_leaves_nothing()
    {
        using var disk = new SmallDisk(64);

        Run("adapter", "export", Bundle, "--format", "merged", "--approximate", "--output",
            Path.Combine(disk.Path, "out")).Exits(1).Says("the disk is full");

        Assert.Empty(Directory.GetFileSystemEntries(disk.Path));
    }

    private List<double> Logits(params string[] words)
    {
        Run(["logits", .. words, "--ids", "5,2,260,262,265,268,270,275", "--output", "logits.json"]).Succeeds();
        using var json = JsonDocument.Parse(File.ReadAllText(_folder["logits.json"]));
        return [.. json.RootElement.GetProperty("logits").EnumerateArray()
            .SelectMany(row => row.EnumerateArray().Select(value => value.GetDouble()))];
    }

    private ProgramRun Run(params string[] words) => PeftProcess.Run(_folder, words);

    private void Refused(string[] words, params string[] parts)
    {
        var before = _folder.Snapshot();
        Run(words).IsRefused(parts);
        Assert.Equal(before, _folder.Snapshot());
        Assert.False(Directory.Exists(_folder["x"]));
    }

    private void Edit(string name, string file, Action<string> edit)
    {
        _folder.Copy(_folder["good/expert_0"], name);
        edit(_folder[$"{name}/{file}"]);
    }

    private void EditJson(string name, string file, Action<JsonNode> edit) => Edit(name, file, path =>
    {
        var json = JsonNode.Parse(File.ReadAllText(path))!;
        edit(json);
        File.WriteAllText(path, json.ToJsonString());
    });
}
