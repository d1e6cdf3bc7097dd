using System.Text.Json;
using Peft.Cli.Tests.Support;

namespace Peft.Cli.Tests;

public sealed class InterruptTests : IDisposable
{
    private const int Steps = 240;

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

    [Theory]
    [InlineData(PeftProcess.Terminate, PeftProcess.Terminate)] // timeout and make send one each
    [InlineData(PeftProcess.Interrupt, PeftProcess.Terminate)]
    [InlineData(PeftProcess.Terminate, PeftProcess.Interrupt)]
    public void A_wish_to_stop_that_comes_twice_discards_nothing(int first, int second)
    {
        using var running = StartSlow();
        running.Send(first);
        Thread.Sleep(10); // the system delivers two equal ones at once as one
        running.Send(second);
        running.Wait().Exits(130).Says("stopping", "interrupted after step", "--resume auto to resume");
        Assert.Single(Directory.GetDirectories(_folder["slow"], "checkpoint-*"));
    }

    [Fact]
    public void A_later_interrupt_stops_without_saving()
    {
        using var running = StartSlow();
        running.Send(PeftProcess.Interrupt);
        running.WaitFor("stopping");
        Thread.Sleep(700);
        running.Send(PeftProcess.Interrupt);
        running.Wait().Exits(130);
        Assert.Empty(Directory.GetDirectories(_folder["slow"], "checkpoint-*"));
        PeftProcess.Run(_folder, "train", "slow.yaml", "--output", "slow").IsRefused(
            "slow: holds an unfinished run without a checkpoint. Replace it with --overwrite, or choose another "
            + "directory with --output.\n");
    }

    [Fact]
    public void A_run_that_is_stopped_in_its_evaluation_has_written_its_adapter()
    {
        _folder.Write("r.yaml", TinyBase.Recipe("{r: 2}", "{max_steps: 2, per_device_eval_batch_size: 16}", $$"""
            evaluation:
              base: false
              tasks: [{task: rows, rows: 2000, max_new_tokens: 20}]
            """).Replace("training:", $$"""
              eval:
                - name: rows
                  files: {{Held()}}
                  template: {prompt: "{question}", answer: "{answer}"}
            training:
            """, StringComparison.Ordinal));
        using var running = PeftProcess.Start(_folder, new(), "train", "r.yaml", "--output", "out");
        running.WaitFor("evaluating out on 2,000 rows of rows");
        running.Send(PeftProcess.Terminate);
        running.Wait().Exits(130).Says(
            "interrupted in the evaluation; out is complete: measure it with peft eval --adapter out --output "
            + "out/evaluation\n");
        PeftProcess.Run(_folder, "adapter", "verify", "out").Succeeds();
    }

    public void Dispose() => _folder.Dispose();

    private string Held()
    {
        _folder.Write("held.jsonl", string.Concat(Enumerable.Range(1, 2000).Select(i =>
            $$"""{"question": "the cat {{i}} sat on", "answer": " mat {{i}}"}""" + "\n")));
        return _folder["held.jsonl"];
    }

    // A run whose first step takes seconds.
    private PeftProcess StartSlow()
    {
        _folder.Write("slow.yaml", TinyBase.Recipe(
            "{r: 2}", "{per_device_train_batch_size: 1, gradient_accumulation_steps: 2000, max_steps: 9, "
            + "save_steps: 0}"));
        var running = PeftProcess.Start(_folder, new(), "train", "slow.yaml", "--output", "slow");
        running.WaitFor("writing slow");
        Thread.Sleep(500); // the signals are listened to from then on
        return running;
    }

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
