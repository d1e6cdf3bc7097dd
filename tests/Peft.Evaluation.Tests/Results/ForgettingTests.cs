using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;

namespace Peft.Evaluation.Tests.Results;

public sealed class ForgettingTests
{
    [Fact]
    public void Forgetting_is_the_best_before_less_the_last_and_an_error_rate_counts_the_other_way_round()
    {
        var results = Made();
        var forgetting = new Forgetting(results, results.Sequences[0]);

        Assert.Equal(0.9, forgetting.Score(1, 0));
        Assert.Equal(0.9 - 0.6, forgetting.Forgotten(0)!.Value, 12);
        Assert.Equal(0.6 - 0.8, forgetting.Transferred(0)!.Value, 12);
        // Fewer errors at last than ever before: less than nothing was forgotten.
        Assert.Equal(-(0.3 - 0.2), forgetting.Forgotten(1)!.Value, 12);
        Assert.Equal(0.3 - 0.2, forgetting.Transferred(1)!.Value, 12);
        Assert.Null(forgetting.Forgotten(2));
        Assert.Null(forgetting.Transferred(2));
        Assert.Equal((0.3 - 0.1) / 2, forgetting.Mean!.Value, 12);
        Assert.Equal((-0.2 + 0.1) / 2, forgetting.BackwardTransfer!.Value, 12);
    }

    [Fact]
    public void A_report_has_a_row_a_stage_and_one_of_what_was_forgotten()
    {
        var sequence = Assert.Single(ReportBuilder.Build(Made(), [], []).Sequences);

        Assert.Equal(["a", "b", "c"], sequence.Tasks);
        Assert.Equal(
            [
                ["one", "0.800", "0.500", "0.100"], ["two", "0.900", "0.300", "0.200"],
                ["three", "0.600", "0.200", "0.700"],
            ],
            sequence.Stages.Select(stage => (string[])[stage.Name, .. stage.Cells]));
        Assert.Equal(["0.300", "−0.100", "–"], sequence.Forgotten);
        Assert.Equal(("0.100", "−0.050"), (sequence.MeanText, sequence.TransferText));
    }

    [Theory]
    [InlineData(new[] { "one" }, new[] { "a" }, "1 stage and 1 task")]
    [InlineData(new[] { "one", "two" }, new[] { "a", "b", "c" }, "2 stages and 3 tasks")]
    [InlineData(new[] { "one", "four" }, new[] { "a", "b" }, "nothing that this file describes")]
    [InlineData(new[] { "one", "two" }, new[] { "a", "d" }, "nothing that this file describes")]
    public void A_sequence_of_what_is_not_there_is_no_result(string[] stages, string[] tasks, string found)
    {
        using var folder = new TempFolder();
        var error = Assert.Throws<ArgumentException>(
            () => ResultsFile.Save(folder["r.json"], Made() with { Sequences = [new(stages, tasks)] }));
        Assert.Contains($"sequences: {found}; expected", error.Message, StringComparison.Ordinal);
    }

    private static ResultsDocument Made()
    {
        string[] stages = ["one", "two", "three"];
        string[] tasks = ["a", "b", "c"];
        double[][] scores = [[0.8, 0.5, 0.1], [0.9, 0.3, 0.2], [0.6, 0.2, 0.7]];
        return new(
            "2026-11-22T17:40:00Z", "0.1.0", new(0, 16, "float32", 1000, 0.95, "holm"), new("data/base", "d6"),
            [.. stages.Select(name => new Subject(
                name, Subject.AdapterKind, name, "lora", null, name, 1, null, null, 1, null, null))],
            [.. tasks.Select(name => new MeasuredTask(
                name, "generation", name, 10, name, 0, 0, 0, [new("m", name != "b", true, "rate")]))],
            [.. from stage in Enumerable.Range(0, 3)
                from task in Enumerable.Range(0, 3)
                select new Score(stages[stage], tasks[task], "m", scores[stage][task], null, null, 10)],
            [], [])
        {
            Sequences = [new(stages, tasks)],
        };
    }
}
