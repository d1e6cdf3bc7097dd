using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Bundles;

public sealed class BundleTests : TensorTests
{
    public static TheoryData<string> Kinds => [.. RouterCatalog.Entries.Select(entry => entry.Kind), "lora"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Saved_and_loaded_gives_the_same_logits_bit_for_bit(string kind)
    {
        var adapted = Trained(kind);
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));
        var again = Tiny.New();

        var loaded = Bundle.Open(Out).Attach(again, new AttachOptions { Base = TinyBundle.Base });

        Assert.True(TinyModel.Logits(adapted.Model).SameAs(TinyModel.Logits(again)));
        Assert.Equal(adapted.Options.ToJson().ToJsonString(), loaded.Options.ToJson().ToJsonString());
        Assert.Equal(adapted.TrainableParameterCount, loaded.TrainableParameterCount);
    }

    [Fact]
    public void The_hard_stage_is_saved_and_loaded_too()
    {
        var tasks = torch.tensor(new long[] { 1, 3 }, [2]);
        var adapted = Trained(AdapterOptionsTests.Read(
            """{"method": "mixture", "experts": {"count": 4}, "router": {"kind": "hard-soft", "stage": "hard"}}"""));
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));
        var again = Tiny.New();

        Bundle.Open(Out).Attach(again);

        Assert.True(TinyModel.Logits(adapted.Model, tasks).SameAs(TinyModel.Logits(again, tasks)));
        Assert.Throws<TaskIdException>(() => again.Forward(TinyModel.Ids, ForwardPass.ForInference()));
    }

    [Fact]
    public void Equal_contents_give_equal_bytes()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("top-k")));
        BundleWriter.Write(Tiny.In("other"), TinyBundle.Contents(Trained("top-k")));

        var files = Directory.GetFiles(Out).Select(path => Path.GetFileName(path)!).Order().ToList();
        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors", "bundle.json", "recipe.resolved.yaml"],
            files);
        Assert.All(
            files, name =>
                Assert.Equal(File.ReadAllBytes(Path.Combine(Out, name)), File.ReadAllBytes(Tiny.In("other", name))));
    }

    [Fact]
    public void Plain_lora_is_what_peft_reads()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        foreach (var ours in new[] { "bundle.json", "README.md", "recipe.resolved.yaml" })
            File.Delete(Path.Combine(Out, ours));
        var warnings = new List<string>();
        var again = Tiny.New();

        var loaded = Bundle.Open(Out, warnings.Add).Attach(again);

        Assert.Empty(warnings);
        Assert.Equal(14, loaded.Modules.Count);
        Assert.Contains(
            "\"target_modules\": [\n    \"down_proj\"", File.ReadAllText(Path.Combine(Out, "adapter_config.json")),
            StringComparison.Ordinal);
        Assert.True(TinyModel.Logits(Trained("lora").Model).SameAs(TinyModel.Logits(again)));
    }

    [Fact]
    public void Peft_refuses_a_mixture_by_name()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("top-k")));

        var text = File.ReadAllText(Path.Combine(Out, "adapter_config.json"));

        Assert.Contains("\"peft_type\": \"MIXTURE_OF_LORA\"", text, StringComparison.Ordinal);
        Assert.Contains("\"kind\": \"top-k\"", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_of_the_bundle_before_is_taken_for_a_part_of_the_next()
    {
        var adapted = Trained("lora");
        var contents = TinyBundle.Contents(adapted);
        BundleWriter.Write(Out, contents with
        {
            ChatTemplate = "{{ messages }}",
            Beside = [new("gate.safetensors", path => File.WriteAllText(path, "x"))],
        });

        BundleWriter.Write(Out, contents with { ResolvedRecipe = null });

        Assert.Equal(
            ["README.md", "adapter_config.json", "adapter_model.safetensors", "bundle.json"],
            Directory.GetFiles(Out).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal));
        Assert.Null(BundleFiles.ChatTemplateOf(Out));
    }

    [Fact]
    public void Checkpoints_and_metrics_in_the_directory_stay()
    {
        Directory.CreateDirectory(Path.Combine(Out, "checkpoint-10"));
        File.WriteAllText(Path.Combine(Out, "checkpoint-10", "state.json"), "{}");
        File.WriteAllText(Path.Combine(Out, "metrics.jsonl"), "{\"step\": 1}\n");

        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));

        Assert.Equal("{}", File.ReadAllText(Path.Combine(Out, "checkpoint-10", "state.json")));
        Assert.Equal("{\"step\": 1}\n", File.ReadAllText(Path.Combine(Out, "metrics.jsonl")));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    public void After_a_crash_the_new_bundle_is_found_whatever_was_moved(int moved)
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        BundleWriter.Write(Tiny.In("new"), TinyBundle.Contents(Trained("soft")));
        var next = Directory.CreateDirectory(Path.Combine(Out, ".next")).FullName;
        string[] order = [
            "README.md", "adapter_config.json", "adapter_model.safetensors", "recipe.resolved.yaml", "bundle.json"];
        for (var i = 0; i < order.Length; i++)
            File.Copy(Tiny.In("new", order[i]), Path.Combine(i < moved ? Out : next, order[i]), overwrite: true);

        Assert.Equal("soft", OwnBundle.Open(Out).Manifest.Adapter.Router?.Kind);
        BundleFiles.FinishMove(Out);

        Assert.False(Directory.Exists(next));
        Assert.Equal("soft", OwnBundle.Open(Out).Manifest.Adapter.Router?.Kind);
    }

    [Fact]
    public void A_crash_before_the_new_bundle_is_complete_leaves_the_old_one()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        var half = Directory.CreateDirectory(Path.Combine(Out, ".next.tmp-999999")).FullName;
        File.WriteAllText(Path.Combine(half, "adapter_config.json"), "{");

        Assert.True(OwnBundle.Open(Out).Manifest.Adapter.IsPlainLora);
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("soft")));

        Assert.False(Directory.Exists(half));
        Assert.False(OwnBundle.Open(Out).Manifest.Adapter.IsPlainLora);
    }

    [Fact]
    public async Task A_bundle_that_is_replaced_while_it_is_read_verifies_all_the_same()
    {
        var contents = new[] { TinyBundle.Contents(Trained("lora")), TinyBundle.Contents(Trained("soft")) };
        BundleWriter.Write(Out, contents[0]);
        var written = 0;
        var writer = Task.Run(() =>
        {
            for (; written < 30; written++)
                BundleWriter.Write(Out, contents[written % 2]);
        });
        while (!writer.IsCompleted)
            Assert.Equal(contents[0].Base, OwnBundle.Open(Out).Manifest.Base);
        await writer;
        Assert.Equal(30, written);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Removing_a_bundle_leaves_what_is_not_its_own(bool isHalfMoved)
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        File.WriteAllText(Path.Combine(Out, "metrics.jsonl"), "");
        if (isHalfMoved)
        {
            Directory.CreateDirectory(Path.Combine(Out, ".next"));
            File.Move(Path.Combine(Out, "bundle.json"), Path.Combine(Out, ".next", "bundle.json"));
        }
        BundleFiles.Remove(Out);
        Assert.Equal(["metrics.jsonl"], Directory.GetFileSystemEntries(Out).Select(Path.GetFileName));
    }

    [Fact]
    public void A_changed_file_is_found_by_its_hash()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        File.AppendAllText(Path.Combine(Out, "adapter_config.json"), " ");
        File.Delete(Path.Combine(Out, "README.md"));

        var error = Assert.Throws<FaultsException>(() => OwnBundle.Open(Out));

        Assert.Contains("adapter_config.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("changed or damaged after it was written", error.Message, StringComparison.Ordinal);
        Assert.Contains("missing", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_card_names_a_hub_base_and_hides_a_local_path()
    {
        var manifest = BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));

        var hub = ModelCard.Of(manifest);
        var local = ModelCard.Of(manifest with { Base = new BaseIdentity("/home/someone/models/tiny", "f") });

        Assert.StartsWith(
            "---\nbase_model: \"example/tiny-llama\"\nlibrary_name: peft\n", hub, StringComparison.Ordinal);
        Assert.DoesNotContain("base_model:", local, StringComparison.Ordinal);
        Assert.DoesNotContain("someone", local, StringComparison.Ordinal);
        Assert.Contains("# LoRA for tiny\n", local, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cards_front_matter_holds_licence_and_metrics_as_the_hub_reads_them()
    {
        var manifest = BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        var facts = new CardFacts
        {
            License = "mit", Metrics = [new("a|b", "acc: 1", 0.123456, 10), new("c", "acc: 1", 1e-7, 3)]
        };

        var card = ModelCard.OfExport(manifest, facts);

        Assert.StartsWith("""
            ---
            base_model: "example/tiny-llama"
            library_name: peft
            license: "mit"
            pipeline_tag: text-generation
            tags:
            - "base_model:adapter:example/tiny-llama"
            - lora
            - transformers
            metrics:
            - "acc: 1"
            model-index:
            - name: "LoRA for example/tiny-llama"
              results:
              - task:
                  type: text-generation
                dataset:
                  type: "a|b"
                  name: "a|b"
                metrics:
                - type: "acc: 1"
                  value: 0.123456
              - task:
                  type: text-generation
                dataset:
                  type: "c"
                  name: "c"
                metrics:
                - type: "acc: 1"
                  value: 1E-07
            ---

            # LoRA for example/tiny-llama

            A LoRA adapter in the format of Hugging Face PEFT.

            ## How to load

            """, card, StringComparison.Ordinal);
        Assert.Contains(
            "from_pretrained(\"example/tiny-llama\"), \"THIS_DIRECTORY\")\n```\n\n## Settings\n\n| setting | value "
                + "|\n|---|---|\n", card, StringComparison.Ordinal);
        Assert.EndsWith("""

            ## Metrics

            | task | metric | value | rows |
            |---|---|---|---|
            | a\|b | acc: 1 | 0.1235 | 10 |
            | c | acc: 1 | 0 | 3 |

            """, card, StringComparison.Ordinal);
    }

    private string Out => Tiny.In("out");

    private AdaptedModel Trained(string kind) => Trained(AttachmentTests.Options(kind));

    private AdaptedModel Trained(AdapterOptions options) => TinyBundle.Trained(Tiny, options);
}
