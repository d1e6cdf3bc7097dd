using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class InterruptTests : IDisposable
{
    private const int Steps = 80;

    private readonly TempFolder _folder = new();

    [Fact]
    public void A_run_that_was_stopped_and_continued_ends_in_the_bytes_of_one_that_was_not()
    {
        // Dropout and shuffled rows: the position in the data and the random numbers must come back too.
        _folder.Write("r.yaml", TinyBase.Recipe(
            "{method: mixture, r: 2, lora_dropout: 0.2, experts: {count: 2}, router: {kind: top-k, top_k: 1}}",
            $"{{per_device_train_batch_size: 2, max_steps: {Steps}, learning_rate: 0.01, logging_steps: 1, save_steps: "
            + $"0}}"));
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "whole").Succeeds();

        var stoppedAt = Stop("int", PeftProcess.Interrupt);
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "int", "--resume", "auto").Succeeds()
            .Says($"continuing after step {stoppedAt} of {Steps}", $"int: saved after {Steps} steps");
        AssertSame("whole", "int");

        stoppedAt = Stop("term", PeftProcess.Terminate);
        PeftProcess.Run(_folder, "train", "r.yaml", "--output", "term", "--resume",
            $"term/checkpoint-{stoppedAt}").Succeeds();
        AssertSame("whole", "term");
    }

    [Fact]
    public void A_streaming_run_that_was_killed_ends_in_the_bytes_of_one_that_was_not()
    {
        _folder.Write("r.yaml", TinyBase.Recipe(
            "{r: 2, lora_dropout: 0.2}",
            $"{{per_device_train_batch_size: 2, max_steps: {Steps}, learning_rate: 0.01, logging_steps: 1, save_steps: "
            + $"3}}"));
        string[] streaming = ["--set", "data.streaming=true", "--set", "data.shuffle_buffer_size=5", "--set",
            "data.bucket_window=2"];
        PeftProcess.Run(_folder, ["train", "r.yaml", "--output", "whole", .. streaming]).Succeeds()
            .Says("streamed in blocks of 5 rows: number of sequences unknown");
        using (var running = PeftProcess.Start(_folder, new(), ["train", "r.yaml", "--output", "killed", .. streaming]))
        {
            running.WaitFor("step 8/");
            running.Send(PeftProcess.KillNow);
            Assert.NotEqual(0, running.Wait().ExitCode);
        }

        Assert.False(File.Exists(_folder["killed/bundle.json"]));
        PeftProcess.Run(_folder,
            ["train", "r.yaml", "--output", "killed", "--resume", "auto", .. streaming]).Succeeds().Says(
            "continuing after step");
        AssertSame("whole", "killed");
    }

    public void Dispose() => _folder.Dispose();

    // Starts a run, stops it in its first steps and returns the step it was saved after.
    private int Stop(string output, int signal)
    {
        using var running = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", output);
        running.WaitFor("step 2/");
        running.Send(signal);
        var run = running.Wait().Exits(130).Says("stopping", "interrupted after step", "--resume auto");

        var checkpoint = Path.GetFileName(Directory.GetDirectories(_folder[output], "checkpoint-*").Single());
        var step = int.Parse(checkpoint.Split('-')[1]);
        Assert.InRange(step, 2, Steps - 1);
        run.Says($"interrupted after step {step}");
        Assert.Equal(step, Metrics(output).Count);
        Assert.False(File.Exists(_folder[$"{output}/bundle.json"]), "an interrupted run has no bundle yet");
        Assert.True(File.Exists(_folder[$"{output}/recipe.resolved.yaml"]));
        return step;
    }

    private void AssertSame(string one, string other)
    {
        Assert.All(
            ["adapter_model.safetensors", "adapter_config.json", "bundle.json", "recipe.resolved.yaml", "README.md"],
            name => Assert.True(
                File.ReadAllBytes(_folder[$"{one}/{name}"]).AsSpan().SequenceEqual(
                    File.ReadAllBytes(_folder[$"{other}/{name}"])),
                $"{name} of {one} and {other} differ"));
        Assert.Equal(Metrics(one), Metrics(other));
    }

    // All that does not depend on the clock.
    private List<string> Metrics(string output) =>
        [.. File.ReadAllLines(_folder[$"{output}/metrics.jsonl"]).Select(line =>
    {
        using var json = JsonDocument.Parse(line);
        return string.Join(' ',
            json.RootElement.EnumerateObject().Where(key => key.Name
            is not ("tokens_per_second" or "peak_memory_bytes")).Select(key => key.ToString()));
    })];
}
