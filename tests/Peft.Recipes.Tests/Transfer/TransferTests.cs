using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Formats;
using Peft.Models;
using Peft.Recipes.Transfer;

namespace Peft.Recipes.Tests.Transfer;

public sealed class TransferTests(TinyAdapters tiny) : IClassFixture<TinyAdapters>
{
    private const string Mixture =
        """{"method": "mixture", "r": 2, "experts": {"count": 3}, "router": {"kind": "top-k"}}""";

    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind)];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Every_router_goes_out_and_comes_back_file_by_file(string kind)
    {
        var count = RouterCatalog.Of(kind).HasOneAdapter ? 1 : 3;
        var (targets, tensors) = RouterCatalog.Of(kind).First.NeedsSquare
            ? (""" "target_modules": ["q_proj", "o_proj"], """, 8) : ("", 28);
        var bundle = tiny.Write($"b-{kind}",
            $$$"""
            {"method": "mixture", "r": 2, "experts": {"count": {{{count}}}}, {{{targets}}}
             "router": {"kind": "{{{kind}}}"}}
            """);

        var report = Export(new() { Adapter = bundle, Output = tiny.Folder[$"e-{kind}"] });
        AdapterImport.Run(tiny.Folder[$"e-{kind}"], null, tiny.Folder[$"i-{kind}"], overwrite: false, _ => { });

        // Beside feed-forwards that are routed as a whole the other projections are a part of their own.
        Assert.Equal(
            RouterCatalog.Of(kind).First.RoutesFeedForward ? [16, .. Enumerable.Repeat(12, count)]
                : Enumerable.Repeat(tensors, count),
            report.Proofs.Select(proof => proof.Tensors));
        Assert.Equal(tiny.Snapshot(bundle), tiny.Snapshot(tiny.Folder[$"i-{kind}"]));
        Assert.Contains("intact; an exported mixture",
            AdapterVerification.Run(tiny.Folder[$"e-{kind}"], null, _ => { }), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("phatgoose")]
    [InlineData("arrow")]
    public void Adapters_that_were_merged_behind_a_router_go_out_and_come_back_file_by_file(string method)
    {
        var law = tiny.Write($"law-{method}", """{"r": 2, "lora_alpha": 6}""", gated: true);
        var code = tiny.Write($"code-{method}",
            """{"r": 3, "use_rslora": true, "target_modules": ["q_proj", "up_proj"]}""", gated: true);
        var merged = tiny.Folder[$"merged-{method}"];
        AdapterMerge.Run([.. MergeSource.Open(law), .. MergeSource.Open(code)], MergeCatalog.Find(method)!,
            new MergeOptions(), null, merged);

        Export(new() { Adapter = merged, Output = tiny.Folder[$"out-{method}"] });
        AdapterImport.Run(tiny.Folder[$"out-{method}"], tiny.Base, tiny.Folder[$"back-{method}"], overwrite: false,
            _ => { });

        Assert.Equal(tiny.Snapshot(merged), tiny.Snapshot(tiny.Folder[$"back-{method}"]));
    }

    [Theory]
    [InlineData("""{"r": 2}""")]
    [InlineData("""{"method": "mixture", "r": 2, "experts": {"count": 2}, "router": {"kind": "top-k"}}""")]
    public void What_a_next_stage_needs_stays_behind_and_that_is_said(string options)
    {
        var bundle = tiny.Write("stage", options, beside: ContinualFile.Of(
            new ContinualState(1, new Dictionary<string, InputStatistics>())));

        var report = Export(new() { Adapter = bundle, Output = tiny.Folder["stage-out"] });

        Assert.Equal(
            "continual.safetensors stays behind: a next stage goes on from the bundle", report.Remarks[^1]);
        Directory.Delete(tiny.Folder["stage-out"], recursive: true);
        Directory.Delete(bundle, recursive: true);
    }

    [Fact]
    public void A_gate_goes_along_with_its_lora()
    {
        var bundle = tiny.Write("gated", """{"r": 2}""", gated: true);

        Export(new() { Adapter = bundle, Output = tiny.Folder["gated-out"] });
        AdapterImport.Run(tiny.Folder["gated-out"], tiny.Base, tiny.Folder["gated-back"], overwrite: false, _ => { });

        Assert.Equal(File.ReadAllBytes(Path.Combine(bundle, GateFile.Name)),
            File.ReadAllBytes(tiny.Folder[$"gated-back/{GateFile.Name}"]));
        Assert.Equal(14, GateFile.Read(tiny.Folder["gated-back"], GateVectors.Gate)!.Count);
    }

    [Fact]
    public void A_lora_goes_out_comes_back_and_goes_out_the_same()
    {
        var bundle = tiny.Write("lora",
            """{"r": 2, "lora_alpha": 3, "use_rslora": true, "rank_pattern": {"q_proj": 4}}""");
        Export(new() { Adapter = bundle, Output = tiny.Folder["lora-out"] });
        AdapterImport.Run(tiny.Folder["lora-out"], tiny.Base, tiny.Folder["lora-back"], overwrite: false, _ => { });
        Export(new() { Adapter = tiny.Folder["lora-back"], Output = tiny.Folder["lora-again"] });

        foreach (var name in new[] { "adapter_config.json", "adapter_model.safetensors" })
        {
            var bytes = File.ReadAllBytes(Path.Combine(bundle, name));
            Assert.All(new[] { "lora-out", "lora-back", "lora-again" },
                folder => Assert.Equal(bytes, File.ReadAllBytes(tiny.Folder[$"{folder}/{name}"])));
        }
        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors"],
            Directory.GetFileSystemEntries(tiny.Folder["lora-out"]).Select(Path.GetFileName).Order(
                StringComparer.Ordinal));
        Assert.Equal(tiny.Logits(tiny.Base, bundle), tiny.Logits(tiny.Base, tiny.Folder["lora-back"]));
    }

    [Theory]
    [InlineData(5_000_000_000, 1)]
    [InlineData(5_000, 0)]
    public void A_merged_checkpoint_gives_the_adapters_logits_in_one_file_or_in_shards(long size, int files)
    {
        var bundle = tiny.Write("m-lora", """{"r": 2}""");
        var output = tiny.Folder[$"merged-{size}"];

        Export(new() { Adapter = bundle, Output = output, Format = "merged", MaxShardSize = size });

        var shards = Directory.GetFiles(output, "model*.safetensors").Order(StringComparer.Ordinal).ToList();
        Assert.True(files == 0 ? shards.Count > 3 : shards.Count == files, $"{shards.Count} files");
        Assert.Equal(shards.Count > 1, File.Exists(Path.Combine(output, "model.safetensors.index.json")));
        Assert.True(File.Exists(Path.Combine(output, "tokenizer.json")));
        Near(tiny.Logits(tiny.Base, bundle), tiny.Logits(output), 1e-4);
        // Tied weights stay tied.
        Assert.DoesNotContain(Formats.Safetensors.SafetensorsCheckpoint.Open(output).Entries.Keys,
            name => name == "lm_head.weight");
        Assert.Contains("\"tie_word_embeddings\": true", File.ReadAllText(Path.Combine(output, "config.json")),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Shards_are_named_and_indexed_as_transformers_does_it()
    {
        var output = tiny.Folder["shards"];
        Export(new()
        {
            Adapter = tiny.Write("s-lora", """{"r": 2}"""), Output = output, Format = "merged",
            MaxShardSize = 20_000
        });

        var shards = Directory.GetFiles(output,
            "model*.safetensors").Select(Path.GetFileName).Order(StringComparer.Ordinal).ToList();
        using var index = System.Text.Json.JsonDocument.Parse(
            File.ReadAllText(Path.Combine(output, "model.safetensors.index.json")));

        Assert.Equal(Enumerable.Range(1, shards.Count).Select(i => $"model-{i:D5}-of-{shards.Count:D5}.safetensors"),
            shards);
        var entries = Formats.Safetensors.SafetensorsCheckpoint.Open(output).Entries.Values.ToList();
        Assert.Equal(entries.Sum(entry => entry.ByteCount),
            index.RootElement.GetProperty("metadata").GetProperty("total_size").GetInt64());
        Assert.Equal(entries.Count, index.RootElement.GetProperty("weight_map").EnumerateObject().Count());
    }

    [Fact]
    public void Gates_that_follow_the_input_are_merged_only_when_asked_and_the_error_is_told()
    {
        var bundle = tiny.Write("mix", Mixture);
        var options = new ExportOptions { Adapter = bundle, Output = tiny.Folder["mix-merged"], Format = "merged" };

        var refused = Assert.Throws<UserException>(() => Export(options));
        var collapse = Assert.Throws<UserException>(() => Export(options with { Format = "peft", Collapse = "cat" }));
        Assert.False(Directory.Exists(options.Output));
        var report = Export(options with { Approximate = true });

        Assert.Contains("router top-k chooses by the input", refused.Message, StringComparison.Ordinal);
        Assert.Equal(refused.Message, collapse.Message);
        Assert.Equal(14, report.Losses.Count);
        Assert.All(report.Losses, loss => Assert.InRange(loss.GateError, 1e-6, 2));
        Assert.InRange(report.RoutedDifference!.Value, 1e-6, 1e3);
        Assert.Contains("gates are replaced by their means", File.ReadAllText(tiny.Folder["mix-merged/README.md"]),
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("peft", "cat")]
    [InlineData("peft", "svd")]
    [InlineData("merged", null)]
    public void Gates_that_are_constant_collapse_to_the_same_function(string format, string? collapse)
    {
        var bundle = tiny.Write("constant", Mixture.Replace("top-k", "soft", StringComparison.Ordinal),
            equalExperts: true);
        var output = tiny.Folder[$"constant-{format}-{collapse}"];

        var report = Export(new()
        {
            Adapter = bundle, Output = output, Format = format, Collapse = collapse,
            Rank = collapse == "svd" ? 6 : null,
        });

        Assert.All(report.Losses, loss => Assert.Equal(0, loss.GateError));
        Near(tiny.Logits(tiny.Base, bundle), format == "merged" ? tiny.Logits(output) : tiny.Logits(tiny.Base, output),
            1e-4);
    }

    [Fact]
    public void Task_ids_cannot_be_averaged()
    {
        var bundle = tiny.Write("hard",
            Mixture.Replace("\"top-k\"", "\"hard-soft\", \"stage\": \"hard\"", StringComparison.Ordinal));

        var error =
            Assert.Throws<UserException>(() => Export(
            new() { Adapter = bundle, Output = tiny.Folder["hard-out"], Format = "merged", Approximate = true }));

        Assert.Contains("goes by task ids", error.Message, StringComparison.Ordinal);
        Export(new() { Adapter = bundle, Output = tiny.Folder["hard-out"] });
    }

    [Theory]
    [InlineData("""{"r": 2, "target_modules": ["lm_head"]}""")]
    [InlineData("""{"r": 2, "target_modules": ["embed_tokens", "q_proj"]}""")]
    [InlineData("""{"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}""")]
    [InlineData("""{"r": 2, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}""")]
    public void A_tied_head_that_differs_is_stored_apart(string options)
    {
        var bundle = tiny.Write("head", options);

        var report = Export(new() { Adapter = bundle, Output = tiny.Folder["head-out"], Format = "merged" });

        Assert.Equal(
            ["lm_head.weight is stored apart from the embeddings (tie_word_embeddings: false): the adapter changes one "
                + "of them"], report.Remarks);
        using var model = ModelLoader.Load(tiny.Folder["head-out"]);
        Assert.False(model.Config.TieWordEmbeddings);
        Directory.Delete(tiny.Folder["head-out"], recursive: true);
        Directory.Delete(bundle, recursive: true);
    }

    [Fact]
    public void Trained_tokens_of_a_tied_head_stay_tied()
    {
        var bundle = tiny.Write(
            "tokens", """{"r": 2, "target_modules": ["q_proj"], "trainable_token_indices": [3, 7]}""");

        var report = Export(new() { Adapter = bundle, Output = tiny.Folder["tokens-out"], Format = "merged" });

        Assert.Empty(report.Remarks);
        using var model = ModelLoader.Load(tiny.Folder["tokens-out"]);
        Assert.True(model.Config.TieWordEmbeddings);
    }

    [Fact]
    public void What_stands_in_the_way_is_not_replaced_unasked_and_never_if_it_is_no_result()
    {
        var bundle = tiny.Write("way", """{"r": 2}""");
        tiny.Folder.Write("diary/monday.txt", "rain");
        tiny.Folder.Write("taken/adapter_config.json", "{}");
        var options = new ExportOptions { Adapter = bundle, Output = tiny.Folder["taken"] };

        Refused(options, "already exists. Replace it with --overwrite");
        Refused(options with { Output = tiny.Folder["diary"] }, "exists");
        Refused(options with { Output = tiny.Folder["diary"], Overwrite = true },
            "holds neither an adapter nor a model");
        Refused(options with { Output = bundle, Overwrite = true }, "is read from there");
        Refused(options with { Output = tiny.Folder.Path, Overwrite = true }, "is read from there");
        foreach (var mine in new[] { "taken/notes.txt", "taken/deep/x.json" })
        {
            tiny.Folder.Write(mine, "mine");
            Refused(options with { Overwrite = true },
                $"holds {mine.Split('/')[1]}, and --overwrite removes nothing but the files of an adapter or model. "
                + "Choose another directory with --output, or move that file away.");
            Assert.Equal("mine", File.ReadAllText(tiny.Folder[mine]));
            File.Delete(tiny.Folder[mine]);
        }
        Directory.Delete(tiny.Folder["taken/deep"]);
        Export(options with { Overwrite = true });

        Assert.Equal("rain", File.ReadAllText(tiny.Folder["diary/monday.txt"]));
        Assert.True(File.Exists(tiny.Folder["taken/adapter_model.safetensors"]));
    }

    [Theory]
    [InlineData("gguf", null, null, false, "--format")]
    [InlineData("peft", "mean", null, false, "cat or svd")]
    [InlineData("merged", "cat", null, false, "given with --format merged; expected --format peft.")]
    [InlineData("peft", "cat", 4, false, "given without --collapse svd, where it has no effect.")]
    [InlineData("peft", null, null, true, "--approximate")]
    public void Options_that_mean_nothing_together_are_refused_before_anything_is_read(
        string format, string? collapse, int? rank, bool approximate, string part) =>
        Refused(new()
        {
            Adapter = "nowhere", Output = "out", Format = format, Collapse = collapse, Rank = rank,
            Approximate = approximate
        }, part);

    [Fact]
    public void An_interrupted_export_leaves_nothing()
    {
        var bundle = tiny.Write("stopped", """{"r": 2}""");
        using var source = new CancellationTokenSource();
        source.Cancel();

        Assert.Throws<OperationCanceledException>(() => AdapterExport.Run(
            new() { Adapter = bundle, Output = tiny.Folder["stopped-out"], Format = "merged" }, _ =>
                { }, source.Token));

        Assert.DoesNotContain(Directory.GetFileSystemEntries(tiny.Folder.Path),
            path => Path.GetFileName(path).StartsWith("stopped-out", StringComparison.Ordinal));
    }

    [Fact]
    public void The_card_of_a_merged_checkpoint_has_the_licence_of_its_base()
    {
        tiny.Folder.Write("base/README.md", "---\nlicense: apache-2.0\ntags: [x]\n---\n\nlicense: other\n");

        Export(new()
        {
            Adapter = tiny.Write("card", """{"r": 2}"""), Output = tiny.Folder["card-out"],
            Format = "merged"
        });

        Assert.Contains("license: \"apache-2.0\"\nlibrary_name: transformers\n",
            File.ReadAllText(tiny.Folder["card-out/README.md"]), StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_without_a_base_says_what_it_did_not_compare()
    {
        Export(new() { Adapter = tiny.Write("alone", """{"r": 2}"""), Output = tiny.Folder["alone-out"] });
        var config = File.ReadAllText(tiny.Folder["alone-out/adapter_config.json"]);
        tiny.Folder.Write("alone-out/adapter_config.json",
            config.Replace(tiny.Base, "somebody/model", StringComparison.Ordinal));

        Assert.Equal(
            $"{tiny.Folder["alone-out"]}: intact; a LoRA of Hugging Face PEFT, 14 projections; not compared with its "
            + $"base 'somebody/model', which is not here "
            + "(name it with --base DIR)",
            AdapterVerification.Run(tiny.Folder["alone-out"], null, _ => { }));
        Assert.EndsWith($", fits {tiny.Base}", AdapterVerification.Run(tiny.Folder["alone-out"], tiny.Base, _ => { }),
            StringComparison.Ordinal);
    }

    private static ExportReport Export(ExportOptions options) => AdapterExport.Run(options, _ => { });

    private static void Refused(ExportOptions options, string part) =>
        Assert.Contains(part, Assert.ThrowsAny<UserException>(() => Export(options)).Message, StringComparison.Ordinal);

    private static void Near(float[] expected, float[] found, double tolerance)
    {
        Assert.Equal(expected.Length, found.Length);
        Assert.InRange(expected.Zip(found, (a, b) => Math.Abs(a - b)).Max(), 0,
            tolerance * Math.Max(1, expected.Max(Math.Abs)));
    }
}
