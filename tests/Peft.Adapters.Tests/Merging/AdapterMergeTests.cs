using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Merging;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Merging;

/// <summary>Merging bundles and PEFT directories into bundles that load like any other.</summary>
public sealed class AdapterMergeTests : TensorTests
{
    private readonly MergeFixture _given;

    public AdapterMergeTests() => _given = new MergeFixture(Tiny);

    public static TheoryData<string> Static =>
        [.. MergeCatalog.Entries.OfType<StaticMerge>().Where(method => !method.SearchesWeights)
            .Select(method => method.Name)];

    public static TheoryData<string> Routed =>
        [.. MergeCatalog.Entries.OfType<RoutedMerge>().Select(method => method.Name)];

    [Theory]
    [MemberData(nameof(Static))]
    public void A_static_merge_is_a_plain_lora_that_computes_what_its_factors_say(string method)
    {
        _given.Law();
        _given.Adapter("code", """{"r": 2, "lora_alpha": 5, "use_rslora": true}""", 2);

        var report = _given.Merge(method, ["law", "code"]);

        var loaded = Bundle.Open(Tiny.In("out")).Attach(Tiny.New(), new AttachOptions { Base = MergeFixture.Base });
        Assert.True(loaded.Options.IsPlainLora);
        Assert.Equal(14, loaded.Modules.Count);
        Assert.Equal(14, report.Losses.Count);
        OwnBundle.Open(Tiny.In("out"));
        var (law, code) = (_given.Load("law"), _given.Load("code"));
        foreach (
            var (module, loss) in loaded.Modules.OrderBy(module => module.Path, StringComparer.Ordinal)
            .Zip(report.Losses))
        {
            var divisor = method == "average" ? 2 : 1;
            var exact = (MergeFixture.Update(law, module.Path)! + MergeFixture.Update(code, module.Path)!) / divisor;
            var update = module.Up.matmul(module.Down) * module.Shape.Scale;
            Assert.Equal(module.Path, loss.Path);
            Assert.Equal((update - exact).norm().ToDouble() / exact.norm().ToDouble(), loss.RelativeError, 1e-4);
            Assert.Equal(Math.Pow(update.norm().ToDouble() / exact.norm().ToDouble(), 2), loss.EnergyKept, 1e-3);
        }
        if (method is "average" or "cat" or "task-arithmetic")
            Assert.InRange(report.Total.RelativeError, 0, 1e-6);
        else
            Assert.True(report.Total.RelativeError > 0.01);
    }

    [Theory]
    [MemberData(nameof(Routed))]
    public void A_routed_merge_holds_every_adapter_whatever_its_rank_alpha_and_modules(string method)
    {
        _given.Law();
        _given.Code();
        _given.Adapter("prose", """{"r": 1, "target_modules": ["v_proj"], "layers_to_transform": [1]}""", 3);

        var report = _given.Merge(method, ["law", "code", "prose"]);

        var loaded = Bundle.Open(Tiny.In("out")).Attach(Tiny.New(), new AttachOptions { Base = MergeFixture.Base });
        Assert.Equal(["law", "code", "prose"], loaded.Options.Experts.Names);
        Assert.Equal(method, loaded.Options.Router!.Kind);
        foreach (var (expert, name) in new[] { "law", "code", "prose" }.Index())
        {
            var adapter = _given.Load(name);
            foreach (var module in loaded.Modules)
            {
                var update = module.UpOf(expert).matmul(module.DownOf(expert)) * module.Shape.Scale;
                Golden.Near(MergeFixture.Update(adapter, module.Path) ?? torch.zeros_like(update), update, 1e-6);
            }
        }
        var pass = ForwardPass.ForInference();
        var logits = loaded.Model.Forward(TinyModel.Ids, pass);
        Assert.True(logits.isfinite().all().item<bool>());
        foreach (var record in pass.Records<RoutingRecord>())
        {
            var used = record.Decision.Selected.to(torch.float32).sum(0L).data<float>().ToArray();
            Assert.Equal(
                record.Module.Contains("layers.1", StringComparison.Ordinal)
                && record.Module.EndsWith("v_proj", StringComparison.Ordinal), used[2] > 0);
        }
        Assert.Equal(1, report.Similarity!.OfUpdates(1, 1), 1e-5);
        Assert.InRange(report.Similarity.OfUpdates(0, 1), -1, 1);
    }

    [Fact]
    public void Where_one_adapter_alone_adapts_a_module_it_gets_every_token_there()
    {
        _given.Adapter("law", """{"r": 2, "target_modules": ["q_proj"]}""", 1);
        _given.Adapter("code", """{"r": 3, "target_modules": ["up_proj"]}""", 2);
        _given.Merge("phatgoose", ["law", "code"]);
        _given.Merge("cat", ["law", "code"], "sum");

        var routed = Bundle.Open(Tiny.In("out")).Attach(Tiny.New());
        var sum = Bundle.Open(Tiny.In("sum")).Attach(Tiny.New());

        Golden.Near(TinyModel.Logits(sum.Model), TinyModel.Logits(routed.Model), 1e-5);
    }

    [Theory]
    [MemberData(nameof(Routed))]
    public void Adding_or_removing_one_later_gives_the_same_bytes_as_merging_anew(string method)
    {
        _given.Law();
        _given.Code();
        _given.Adapter("prose", """{"r": 4, "target_modules": ["v_proj", "up_proj"]}""", 3);
        _given.Merge(method, ["law", "code"], "two");
        _given.Merge(method, ["law", "code", "prose"], "three");

        _given.Merge(method, ["two", "prose"], "added");
        _given.Merge(
            MergeCatalog.Find(method)!, new MergeOptions(), "removed",
            [.. MergeSource.Open(Tiny.In("three")).Where(source => source.Name != "prose")]);

        Assert.Equal(
            File.ReadAllBytes(Tiny.In("three", BundleFiles.Weights)),
            File.ReadAllBytes(Tiny.In("added", BundleFiles.Weights)));
        Assert.Equal(
            File.ReadAllText(Tiny.In("three", BundleFiles.Manifest)),
            File.ReadAllText(Tiny.In("added", BundleFiles.Manifest)));
        Assert.Equal(
            File.ReadAllBytes(Tiny.In("two", BundleFiles.Weights)),
            File.ReadAllBytes(Tiny.In("removed", BundleFiles.Weights)));
        Assert.Equal(
            OwnBundle.Open(Tiny.In("two")).Manifest.Adapter.ToJson()["rank_pattern"]!.ToJsonString(),
            OwnBundle.Open(Tiny.In("removed")).Manifest.Adapter.ToJson()["rank_pattern"]!.ToJsonString());
    }

    [Fact]
    public void A_merge_by_tasks_holds_their_descriptions_and_compares_prompts_or_one_vector()
    {
        _given.Law();
        _given.Code();
        _given.Merge("glider", ["law", "code"], "prompts");
        var prompts = OwnBundle.Open(Tiny.In("prompts")).Manifest;

        Assert.Equal(new GliderRouterOptions(), prompts.Adapter.Router);
        Assert.Contains(KeyValuePair.Create("task of code", "rows of code"), prompts.Merge!.Settings);
        var buffers = _given.Load("prompts").Modules[3].Router!.named_buffers()
            .ToDictionary(pair => pair.name, pair => pair.buffer);
        Golden.Near(
            torch.tensor([.. MergeFixture.Numbers(1), .. MergeFixture.Numbers(2)], [2, 16]), buffers["embeddings"], 0);

        foreach (var (name, seed) in new[] { ("law", 1), ("code", 2) })
            GateFile.Describe(Tiny.In(name), new TaskEmbedding("", true, MergeFixture.Numbers(seed, 5)));
        var sources = new[] { "law", "code" }.SelectMany(name => MergeSource.Open(Tiny.In(name))).ToList();
        Assert.Contains(
            "the vector of law's task was given, and the base embeds prompts; expected --query with a vector of the "
                + "same origin. Or let the base embed the description: peft gate --keep --describe TEXT.",
            Assert.Throws<FaultsException>(() => _given.Merge("glider", ["law", "code"])).Message,
            StringComparison.Ordinal);
        var options = new MergeOptions { Query = [1, 2, 3], Alpha = 7 };
        Assert.Equal(
            "peft merge: the vector of law has 5 numbers, that of --query 3; expected vectors of one origin.",
            Assert.Throws<UserException>(() => _given.Merge(new GliderMerge(), options, "out", sources)).Message);
        _given.Merge(new GliderMerge(), options with { Query = [1, 2, 3, 4, 5] }, "out", sources);
        Assert.Equal(
            new GliderRouterOptions { Alpha = 7, Query = "given", EmbeddingSize = 5 },
            OwnBundle.Open(Tiny.In("out")).Manifest.Adapter.Router);
        Assert.True(_given.Load("out").Modules[0].Router!.named_buffers().Single(pair => pair.name == "query").buffer
            .SameAs(torch.tensor(new[] { 1f, 2, 3, 4, 5 }, [5])));
    }

    [Fact]
    public void An_adapter_whose_task_nobody_described_is_refused()
    {
        _given.Law();
        _given.Adapter("code", "{}", 2);
        GateFile.Write(Tiny.In("code"), [.. _given.Load("code").Modules.Select(
            module => (module.Path, GateVectors.Gate, torch.ones([module.InFeatures])))]);

        Assert.Contains(
            "no description of its task; expected what --method glider routes code by. Describe it: peft gate "
                + $"--adapter {Tiny.In("code")} --keep --describe TEXT.",
            Assert.Throws<FaultsException>(() => _given.Merge("glider", ["law", "code"])).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void A_routed_merge_can_be_merged_in_another_way()
    {
        _given.Law();
        _given.Code();
        _given.Merge("phatgoose", ["law", "code"], "two");
        _given.Merge("cat", ["law", "code"], "direct");

        _given.Merge("cat", ["two"]);

        Golden.Near(TinyModel.Logits(_given.Load("direct").Model), TinyModel.Logits(_given.Load("out").Model));
        var error = Assert.Throws<FaultsException>(() => _given.Merge("average-activation", ["two"]));
        Assert.Contains("no mean inputs", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("average")]
    [InlineData("phatgoose")]
    public void The_result_remembers_the_chat_template_of_its_adapters(string method)
    {
        _given.Law();
        _given.Adapter("talk", """{"r": 2}""", 2, template: "{{ 'A' }}");
        _given.Adapter("more", """{"r": 2}""", 3, template: "{{ 'A' }}");
        Assert.Empty(_given.Merge(method, ["talk", "law", "more"]).Notes);
        Assert.Equal("{{ 'A' }}", BundleFiles.ChatTemplateOf(Tiny.In("out")));
        Assert.Contains(
            BundleFiles.ChatTemplate, OwnBundle.Open(Tiny.In("out")).Manifest.Files.Select(file => file.Key));
    }

    [Fact]
    public void Where_chat_templates_differ_the_result_remembers_none_and_says_so()
    {
        _given.Adapter("talk", """{"r": 2}""", 2, template: "{{ 'A' }}");
        _given.Adapter("other", """{"r": 2}""", 3, template: "{{ 'B' }}");
        Assert.Equal(
            ["talk and other were trained with different chat templates; the result remembers none: name one with "
                + "--chat-template when you use it"],
            _given.Merge("average", ["talk", "other"]).Notes);
        Assert.Null(BundleFiles.ChatTemplateOf(Tiny.In("out")));
    }

    [Fact]
    public void Peft_directories_merge_with_bundles()
    {
        _given.Law();
        _given.Code();
        foreach (var name in new[] { BundleFiles.Manifest, BundleFiles.Card })
            File.Delete(Tiny.In("code", name));

        var report = _given.Merge("phatgoose", ["law", "code"]);

        Assert.Single(
            report.Notes, note => note.StartsWith("code: has no fingerprint of its base", StringComparison.Ordinal));
        Bundle.Open(Tiny.In("out")).Attach(Tiny.New(), new AttachOptions { Base = MergeFixture.Base });
        File.Delete(Tiny.In("law", BundleFiles.Manifest));
        var error = Assert.Throws<UserException>(() => _given.Merge("cat", ["law", "code"]));
        Assert.Equal(
            "peft merge: law and code name no base with a fingerprint. Name it with --base DIR.", error.Message);
    }

    [Fact]
    public void FlyLoras_add_their_updates_and_refuse_to_mix_their_projections()
    {
        const string Options = """{"method": "mixture", "r": 8, "target_modules": ["q_proj"],"""
            + """ "router": {"kind": "random-projection", "projection_seed": SEED}}""";
        _given.Adapter("one", Options.Replace("SEED", "1", StringComparison.Ordinal), 1);
        _given.Adapter("two", Options.Replace("SEED", "2", StringComparison.Ordinal), 2);
        _given.Adapter("twin", Options.Replace("SEED", "1", StringComparison.Ordinal), 3);

        var report = _given.Merge("average", ["one", "two"]);

        var (one, two, merged) = (
            _given.Load("one"), _given.Load("two"), Bundle.Open(Tiny.In("out")).Attach(Tiny.New()));
        foreach (var module in merged.Modules)
            Golden.Near(
                (MergeFixture.Update(one, module.Path)! + MergeFixture.Update(two, module.Path)!) / 2,
                module.Up.matmul(module.Down), 1e-6);
        Assert.Contains("all ranks work for every token", Assert.Single(report.Notes), StringComparison.Ordinal);
        Assert.Contains(
            "the same (one seed)", _given.Merge("average", ["one", "twin"], "same").Notes[1], StringComparison.Ordinal);
        var mixed = Assert.Throws<UserException>(() => _given.Merge("linear", ["one", "two"], "no"));
        Assert.Contains(
            "one and two have frozen projections A of different seeds", mixed.Message, StringComparison.Ordinal);
        var routed = Assert.Throws<UserException>(() => _given.Merge("arrow", ["one", "two"], "no"));
        Assert.Contains("one is a FlyLoRA", routed.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Tiny.In("no")));
    }

    [Fact]
    public void Merging_again_gives_the_same_bytes_and_no_tensor_stays()
    {
        _given.Law();
        _given.Code();
        _given.Merge("dare-ties", ["law", "code"]);
        var before = File.ReadAllBytes(Tiny.In("out", BundleFiles.Weights));
        var live = LiveTensors.Settled();

        _given.Merge("dare-ties", ["law", "code"]);
        _given.Merge("phatgoose", ["law", "code"], "routed");

        LiveTensors.AssertNoMoreThan(live);
        Assert.Equal(before, File.ReadAllBytes(Tiny.In("out", BundleFiles.Weights)));
    }
}
