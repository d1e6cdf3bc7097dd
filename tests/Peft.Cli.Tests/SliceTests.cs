using Peft.Cli.Tests.Support;
using Peft.Formats.Safetensors;

namespace Peft.Cli.Tests;

/// <summary>Slices of the base's feed-forward that a token goes through (FactorLLM).</summary>
public sealed class SliceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void They_are_trained_and_the_router_learns_without_the_task()
    {
        Write("few.yaml", "factorllm", "max_steps: 1, learning_rate: 0.01");
        Write("more.yaml", "factorllm", "max_steps: 4, learning_rate: 0.01");

        Peft("train", "few.yaml", "--output", "few").Succeeds();
        Peft("train", "more.yaml", "--output", "more").Succeeds();

        const string Name = "base_model.model.model.layers.0.mlp.gate_proj.router.weight";
        Assert.Equal([4L, 32L], Tensors("more").Entries[Name].Shape);
        Assert.NotEqual(Tensors("few").ReadBytes(Name), Tensors("more").ReadBytes(Name));
        Assert.Contains("\"top_k\": 2", File.ReadAllText(_folder["more/bundle.json"]), StringComparison.Ordinal);
    }

    [Fact]
    public void Contradictions_and_a_feed_forward_in_part_are_refused()
    {
        Write("all.yaml", "factorllm, count: 4, top_k: 4", "max_steps: 1");
        Write("part.yaml", "factorllm", "max_steps: 1", ", target_modules: [up_proj, down_proj]");

        Peft("train", "all.yaml", "--output", "no").IsRefused(
            "adapter.router.top_k", "4; expected below the 4 slices that count says. Where a token goes through all "
                + "slices, there is nothing to choose.");
        Peft("train", "part.yaml", "--output", "no").IsRefused(
            "model.layers.0.mlp", "up_proj and down_proj without gate_proj; expected all its projections or none with "
                + "router.kind: factorllm, which weighs slices of whole feed-forwards. Widen adapter.target_modules, "
                + "or leave the feed-forward out.");
        Assert.False(Directory.Exists(_folder["no"]));
    }

    private SafetensorsFile Tensors(string bundle) =>
        SafetensorsFile.Open(_folder[$"{bundle}/adapter_model.safetensors"]);

    private ProgramRun Peft(params string[] words) => PeftProcess.Run(_folder, words);

    private void Write(string name, string router, string training, string more = "") => _folder.Write(
        name, TinyBase.Recipe(
            $"{{method: mixture, r: 2, router: {{kind: {router}}}{more}}}",
            $"{{per_device_train_batch_size: 4, save_steps: 0, report_to: none, {training}}}"));
}
