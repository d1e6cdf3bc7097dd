using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Adapters.Routing;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;
using Peft.Models;

namespace Peft.Adapters.Tests.Bundles;

/// <summary>Bundles that are damaged, of another base, or lead out of their directory.</summary>
public sealed class BundleRefusalTests : TensorTests
{
    [Fact]
    public void Another_base_is_refused_with_both_names()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        var other = new BaseIdentity("example/other", new string('b', 64));

        var error = Assert.Throws<UserException>(
            () => Bundle.Open(Out).Attach(Tiny.New(), new AttachOptions { Base = other }));

        Assert.Equal(
            $"{Out}: trained on example/tiny-llama (fingerprint aaaaaaaaaaaa); the base given is example/other "
            + "(fingerprint bbbbbbbbbbbb). Name the base it was trained on with --base DIR.",
            error.Message);
        Bundle.Open(Out).Attach(Tiny.New(), new AttachOptions { Base = other, AllowOtherBase = true });
    }

    [Fact]
    public void Nan_in_the_tensors_is_refused()
    {
        var adapted = Trained("lora");
        using (torch.no_grad())
            adapted.Modules[3].Up.fill_(double.NaN);
        BundleWriter.Write(Out, TinyBundle.Contents(adapted));

        var error = Assert.Throws<FaultsException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Contains(
            "base_model.model.model.layers.0.self_attn.o_proj.lora_B.weight", error.Message, StringComparison.Ordinal);
        Assert.Contains("NaN or infinity", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_newer_format_says_so()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        var path = Path.Combine(Out, "bundle.json");
        File.WriteAllText(
            path, File.ReadAllText(path)
            .Replace("\"format_version\": 1", "\"format_version\": 2", StringComparison.Ordinal));

        Assert.Equal(
            $"{path}: format_version 2; expected at most 1. Use a newer version of this program.",
            Assert.Throws<UserException>(() => OwnBundle.Open(Out)).Message);
    }

    [Fact]
    public void A_bundle_may_not_name_files_outside()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        var path = Path.Combine(Out, "bundle.json");
        File.WriteAllText(
            path, File.ReadAllText(path).Replace("\"README.md\"", "\"../README.md\"", StringComparison.Ordinal));

        Assert.Contains(
            "the name of a file in the bundle's own directory",
            Assert.Throws<FaultsException>(() => OwnBundle.Open(Out)).Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("lora", "\"r\": 2", "\"r\": 65536", "[65536, 16]")]
    [InlineData("top-k", "\"count\": 4", "\"count\": 4096", "[8192, 16]")]
    public void A_bundle_that_claims_more_than_its_file_holds_is_refused_before_memory_is_taken(
        string kind, string was, string claims, string shape)
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained(kind)));
        var path = Path.Combine(Out, "bundle.json");
        var text = File.ReadAllText(path);
        Assert.Contains(was, text, StringComparison.Ordinal);
        File.WriteAllText(path, text.Replace(was, claims, StringComparison.Ordinal));
        var model = Tiny.New();

        var error = Assert.Throws<UserException>(() => Bundle.Open(Out).Attach(model));

        Assert.Contains($"the tensors do not fit this base or rank: ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith(
            $"instead of {shape}). Name the base it was trained on with --base DIR.", error.Message,
            StringComparison.Ordinal);
        Assert.All(model.Projections, projection => Assert.IsType<BaseLinear>(projection)); // nothing was attached
    }

    [Fact]
    public void An_adapter_larger_than_the_machine_is_refused_before_memory_is_taken()
    {
        var huge = AdapterOptionsTests.Read("""{"method": "mixture", "r": 65536, "experts": {"count": 4096}}""");

        var error = Assert.Throws<UserException>(() => AdapterAttachment.Attach(Tiny.New(), huge, seed: 1));

        Assert.StartsWith(
            "adapter: 4,096 experts of rank 65536 in 14 projections take ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith(
            " Lower adapter.r or adapter.experts.count, or adapt fewer projections.", error.Message,
            StringComparison.Ordinal);

        var taken = AdapterOptionsTests.Read(
            """{"method": "mixture", "r": 65536, "experts": {"count": 4096}, "init_lora_weights": "goat"}""");
        Assert.Matches(
            @"^adapter: 4,096 experts of rank 65536 in 14 projections take [0-9,]+\.[0-9] GiB, [0-9,]+\.[0-9] of "
                + "them for what init_lora_weights: goat leaves of the base; expected at most ",
            Assert.Throws<UserException>(() => AdapterAttachment.Attach(Tiny.New(), taken, seed: 1)).Message);
    }

    [Fact]
    public void A_file_of_a_bundle_may_not_be_a_link_out_of_it()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        File.Move(Path.Combine(Out, "README.md"), Tiny.In("secret"));
        File.CreateSymbolicLink(Path.Combine(Out, "README.md"), Tiny.In("secret"));

        var error = Assert.Throws<FaultsException>(() => OwnBundle.Open(Out));

        Assert.Contains($"a link to '{Tiny.In("secret")}'", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("SHA-256", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_directory_without_a_manifest_is_no_bundle()
    {
        Directory.CreateDirectory(Out);

        Assert.Equal(
            $"{Out}: no bundle.json; expected the directory of a bundle. Check the path.",
            Assert.Throws<UserException>(() => OwnBundle.Open(Out)).Message);
        Directory.Delete(Out);
        Assert.Equal(
            $"{Out}: no such directory; expected the directory of a bundle. Check the path.",
            Assert.Throws<UserException>(() => OwnBundle.Open(Out)).Message);
    }

    [Fact]
    public void Pickled_weights_are_refused()
    {
        Directory.CreateDirectory(Out);
        File.WriteAllText(Path.Combine(Out, "adapter_config.json"), """{"peft_type": "LORA","""
            + """ "target_modules": ["q_proj"]}""");
        File.WriteAllText(Path.Combine(Out, "adapter_model.bin"), "pickle");

        var error = Assert.ThrowsAny<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Contains("adapter_model.bin", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_adapter_of_another_base_or_rank_is_told_in_one_sentence()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        File.Delete(Path.Combine(Out, "bundle.json"));
        var config = Path.Combine(Out, "adapter_config.json");
        File.WriteAllText(config, File.ReadAllText(config).Replace("\"r\": 2", "\"r\": 3", StringComparison.Ordinal)
            .Replace("    \"v_proj\"\n", "    \"lm_head\"\n", StringComparison.Ordinal));

        var error = Assert.Throws<UserException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Equal(
            $"{Path.Combine(Out, "adapter_model.safetensors")}: the tensors do not fit this base or rank: 24 of "
                + $"another shape (such as "
            + "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight, [2, 16] instead of [3, 16]), 2 missing "
                + "(such as "
            + "base_model.model.lm_head.lora_A.weight) and 4 not used (such as "
            + "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight). Name the base it was trained on with "
                + "--base DIR.",
            error.Message);
    }

    [Fact]
    public void Few_tensors_that_do_not_fit_are_listed_together()
    {
        BundleWriter.Write(Out, TinyBundle.Contents(Trained("lora")));
        File.Delete(Path.Combine(Out, "bundle.json"));
        var config = Path.Combine(Out, "adapter_config.json");
        File.WriteAllText(
            config, File.ReadAllText(config)
            .Replace("    \"v_proj\"\n", "    \"lm_head\"\n", StringComparison.Ordinal));

        var error = Assert.Throws<FaultsException>(() => Bundle.Open(Out).Attach(Tiny.New()));

        Assert.Equal(
            [
                ("base_model.model.lm_head.lora_A.weight", "missing"), (
                    "base_model.model.lm_head.lora_B.weight", "missing"),
                ("base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight", "not used"),
                ("base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight", "not used"),
                ("base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight", "not used"),
                ("base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight", "not used"),
            ],
            error.Items.Select(fault => (fault.Place, fault.Found)));
    }

    private string Out => Tiny.In("out");

    private AdaptedModel Trained(string kind) => Trained(AttachmentTests.Options(kind));

    private AdaptedModel Trained(AdapterOptions options) => TinyBundle.Trained(Tiny, options);
}
