using System.Text.Json.Nodes;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Recipes.Tests;

/// <summary>
/// The task files of the benchmarks, on rows as users have them, with a model of 260 thousand values that can do none
/// of them.
/// </summary>
public sealed class BenchmarkTaskTests : IDisposable
{
    private const int Rows = 40;

    // Tasks whose data is not among the shared assets, with rows in the form that their files expect.
    private static readonly Dictionary<string, (string File, string[] Columns, string[] Rows)> Written = new()
    {
        ["siqa"] = ("siqa/test.parquet", ["instruction", "answer"],
        [
            """{"instruction": "Please choose the correct answer to the question: Tracy hid. Why?\n\nAnswer1: fear Answer2: joy Answer3: to see\n\nAnswer format: answer1/answer2/answer3", "answer": "answer1"}""",
        ]),
        ["hellaswag"] = ("hellaswag/test.parquet", ["instruction", "answer"],
        [
            """{"instruction": "Please choose the correct ending to complete the given sentence: Cooking: A man cuts\n\nEnding1: bread. Ending2: air. Ending3: the sea. Ending4: a: b.\n\nAnswer format: ending1/ending2/ending3/ending4", "answer": "ending4"}""",
        ]),
        ["rte"] = ("glue_rte/test.parquet", ["sentence1", "sentence2", "label"],
        [
            """{"sentence1": "It rained.", "sentence2": "It was wet.", "label": 0}""",
        ]),
    };

    private readonly Support.TempFolder _folder = new();

    private static readonly string[] Benchmarks =
        ["arc_challenge", "arc_easy", "ag_news", "boolq", "cola", "gsm8k", "medqa", "mrpc", "openbookqa", "piqa",
            "sst2", "stsb", "winogrande"];

    public static TheoryData<string> Names => [.. Benchmarks];

    private static string File(string name) =>
        Path.Combine(Peft.Tests.SharedAssets.Repository, "recipes", "tasks", $"{name}.yaml");

    public void Dispose() => _folder.Dispose();

    [SharedTheory]
    [MemberData(nameof(Names))]
    public void A_benchmark_runs_to_the_end_on_real_rows_with_the_accuracy_of_chance(string name)
    {
        var directory = Peft.Tests.SharedAssets.Path("models", "stories260K");
        using var model = ModelLoader.Load(directory, ScalarType.Float32);
        var data = Open(name, Peft.Tests.SharedAssets.Path("data"), name == "gsm8k" ? 6 : Rows);
        var results = new TaskEvaluator(model, HuggingFaceTokenizer.Load(directory), 8).Run(data);
        Assert.Equal(data.Rows.Count, results.Count);
        var rows = data.Rows.Zip(results, (row, result) => new JudgedRow(data.Task, row, result)).ToList();
        foreach (var metric in data.Task.Metrics.Select(Metric.Named))
            Assert.True(
                double.IsFinite(metric.Combine([.. rows.Select(metric.OfRow)], [.. Enumerable.Range(0, rows.Count)])));

        if (data.Task.Kind == TaskKind.Generation)
            Assert.InRange(rows.Count(row => Metric.Named("numeric").ScoreOf(row) == 1), 0, 1);
        else if (data.Task.IsGraded)
            Assert.InRange(
                Aggregate.Spearman([.. rows.Select(row => new[] { row.ExpectedGrade, row.Grade })],
                [.. Enumerable.Range(0, rows.Count)]), -0.6, 0.6);
        else
            AssertChance(rows);
    }

    [Fact]
    public async Task Tasks_without_shared_data_read_rows_of_the_form_they_name()
    {
        foreach (var (name, (file, columns, rows)) in Written)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_folder[$"data/{file}"])!);
            await WriteParquet(_folder[$"data/{file}"], columns, [.. rows.Select(row => JsonNode.Parse(row)!)]);
            var row = Open(name, _folder["data"], null).Rows.Single();
            Assert.All(row.Choices, choice => Assert.False(string.IsNullOrWhiteSpace(choice)));
            Assert.DoesNotContain("Answer", string.Concat(row.Choices), StringComparison.Ordinal);
        }
        var hellaswag = Open("hellaswag", _folder["data"], null).Rows.Single();
        Assert.Equal("Cooking: A man cuts", hellaswag.Prompt);
        Assert.Equal([" bread.", " air.", " the sea.", " a: b."], hellaswag.Choices);
        Assert.Equal(3, hellaswag.Gold);
    }

    [SharedFact]
    public void The_parts_of_LLM_Adapters_rows_are_found()
    {
        var data = Peft.Tests.SharedAssets.Path("data");
        var arc = Open("arc_easy", data, null);
        Assert.Equal(2376, arc.Rows.Count);
        Assert.Equal([3, 4, 5],
            arc.Rows.Select(row => row.Choices.Count(choice => choice is not null)).Distinct().Order());
        Assert.Equal(
            "Question: Which piece of safety equipment is used to keep mold spores from entering the respiratory "
            + "system?\nAnswer:", arc.Rows[1].Prompt);
        Assert.Equal([" safety goggles", " breathing mask", " rubber gloves", " lead apron", null],
            arc.Rows[1].Choices);

        var wino = Open("winogrande", data, 2).Rows[0];
        Assert.Equal("Sarah was a much better surgeon than Maria so Maria", wino.ContextOf(1));
        Assert.Equal(" always got the easier cases.", wino.Choices[0]);
        Assert.Equal(1, wino.Gold);
    }

    [Fact]
    public void Every_task_file_is_read()
    {
        var catalog = new TaskCatalog([], null);
        var names = Directory.GetFiles(Path.GetDirectoryName(File("x"))!,
            "*.yaml").Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal).ToList();
        Assert.Empty(Benchmarks.Except(names));
        Assert.Empty(Written.Keys.Except(names));
        Assert.All(names, name => Assert.Equal(name, catalog.Find([File(name)]).Single().Name));
    }

    // What guessing with the labels in the proportions that the model chose them would come to, within 4 standard
    // deviations.
    private static void AssertChance(List<JudgedRow> rows)
    {
        double n = rows.Count;
        var labels = rows.Select(row => row.Row.Choices.Count).Max();
        var chance = Enumerable.Range(0,
            labels).Sum(label =>
            rows.Count(row => row.Row.Gold == label) / n * (rows.Count(row => row.Likeliest == label) / n));
        var deviation = Math.Sqrt(Math.Max(chance * (1 - chance), 0.01) / n);
        Assert.InRange(rows.Count(row => row.IsCorrect) / n, chance - 4 * deviation, chance + 4 * deviation);
    }

    private static async Task WriteParquet(string path, IReadOnlyList<string> columns, IReadOnlyList<JsonNode> rows)
    {
        var fields = columns.Select(column => new Parquet.Schema.DataField<string>(column)).ToList();
        await using var stream = System.IO.File.Create(path);
        await using var writer = await Parquet.ParquetWriter.CreateAsync(new Parquet.Schema.ParquetSchema(fields),
            stream);
        using var group = writer.CreateRowGroup();
        foreach (var field in fields)
            await group.WriteAsync(field,
                (IReadOnlyCollection<string>)[.. rows.Select(row => row[field.Name]!.ToString())]);
        group.CompleteValidate();
    }

    private static TaskData Open(string name, string data, int? rows)
    {
        var catalog = new TaskCatalog([], data);
        return TaskData.Open(catalog.Find([File(name)]), rows, 0, catalog.Resolve).Single();
    }
}
