using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Peft.Evaluation.Results;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Results;

public sealed class ResultsFileTests : IDisposable
{
    private readonly TempFolder _folder = new();

    private string Path => _folder["results.json"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void What_was_saved_is_loaded_from_the_file_and_from_its_folder()
    {
        ResultsFile.Save(Path, SampleResults.Make());

        Assert.Equal(File.ReadAllText(Path), ResultsFile.ToJson(ResultsFile.Load(Path)));
        Assert.Equal(File.ReadAllText(Path), ResultsFile.ToJson(ResultsFile.Load(_folder.Path)));
        Assert.Equal(["results.json"], Directory.GetFileSystemEntries(_folder.Path).Select(System.IO.Path.GetFileName));
    }

    [Fact]
    public void The_file_begins_with_its_format_and_has_the_documented_names()
    {
        ResultsFile.Save(Path, SampleResults.Make());
        using var json = JsonDocument.Parse(File.ReadAllText(Path));
        string[] names = ["format", "version", "created", "peft_version", "settings", "base", "subjects", "tasks", "scores", "comparisons", "routing"];

        Assert.Equal(names.Order(), json.RootElement.EnumerateObject().Select(p => p.Name).Order());
        Assert.Equal(["name", "kind", "data", "rows", "rows_hash", "truncated", "ties", "shots", "metrics"],
            json.RootElement.GetProperty("tasks")[0].EnumerateObject().Select(p => p.Name));
        Assert.Equal("peft.results", json.RootElement.GetProperty("format").GetString());
        Assert.Equal(703_488, json.RootElement.GetProperty("subjects")[1].GetProperty("trainable_parameters").GetInt64());
        Assert.True(json.RootElement.GetProperty("comparisons")[0].TryGetProperty("p_adjusted", out _));
    }

    [Fact]
    public void Keys_of_later_writers_are_passed_over()
    {
        var json = Edited(root => root["colour"] = "blue");

        File.WriteAllText(Path, json);

        Assert.Equal(3, ResultsFile.Load(Path).Subjects.Count);
    }

    [Theory]
    [InlineData("\"x\": \"\\ud800\"")]
    [InlineData("\"\\ud800\": 1")]
    [InlineData("\"\\udc00ecipe\": 1")]
    [InlineData("\"x\": \"\xff\"")]
    [InlineData("\"\xed\xa0\x80\": [null]")]
    [InlineData("\"x\": \"a\\u0041\xc0\xaf\"")]
    public void Texts_that_are_no_Unicode_are_told_wherever_they_stand(string member)
    {
        var json = ResultsFile.ToJson(SampleResults.Make());
        foreach (var place in new[] { "^\\{", "\"recipe\":\\s*\\{" })
        {
            var broken = new Regex(place).Replace(json, match => match.Value + "\uE000,", 1).Split('\uE000');
            File.WriteAllBytes(Path, [.. Encoding.UTF8.GetBytes(broken[0]), .. Encoding.Latin1.GetBytes(member), .. Encoding.UTF8.GetBytes(broken[1])]);

            var message = Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message;
            Assert.Contains("not a whole results file", message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("", "not a whole results file")]
    [InlineData("{\"format\": \"peft.results\", \"version\": 1, \"subj", "it may have been cut short")]
    [InlineData("[]", "not a whole results file")]
    [InlineData("null", "no format - \"peft.results\"")]
    [InlineData("{\"format_version\":1,\"model\":\"m\",\"tasks\":[]}", "no format - \"peft.results\" - give a results.json")]
    [InlineData("{\"format\":\"other\",\"version\":1}", "format 'other'")]
    [InlineData("{\"format\":\"peft.results\",\"version\":2}", "version 2 of peft.results - this program reads version 1 - use the newer peft")]
    [InlineData("{\"format\":\"peft.results\"}", "version 0 of peft.results - this program reads version 1 - run peft eval again")]
    [InlineData("{\"format\":\"peft.results\",\"version\":1}", "keys are missing: 'created', 'peft_version'")]
    public void Another_file_is_refused(string text, string message)
    {
        File.WriteAllText(Path, text);

        var error = Assert.Throws<UserException>(() => ResultsFile.Load(Path));

        Assert.StartsWith($"{Path}: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_cut_anywhere_is_refused()
    {
        ResultsFile.Save(Path, SampleResults.Make());
        var bytes = File.ReadAllBytes(Path);
        for (var length = 0; length < bytes.Length - 2; length += 211)
        {
            File.WriteAllBytes(Path, bytes[..length]);
            Assert.Throws<UserException>(() => ResultsFile.Load(Path));
        }
    }

    [Theory]
    [InlineData("scores", "subject", "nobody", "score of 'nobody' on 'g2p' by 'phoneme_error_rate' - a subject, task and metric of this file")]
    [InlineData("comparisons", "b", "nobody", "comparison of 'base' and 'nobody'")]
    [InlineData("subjects", "name", "default", "subjects: two of one name")]
    [InlineData("subjects", "kind", "thing", "kind 'thing' - base or adapter")]
    [InlineData("tasks", "name", "spam", "tasks: two of one name")]
    [InlineData("routing", "subject", "nobody", "routing of 'nobody': a subject of this file")]
    public void A_file_that_contradicts_itself_is_refused(string list, string key, string value, string message)
    {
        File.WriteAllText(Path, Edited(root => root[list]![0]![key] = value));

        Assert.Contains(message, Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Null_in_a_list_and_lists_of_unlike_length_are_refused()
    {
        File.WriteAllText(Path, Edited(root => root["scores"]!.AsArray().Add(null)));
        Assert.Contains("null in a list", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

        File.WriteAllText(Path, Edited(root => root["subjects"]![1]!["training"]!["loss"] = new JsonArray(1.0)));
        Assert.Contains("training.loss: 1 values - 40", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

        File.WriteAllText(Path, Edited(root => root["routing"]![0]!["srp"]!["values"]![0] = JsonNode.Parse("1e999")));
        Assert.Contains("a number out of range", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

        // Null may stand at the end of a list, after a recipe.
        File.WriteAllText(Path, Edited(root => root["subjects"]!.AsArray().Add(null)));
        Assert.Contains("null in a list", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

        // A recipe may hold what it wants.
        File.WriteAllText(Path, Edited(root => root["subjects"]![1]!["recipe"]!["list"] = new JsonArray(null, 1)));
        Assert.NotNull(ResultsFile.Load(Path));
    }

    [Fact]
    public void A_missing_file_is_named() => Assert.Contains(
        "no such file", Assert.Throws<Peft.Formats.Files.FileOperationException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

    [Fact]
    public void Numbers_that_are_none_are_not_written()
    {
        var sample = SampleResults.Make();

        Assert.Throws<ArgumentException>(() => ResultsFile.Save(Path, sample with { Scores = [sample.Scores[0] with { Value = double.NaN }] }));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    private static string Edited(Action<JsonNode> edit)
    {
        var root = JsonNode.Parse(ResultsFile.ToJson(SampleResults.Make()))!;
        edit(root);
        return root.ToJsonString();
    }
}
