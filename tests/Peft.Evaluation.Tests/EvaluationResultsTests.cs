using System.Text.Json;
using Peft.Formats;

namespace Peft.Evaluation.Tests;

public sealed class EvaluationResultsTests : IDisposable
{
    private static readonly EvaluationResults Results = new("default", 12345678901,
        [new TaskResult("g2p", "token_error_rate", false, 1.0 / 3, 300), new TaskResult("späm", "accuracy", true, 1, 7)]);

    private readonly TempFolder _folder = new();

    private string File => _folder["evaluation.json"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_was_saved_is_loaded()
    {
        Results.Save(File);
        var loaded = EvaluationResults.Load(File);

        Assert.Equal(Results.Tasks, loaded.Tasks);
        Assert.Equal(Results with { Tasks = loaded.Tasks }, loaded);
        Assert.Equal(["evaluation.json"], Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void The_file_has_the_documented_names()
    {
        Results.Save(File);
        using var json = JsonDocument.Parse(System.IO.File.ReadAllText(File));

        Assert.Equal(["format_version", "model", "trainable_parameters", "tasks"], json.RootElement.EnumerateObject().Select(p => p.Name));
        Assert.Equal(["task", "metric", "higher_is_better", "value", "rows"],
            json.RootElement.GetProperty("tasks")[0].EnumerateObject().Select(p => p.Name));
        Assert.EndsWith("}\n", System.IO.File.ReadAllText(File), StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_says_where_results_come_from() => Assert.Equal(
        $"{File}: no such file - evaluation results are written as evaluation.json beside a bundle", Message());

    [Fact]
    public void A_file_cut_short_says_so()
    {
        Results.Save(File);
        System.IO.File.WriteAllText(File, System.IO.File.ReadAllText(File)[..120]);

        Assert.StartsWith($"{File}: not a results file (", Message(), StringComparison.Ordinal);
        Assert.EndsWith(") - it may have been cut short", Message(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"format_version\": 2, \"model\": \"x\", \"trainable_parameters\": 1, \"tasks\": []}")]
    [InlineData("{\"format_version\": 2, \"runs\": []}")]
    public void Another_version_is_named_whatever_else_it_holds(string text)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.Equal($"{File}: results of format 2; this version reads format 1", Message());
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("{\"format_version\": 1, \"model\": \"x\"}")]
    [InlineData("{\"format_version\": 1, \"model\": null, \"tasks\": []}")]
    [InlineData("{\"format_version\": 1, \"model\": \"x\", \"tasks\": [null]}")]
    [InlineData("{\"format_version\": 1, \"model\": \"x\", \"tasks\": [{\"value\": 1}]}")]
    public void Other_json_is_no_results_file(string text)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.Equal($"{File}: no tasks found - this is not a results file", Message());
    }

    [Theory]
    [InlineData("")]
    [InlineData("[1]")]
    [InlineData("{\"format_version\": \"one\"}")]
    public void Other_text_is_no_results_file_either(string text)
    {
        System.IO.File.WriteAllText(File, text);
        Assert.StartsWith($"{File}: not a results file (", Message(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("1, \"tasks\": [{\"task\": \"t\", \"metric\": \"m\", \"value\": 1e999, \"rows\": 1}]")]
    [InlineData("1, \"tasks\": [{\"task\": \"t\", \"metric\": \"m\", \"value\": 1, \"rows\": -1}]")]
    [InlineData("-1, \"tasks\": []")]
    public void A_number_out_of_range_is_refused(string rest)
    {
        System.IO.File.WriteAllText(File, $"{{\"format_version\": 1, \"model\": \"x\", \"trainable_parameters\": {rest}}}");
        Assert.Equal($"{File}: a number out of range - rows and parameters from 0, values finite - make the results again", Message());
    }

    [Fact]
    public void A_key_that_stands_twice_is_refused()
    {
        System.IO.File.WriteAllText(File, "{\"format_version\": 1, \"model\": \"x\", \"model\": \"y\", \"tasks\": []}");
        Assert.StartsWith($"{File}: not a results file (", Message(), StringComparison.Ordinal);
    }

    private string Message() => Assert.Throws<UserException>(() => EvaluationResults.Load(File)).Message;
}
