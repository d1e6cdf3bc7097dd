using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;

namespace Peft.Cli.Tests;

/// <summary>Trained routers that are tuned alone (RoMA).</summary>
public sealed class ManifoldTests : IDisposable
{
    private const string Mixture = "method: mixture, r: 2, experts: {count: 3EXPERTS}, router: {kind: top-k, top_k: 2}";
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_routers_of_the_last_layers_alone_change_and_a_run_is_resumed_bit_for_bit()
    {
        Write("first.yaml", "", "max_steps: 60, save_steps: 0");
        Peft("train", "first.yaml", "--output", "first").Succeeds();
        const string Tuned = ", from: first, train: false";
        Write("tune.yaml", Tuned, "max_steps: 4, save_steps: 2, manifold: {coefficient: 1, layers: 1}");
        Peft("train", "tune.yaml", "--output", "tuned").Succeeds();

        var (before, after) = (Tensors("first"), Tensors("tuned"));
        foreach (var (name, entry) in before.Entries)
        {
            var isTuned = name.Contains(".layers.1.", StringComparison.Ordinal)
                && name.Contains(".router.", StringComparison.Ordinal);
            Assert.Equal(!isTuned, before.ReadBytes(name).SequenceEqual(after.ReadBytes(name)));
        }

        Peft("train", "tune.yaml", "--output", "tuned", "--resume", "tuned/checkpoint-2").Succeeds();
        var again = Tensors("tuned");
        Assert.All(after.Entries.Keys, name => Assert.Equal(after.ReadBytes(name), again.ReadBytes(name)));
    }

    [Fact]
    public void Settings_that_contradict_it_are_told_together()
    {
        Write("tune.yaml", "", "max_steps: 4, manifold: {coefficient: 1}");
        Peft("train", "tune.yaml", "--output", "no").IsRefused(
            "adapter.experts.train", "true beside training.manifold; expected false. RoMA tunes routers alone.",
            "adapter.from", "missing beside training.manifold; expected the bundle of a trained mixture. Its experts "
                + "and routers are what is tuned.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    [Theory]
    [InlineData("manifold: {coefficient: 1}", "training.manifold", "a mixture, whose routers are tuned")]
    [InlineData(
        "continual: {kind: same}", "training.continual", "a mixture, whose experts the tasks divide among them")]
    public void The_training_of_all_parameters_has_no_routers(string setting, string key, string expected)
    {
        _folder.Write("full.yaml", TinyBase.Recipe("{method: lora}", $"{{max_steps: 1, {setting}}}")
            .Replace("adapter: {method: lora}", "method: full", StringComparison.Ordinal));
        Peft("train", "full.yaml", "--output", "no").IsRefused(key, $"method: full; expected {expected}.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    private SafetensorsFile Tensors(string bundle) =>
        SafetensorsFile.Open(_folder[$"{bundle}/adapter_model.safetensors"]);

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, words);

    private void Write(string name, string experts, string training) => _folder.Write(name, TinyBase.Recipe(
        $"{{{Mixture.Replace("EXPERTS", experts, StringComparison.Ordinal)}}}",
        $"{{per_device_train_batch_size: 4, learning_rate: 0.05, report_to: none, {training}}}"));
}
