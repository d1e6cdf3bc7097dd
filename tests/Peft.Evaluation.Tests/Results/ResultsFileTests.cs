using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Peft.Evaluation.Metrics;
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
        string[] names =
        [
            "format", "version", "created", "peft_version", "settings", "base", "subjects", "tasks", "scores",
            "comparisons", "routing", "sequences",
        ];

        Assert.Equal(names.Order(), json.RootElement.EnumerateObject().Select(p => p.Name).Order());
        Assert.Equal(["name", "kind", "data", "rows", "rows_hash", "truncated", "ties", "shots", "metrics"],
            json.RootElement.GetProperty("tasks")[0].EnumerateObject().Select(p => p.Name));
        Assert.Equal("peft.results", json.RootElement.GetProperty("format").GetString());
        Assert.Equal(
            703_488, json.RootElement.GetProperty("subjects")[1].GetProperty("trainable_parameters").GetInt64());
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
            var (before, behind) = (Encoding.UTF8.GetBytes(broken[0]), Encoding.UTF8.GetBytes(broken[1]));
            File.WriteAllBytes(Path, [.. before, .. Encoding.Latin1.GetBytes(member), .. behind]);

            var message = Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message;
            Assert.Contains("not a whole results file", message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("", "not a whole results file")]
    [InlineData("{\"format\": \"peft.results\", \"version\": 1, \"subj", "It may have been cut short: measure again.")]
    [InlineData("[]", "not a whole results file")]
    [InlineData("null", "not a whole results file (the value is null); expected a results.json that peft eval or peft "
        + "train wrote.")]
    [InlineData("{\"format_version\":2}", "no format; expected \"peft.results\". Give a results.json that peft eval or "
        + "peft train wrote.")]
    [InlineData("{\"format_version\":1,\"model\":\"m\",\"tasks\":[]}", "keys are missing: 'trainable_parameters'")]
    [InlineData("{\"format\":\"other\",\"version\":1}", "format 'other'")]
    [InlineData("{\"format\":\"peft.results\",\"version\":2}", "version 2 of peft.results; expected version 1. Use the "
        + "newer peft that wrote it.")]
    [InlineData("{\"format\":\"peft.results\"}", "version 0 of peft.results; expected version 1. Measure again.")]
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
    [InlineData("scores", "subject", "nobody", "the score of 'nobody' on 'g2p' by 'phoneme_error_rate': nothing that "
        + "this file describes; expected a subject, task and metric of this file.")]
    [InlineData("comparisons", "b", "nobody", "the comparison of 'base' and 'nobody' on 'g2p' by 'phoneme_error_rate': "
        + "nothing that this file describes")]
    [InlineData("subjects", "name", "default", "subjects: two are named 'default'; expected distinct names.")]
    [InlineData("subjects", "kind", "thing", "kind 'thing'; expected base, adapter or recorded.")]
    [InlineData("tasks", "name", "spam", "tasks: two are named 'spam'; expected distinct names.")]
    [InlineData("routing", "subject", "nobody", "routing of 'nobody': an unknown subject; expected a subject of this "
        + "file.")]
    public void A_file_that_contradicts_itself_is_refused(string list, string key, string value, string message)
    {
        File.WriteAllText(Path, Edited(root => root[list]![0]![key] = value));

        Assert.Contains(
            message, Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Null_in_a_list_and_lists_of_unlike_length_are_refused()
    {
        File.WriteAllText(Path, Edited(root => root["scores"]!.AsArray().Add(null)));
        Assert.Contains(
            "null in a list", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message,
            StringComparison.Ordinal);

        File.WriteAllText(Path, Edited(root => root["subjects"]![1]!["training"]!["loss"] = new JsonArray(1.0)));
        Assert.Contains(
            "training.loss: 1 value; expected 40 values, one for each step.",
            Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

        File.WriteAllText(Path, Edited(root => root["routing"]![0]!["srp"]!["values"]![0] = JsonNode.Parse("1e999")));
        Assert.Contains(
            "a number out of range", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message,
            StringComparison.Ordinal);

        // Null may stand at the end of a list, after a recipe.
        File.WriteAllText(Path, Edited(root => root["subjects"]!.AsArray().Add(null)));
        Assert.Contains(
            "null in a list", Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message,
            StringComparison.Ordinal);

        // A recipe may hold what it wants.
        File.WriteAllText(Path, Edited(root => root["subjects"]![1]!["recipe"]!["list"] = new JsonArray(null, 1)));
        Assert.NotNull(ResultsFile.Load(Path));
    }

    [Fact]
    public void A_missing_file_is_named() => Assert.Contains(
        "results.json: no such file; expected a results.json that peft eval or peft train wrote.",
        Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);

    [Fact]
    public void Numbers_that_are_none_are_not_written()
    {
        var sample = SampleResults.Make();

        Assert.Throws<ArgumentException>(
            () => ResultsFile.Save(Path, sample with { Scores = [sample.Scores[0] with { Value = double.NaN }] }));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void What_earlier_versions_wrote_beside_a_bundle_is_read_as_results_of_one_adapter()
    {
        const string Earlier = """
            {"format_version": 1, "model": "default-lora", "trainable_parameters": 705024, "tasks": [
              {"task": "g2p", "metric": "token_error_rate", "higher_is_better": false, "value": 0.3, "rows": 200},
              {"task": "spam", "metric": "accuracy", "higher_is_better": true, "value": 0.915, "rows": 200}]}
            """;
        File.WriteAllText(_folder["evaluation.json"], Earlier);
        var read = ResultsFile.Load(_folder.Path);

        var subject = Assert.Single(read.Subjects);
        Assert.Equal(
            ("default-lora", Subject.AdapterKind, 705_024L), (subject.Name, subject.Kind, subject.TrainableParameters));
        Assert.Equal([("g2p", false), ("spam", true)], read.Tasks.Select(t => (t.Name, t.Main.HigherIsBetter)));
        var score = read.Scores[1];
        Assert.Equal(("spam", 0.915, null, 200), (score.Task, score.Value, score.Low, score.Rows));

        // The results that have the name of today count where both are there.
        ResultsFile.Save(Path, SampleResults.Make());
        Assert.Equal(3, ResultsFile.Load(_folder.Path).Subjects.Count);
    }

    [Fact]
    public void The_recorded_baseline_of_the_default_recipe_knows_its_base_and_its_rows()
    {
        var recorded = ResultsFile.Load(
            System.IO.Path.Combine(Peft.Tests.SharedAssets.Repository, "recipes", "results", "default-lora.json"));

        var subject = Assert.Single(recorded.Subjects);
        Assert.Equal((Subject.AdapterKind, 1_361_920L), (subject.Kind, subject.TrainableParameters));
        Assert.Equal(64, recorded.Base.Fingerprint.Length);
        Assert.All(recorded.Tasks, task => Assert.Equal((64, 200), (task.RowsHash.Length, task.Rows)));
        Assert.Equal(
            [("g2p", 0.8601895734597157), ("stress", 0.335), ("syllables", 0.325), ("gloss_pos", 0.495),
                ("gloss_class", 0.275), ("lemma", 0.08), ("form_pos", 0.455)],
            recorded.Scores.Select(score => (score.Task, score.Value)));
        Assert.All(recorded.Scores, score => Assert.True(score.Low < score.Value && score.Value < score.High));
    }

    [Theory]
    [InlineData("1, \"tasks\": [{\"task\": \"t\", \"metric\": \"m\", \"higher_is_better\": true, \"value\": 1e999, "
        + "\"rows\": 1}]", "a number out of range")]
    [InlineData("1, \"tasks\": [{\"task\": \"t\", \"metric\": \"m\", \"higher_is_better\": true, \"value\": 1, "
        + "\"rows\": -1}]", "numbers from 0")]
    [InlineData("-1, \"tasks\": []", "trainable_parameters -1; expected a number from 0.")]
    [InlineData("1, \"tasks\": [null]", "null in a list")]
    [InlineData("1, \"tasks\": [], \"model\": \"y\"", "not a whole results file")]
    public void Wrong_numbers_in_an_earlier_file_are_refused(string rest, string message)
    {
        File.WriteAllText(Path, $"{{\"format_version\": 1, \"model\": \"x\", \"trainable_parameters\": {rest}}}");
        Assert.Contains(
            message, Assert.Throws<UserException>(() => ResultsFile.Load(Path)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Recorded_results_are_shown_behind_the_base_where_base_and_rows_are_the_same()
    {
        var sample = SampleResults.Make();
        var recorded = sample with { Subjects = [sample.Subjects[2]] };
        var own = sample with { Subjects = [.. sample.Subjects.Take(2)] };
        var said = new List<string>();

        var joined = own.WithRecorded("one LoRA", "lora.json", recorded, said.Add);
        Assert.Equal(
            [("base", "base"), ("one LoRA", "recorded"), ("default", "adapter")],
            joined.Subjects.Select(s => (s.Name, s.Kind)));
        Assert.Equal(0.91, joined.ScoreOf("one LoRA", "spam", "accuracy")!.Value);
        Assert.Empty(said);

        var other = recorded with { Tasks = [recorded.Tasks[0] with { RowsHash = "ffff" }, recorded.Tasks[1]] };
        Assert.Null(
            own.WithRecorded("one LoRA", "lora.json", other, said.Add)
                .ScoreOf("one LoRA", "g2p", "phoneme_error_rate"));
        own.WithRecorded("one LoRA", "lora.json", recorded with { Base = new("b2", "9999") }, said.Add);
        Assert.Equal(
            ["one LoRA (lora.json) is not shown on g2p: it was measured on other rows",
                "one LoRA (lora.json) is left out: it was measured on another base, b2"],
            said);
        said.Clear();
        own.WithRecorded("one LoRA", "lora.json", recorded with
        {
            Tasks = [.. recorded.Tasks.Select(task => task with { RowsHash = "ffff" })],
        }, said.Add);
        Assert.Equal(["one LoRA (lora.json) is not shown on g2p and spam: it was measured on other rows"], said);
        Assert.Equal(
            "lora.json: results of 2 adapters; expected recorded results of one adapter.",
            Assert.Throws<UserException>(() => own.WithRecorded("x", "lora.json", sample, said.Add)).Message);
    }

    private static string Edited(Action<JsonNode> edit)
    {
        var root = JsonNode.Parse(ResultsFile.ToJson(SampleResults.Make()))!;
        edit(root);
        return root.ToJsonString();
    }
}
