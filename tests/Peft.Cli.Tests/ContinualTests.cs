using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;

namespace Peft.Cli.Tests;

/// <summary>One task after the other, each stage going on from the bundle of the one before (SAME).</summary>
public sealed class ContinualTests : IDisposable
{
    private const string Same = "continual: {kind: same, tau: 1}";
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Recipes before adapter.from named the stage as the experts' origin.
    [Theory]
    [InlineData("", "}, from: first")]
    [InlineData(", form: code", ", from: first}")]
    public void A_second_stage_goes_on_from_the_first_and_is_resumed_bit_for_bit(string form, string from)
    {
        var same = $"continual: {{kind: same, tau: 1{form}}}";
        Write("first.yaml", "}", $"max_steps: 3, save_steps: 0, {same}");
        Peft("train", "first.yaml", "--output", "first").Succeeds();
        Write("next.yaml", from, $"max_steps: 4, save_steps: 2, {same}");
        Peft("train", "next.yaml", "--output", "next").Succeeds();

        var (one, two) = (Statistics("first"), Statistics("next"));
        Assert.Equal(("1", "2"), (one.Metadata["stages"], two.Metadata["stages"]));
        Assert.Equal(one.Entries.Keys.Order(), two.Entries.Keys.Order());
        Assert.Equal(14 * 3, one.Entries.Count); // covariance, tokens, importance
        const string Tokens = "base_model.model.model.layers.0.mlp.up_proj.tokens";
        Assert.Equal(
            2 * BitConverter.ToDouble(one.ReadBytes(Tokens)), BitConverter.ToDouble(two.ReadBytes(Tokens)));

        // tau 1 freezes every expert but the second stage's own.
        const string Path = "base_model.model.model.layers.0.self_attn.q_proj.";
        var (before, after) = (Tensors("first"), Tensors("next"));
        var rows = before.ReadBytes(Path + "lora_A.experts").Chunk(2 * 32 * 4)
            .Zip(after.ReadBytes(Path + "lora_A.experts").Chunk(2 * 32 * 4), (a, b) => a.SequenceEqual(b));
        Assert.Equal([true, false, true], rows);
        Assert.NotEqual(before.ReadBytes(Path + "router.weight"), after.ReadBytes(Path + "router.weight"));

        Peft("train", "next.yaml", "--output", "next", "--resume", "next/checkpoint-2").Succeeds();
        Assert.All(
            after.Entries.Keys, name => Assert.Equal(after.ReadBytes(name), Tensors("next").ReadBytes(name)));
        Assert.All(
            two.Entries.Keys, name => Assert.Equal(two.ReadBytes(name), Statistics("next").ReadBytes(name)));
    }

    [Fact]
    public void Without_it_a_training_goes_on_from_a_whole_adapter()
    {
        Write("first.yaml", "}", "max_steps: 3, save_steps: 0");
        Peft("train", "first.yaml", "--output", "first").Succeeds();
        Write("next.yaml", "}, from: first", "max_steps: 1, save_steps: 0");

        // A learning rate of nothing leaves what was taken as it was.
        Peft("train", "next.yaml", "--output", "next", "--set", "training.learning_rate=1e-30").Succeeds();

        var (before, after) = (Tensors("first"), Tensors("next"));
        Assert.All(before.Entries.Keys, name => Assert.Equal(before.ReadBytes(name), after.ReadBytes(name)));
        Write("both.yaml", ", from: first}, from: first", "max_steps: 1");
        Peft("train", "both.yaml", "--output", "no").IsRefused(
            "adapter.from", "given with adapter.experts.from; expected one of them. This one goes on with a whole");
        Peft("train", "next.yaml", "--output", "no", "--set", "adapter.from=nowhere").IsRefused(
            "adapter.from  'nowhere'; expected an existing directory of an adapter.");
        Peft("train", "next.yaml", "--output", "no", "--set", "adapter.r=3").IsRefused(
            "adapter.r           3; expected 2, as adapter.from first has it. Its settings are in "
                + "first/recipe.resolved.yaml.", "adapter.lora_alpha  6; expected 4, as adapter.from first has it.");
    }

    [Fact]
    public void A_stage_before_that_left_nothing_is_refused()
    {
        Write("plain.yaml", "}", "max_steps: 1, save_steps: 0");
        Peft("train", "plain.yaml", "--output", "plain").Succeeds();
        Write("next.yaml", "}, from: plain", $"max_steps: 1, {Same}");

        Peft("train", "next.yaml", "--output", "no").IsRefused(
            "plain: no continual.safetensors; expected the bundle of a stage before, which holds what its inputs were "
                + "like. Train it with training.continual too, or leave adapter.from out to begin a first stage.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    [Fact]
    public void Settings_that_contradict_it_are_told_together()
    {
        Write(
            "all.yaml", ", train: false}",
            $"max_steps: 1, weight_decay: 0.01, manifold: {{coefficient: 1}}, {Same}");
        Write("lora.yaml", "", $"max_steps: 1, {Same}", "method: lora, r: 2");
        Write(
            "hydra.yaml", "}", $"max_steps: 1, {Same}",
            "method: mixture, r: 2, experts: {count: 3EXPERTS, router: {kind: hydra}");

        Peft("train", "all.yaml", "--output", "no").IsRefused(
            "adapter.experts.train",
            "false beside training.continual; expected true. Each stage teaches experts its task.",
            "training.manifold.coefficient",
            "above 0 beside training.continual; expected 0. It tunes routers of trained experts.",
            "training.weight_decay", "0.01 beside training.continual; expected 0. It would shrink the experts that are "
                + "to stay as they are.");
        Peft("train", "lora.yaml", "--output", "no").IsRefused(
            "training.continual", "a plain LoRA; expected a mixture, whose experts the tasks divide among them.");
        Peft("train", "hydra.yaml", "--output", "no").IsRefused(
            "adapter.router.kind", "hydra beside training.continual; expected a router with a gate matrix on the input "
                + "of each projection, and experts with an A and a B of their own, such as top-k or soft.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    private SafetensorsFile Tensors(string bundle) =>
        SafetensorsFile.Open(_folder[$"{bundle}/adapter_model.safetensors"]);

    private SafetensorsFile Statistics(string bundle) =>
        SafetensorsFile.Open(_folder[$"{bundle}/continual.safetensors"]);

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, words);

    private void Write(
        string name, string experts, string training,
        string adapter = "method: mixture, r: 2, experts: {count: 3EXPERTS, router: {kind: top-k, top_k: 2}") =>
        _folder.Write(name, TinyBase.Recipe(
            $"{{{adapter.Replace("EXPERTS", experts, StringComparison.Ordinal)}}}",
            $"{{per_device_train_batch_size: 4, learning_rate: 0.05, report_to: none, {training}}}"));
}
