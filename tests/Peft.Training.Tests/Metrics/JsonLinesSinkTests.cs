using System.Text.Json;
using Peft.Training.Metrics;
using Peft.Training.Tests.Support;

namespace Peft.Training.Tests.Metrics;

public sealed class JsonLinesSinkTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string File => _folder["metrics.jsonl"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_step_is_one_object_with_the_documented_keys()
    {
        Write(0,
            sink => sink.Write(
            new StepReport(3, 1.5, 0.01, 2e-4, 0.75, 640, 1234.5678, [0.25, 0.75]) { PeakMemoryBytes = 4096 }));

        Assert.Equal(
            "{\"step\":3,\"loss\":1.5,\"aux\":0.01,\"lr\":0.0002,\"grad_norm\":0.75,\"tokens\":640,"
            + "\"tokens_per_second\":1234.6,"
            + "\"peak_memory_bytes\":4096,\"load\":[0.25,0.75]}\n", System.IO.File.ReadAllText(File));
    }

    [Fact]
    public void A_skipped_step_carries_the_number_of_steps_skipped_so_far()
    {
        Write(0, sink => sink.Write(Step(4) with { Loss = double.NaN, Skipped = new SkippedStep(2, "why") }));
        Assert.EndsWith("\"load\":[],\"skipped\":2}", Lines().Single(), StringComparison.Ordinal);
        Assert.Contains("\"loss\":null", Lines().Single(), StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_read_back_as_they_were()
    {
        var loss = 1.0 / 3;
        Write(0, sink => sink.Write(Step(1) with { Loss = loss, LearningRate = 1e-7 }));

        using var line = JsonDocument.Parse(Lines().Single());
        Assert.Equal(loss, line.RootElement.GetProperty("loss").GetDouble());
        Assert.Equal(1e-7, line.RootElement.GetProperty("lr").GetDouble());
    }

    [Fact]
    public void Json_has_no_nan_and_no_infinity()
    {
        Write(0, sink =>
        {
            sink.Write(Step(1) with { Loss = double.NaN, GradNorm = double.PositiveInfinity, Load = [double.NaN, 1] });
            sink.Write(
                new EvaluationReport(1, new Dictionary<string, double> { ["eval_loss"] = double.NegativeInfinity }));
        });

        using var step = JsonDocument.Parse(Lines()[0]);
        Assert.Equal(JsonValueKind.Null, step.RootElement.GetProperty("loss").ValueKind);
        Assert.Equal(JsonValueKind.Null, step.RootElement.GetProperty("grad_norm").ValueKind);
        Assert.Equal(JsonValueKind.Null, step.RootElement.GetProperty("load")[0].ValueKind);
        Assert.Equal("{\"step\":1,\"eval_loss\":null}", Lines()[1]);
    }

    [Fact]
    public void An_evaluation_is_one_object_with_its_metrics_names_escaped()
    {
        Write(0, sink => sink.Write(new EvaluationReport(
            4, new Dictionary<string, double> { ["eval_loss"] = 2, ["eval_\"odd\"_loss"] = 3 })));

        using var line = JsonDocument.Parse(Lines().Single());
        Assert.Equal(["step", "eval_loss", "eval_\"odd\"_loss"],
            line.RootElement.EnumerateObject().Select(p => p.Name));
    }

    [Fact]
    public void A_line_can_be_read_as_soon_as_it_was_written()
    {
        using var sink = new JsonLinesSink(File);
        sink.Start(0, 10);
        sink.Write(Step(1));

        Assert.Single(Lines());
    }

    [Fact]
    public void A_resumed_run_cuts_what_lies_after_the_checkpoint()
    {
        Write(0, sink =>
        {
            for (var step = 1; step <= 5; step++)
                sink.Write(Step(step));
            sink.Write(new EvaluationReport(5, new Dictionary<string, double> { ["eval_loss"] = 1 }));
            sink.Write(Step(6));
            sink.Write(Step(7));
        });

        Write(5, sink => sink.Write(Step(6) with { Loss = 9 }));

        Assert.Equal([1, 2, 3, 4, 5, 5, 6], Lines().Select(StepOf));
        Assert.Contains("\"loss\":9", Lines()[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"step\":3,\"los")]
    [InlineData("{\"loss\":1}")]
    [InlineData("{\"step\":\"3\"}")]
    [InlineData("3")]
    [InlineData("")]
    public void A_line_that_a_crash_cut_ends_what_is_kept(string broken)
    {
        System.IO.File.WriteAllText(File, "{\"step\":1}\n{\"step\":2}\n" + broken + "\n{\"step\":4}\n");

        Write(4, sink => sink.Write(Step(5)));

        Assert.Equal([1, 2, 5], Lines().Select(StepOf));
    }

    [Fact]
    public void A_run_from_the_beginning_starts_the_file_anew_and_makes_its_folder()
    {
        var path = _folder[Path.Combine("a", "metrics.jsonl")];
        for (var time = 0; time < 2; time++)
        {
            using var sink = new JsonLinesSink(path);
            sink.Start(0, 1);
            sink.Write(Step(1));
        }

        Assert.Single(System.IO.File.ReadAllLines(path));
        Assert.Equal(["metrics.jsonl"], Directory.GetFileSystemEntries(_folder["a"]).Select(Path.GetFileName));
    }

    [Fact]
    public void A_sink_that_was_never_started_can_be_thrown_away()
    {
        using (var sink = new JsonLinesSink(File))
            sink.Flush();
        Assert.False(System.IO.File.Exists(File));
    }

    private static StepReport Step(int step) => new(step, 2, 0, 1e-3, 1, 10, 100, []);

    private static int StepOf(string line) => JsonDocument.Parse(line).RootElement.GetProperty("step").GetInt32();

    private string[] Lines() => System.IO.File.ReadAllLines(File);

    private void Write(int afterStep, Action<JsonLinesSink> write)
    {
        using var sink = new JsonLinesSink(File);
        sink.Start(afterStep, 10);
        write(sink);
        sink.Flush();
    }
}
