using Peft.Evaluation.Metrics;
using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Evaluation.Statistics;
using Peft.Evaluation.Tasks;
using Peft.Evaluation.Tests.Results;
using Peft.Formats;

namespace Peft.Evaluation.Tests.Reports;

public sealed class ReportSourceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_model_holds_what_was_measured()
    {
        var model = ReportSource.Load([Saved("a", SampleResults.Make())]);

        Assert.Equal("default · default-lora", model.Title);
        Assert.Equal("2026-11-22 17:40 UTC", model.Created);
        Assert.Equal(["703,488", "705,024"], model.Adapters.Select(a => a.TrainableText));
        Assert.Equal(["mixture, top-k router", "lora"], model.Adapters.Select(a => a.Kind));
        Assert.Equal(
            ["adapter.method", "adapter.r", "adapter.router.kind", "adapter.router.top_k"],
            model.RecipeChanges.Select(c => c.Key));
        Assert.Equal(["mixture", "lora"], model.RecipeChanges[0].Values);
        Assert.Equal(["2", "–"], model.RecipeChanges[3].Values);
        var cells = model.Tasks[0].Metrics[0].Cells;
        Assert.Equal(
            [("2.857", false, ""), ("0.378", false, "better"), ("0.318", true, "better")],
            cells.Select(c => (c.ValueText, c.IsClearlyBest, c.Mark)));
        Assert.Equal(
            ("default-lora", "−0.060", "default-lora is significantly better"), (
                model.Comparisons[0].B, model.Comparisons[0].DifferenceText, model.Comparisons[0].Conclusion));
        Assert.Equal("no significant difference", model.Comparisons[1].Conclusion);
        Assert.Equal(3, model.Routing[0].Layers.Count);
        Assert.Empty(model.Examples);
    }

    [Fact]
    public void Results_of_other_rows_or_of_another_base_are_refused_all_faults_at_once()
    {
        var first = Saved("a", SampleResults.Make());
        var other = SampleResults.Make(hash: "ffff") with { Base = new("other", "9999") };

        var error = Assert.Throws<FaultsException>(() => ReportSource.Load([first, Saved("b", other)]));

        Assert.Equal(2, error.Items.Count);
        Assert.Contains("base 'other' (9999)", error.Message, StringComparison.Ordinal);
        Assert.Contains("task 'g2p' has 200 other rows (ffff)", error.Message, StringComparison.Ordinal);
        Assert.Contains(
            "Evaluate both on the same rows, best in one peft eval.", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Joined_results_keep_one_base_and_tell_bundles_of_one_name_apart()
    {
        var sample = SampleResults.Make();
        var other = sample with
        {
            Subjects =
            [
                .. sample.Subjects.Take(2).Select(s => s.Fingerprint is null ? s : s with { Fingerprint = "another" }),
            ],
            Scores = [.. sample.Scores.Where(s => s.Subject != "default-lora")],
            Comparisons = [.. sample.Comparisons.Where(c => c.B != "default-lora")],
        };
        var second = Saved("b", other);

        var model = ReportSource.Load([Saved("a", sample), second]);

        Assert.Equal(["base", "default", "default-lora", $"default ({second})"], model.Subjects.Select(s => s.Name));
        Assert.Contains(model.Comparisons, c => c.A == "base" && c.B == $"default ({second})");
        Assert.Contains(
            model.Notes,
            note => note.StartsWith(
                "4 pairs of different results files could not be compared", StringComparison.Ordinal));
        Assert.Equal(2, model.Routing.Count);
    }

    [Fact]
    public void Pairs_of_different_files_are_compared_where_their_rows_lie_beside_them()
    {
        var random = new Random(1);
        var (a, b) = (Right(0.5), Right(0.8));
        var first = Saved("a", Single("one", a), Rows("one", a));
        var second = Saved("b", Single("two", b), Rows("two", b));

        var model = ReportSource.Load([first, second]);

        var expected = PairedComparison.Of(100, rows => rows.ToArray().Average(r => r < 100 ? a[r] : b[r - 100]));
        var comparison = Assert.Single(model.Comparisons);
        Assert.Equal(ReportText.Signed(expected.Difference), comparison.DifferenceText);
        Assert.Equal(ReportText.Interval(expected.Interval.Low, expected.Interval.High), comparison.IntervalText);
        Assert.Equal("two is significantly better", comparison.Conclusion);
        Assert.Empty(model.Notes);

        double[] Right(
            double chance) => [.. Enumerable.Range(0, 100).Select(_ => random.NextDouble() < chance ? 1.0 : 0)];
    }

    [Fact]
    public void Examples_are_chosen_by_rule_and_shown_side_by_side()
    {
        double[] one = [1, 1, 0, 0, 1, 0, 1, 1];
        double[] two = [1, 1, 0, 1, 0, 0, 1, 0];
        var results = Single("one", one);
        results = results with
        {
            Subjects = [.. results.Subjects, results.Subjects[0] with { Name = "two" }],
            Scores = [.. results.Scores, results.Scores[0] with { Subject = "two", Value = two.Average() }],
        };

        var model = ReportSource.Load([Saved("a", results, [.. Rows("one", one), .. Rows("two", two)])]);

        var rows = Assert.Single(model.Examples).Rows;
        Assert.Equal(
            [
                (4L, "adapters differ"), (5, "adapters differ"), (1, "all right"), (2, "all right"), (3, "all wrong"),
                (6, "all wrong"),
            ],
            rows.Select(r => (r.Row, r.Kind)));
        Assert.Equal([("one", "wrong"), ("two", "right")], rows[0].Predictions.Select(p => (p.Subject, p.Mark)));
        Assert.Equal(("prompt 3", "yes"), (rows[0].Prompt, rows[0].Answer));
        // A grade is near or far, not right: none is shown of such a task.
        var graded = results with
        {
            Tasks = [results.Tasks[0] with { Metrics = [results.Tasks[0].Main with { Name = "spearman" }] }],
            Scores = [.. results.Scores.Select(score => score with { Metric = "spearman" })],
        };
        Assert.Empty(ReportSource.Load([Saved("b", graded, [.. Rows("one", one), .. Rows("two", two)])]).Examples);
    }

    [Fact]
    public void A_broken_table_of_rows_is_named()
    {
        var path = Saved("a", SampleResults.Make());
        File.WriteAllText(Path.Combine(path, "examples.parquet"), "PAR1 no");

        var message = Assert.Throws<UserException>(() => ReportSource.Load([path])).Message;

        Assert.Contains("examples.parquet: not the rows of an evaluation", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Results_of_a_bundle_that_was_replaced_since_are_refused_wherever_they_lie()
    {
        var bundle = _folder["default"];
        Directory.CreateDirectory(bundle);
        File.WriteAllText(Path.Combine(bundle, "adapter_model.safetensors"), "weights");
        var measured = MeasuredBundle.FingerprintOf(bundle)!;
        var sample = SampleResults.Make();
        var results = sample with
        {
            Subjects =
            [
                sample.Subjects[0], sample.Subjects[1] with { Path = "elsewhere/default", Fingerprint = measured },
                sample.Subjects[2],
            ],
        };
        foreach (var place in new[] { "default", "default/evaluation" })
            ReportSource.Load([Saved(place, results)]);

        File.WriteAllText(Path.Combine(bundle, "adapter_model.safetensors"), "retrained");
        const string Elsewhere = "elsewhere/default";
        foreach (var (place, named) in new[]
            { ("default", Elsewhere), ("default/evaluation", Elsewhere), ("other", bundle) })
        {
            var path = Saved(
                place,
                results with
                {
                    Subjects = [results.Subjects[0], results.Subjects[1] with { Path = named }, results.Subjects[2]],
                });
            Assert.Equal(
                $"stale results has 1 fault:\n  {bundle}  holds another adapter "
                    + $"({MeasuredBundle.FingerprintOf(bundle)![..12]}) than {path}/results.json was measured on "
                + $"({measured[..12]}). Measure it again: peft eval --adapter {bundle} --output {path} --overwrite.",
                Assert.Throws<FaultsException>(() => ReportSource.Load([path])).Message);
        }
    }

    [Fact]
    public void No_results_at_all_are_refused() =>
        Assert.StartsWith(
            "peft report: no results given; expected at least one results.json",
            Assert.Throws<UserException>(() => ReportSource.Load([])).Message, StringComparison.Ordinal);

    private static ResultsDocument Single(string name, double[] scores) => new(
        "2026-11-22T17:40:00Z", "0.1.0", new(0, 16, "float32", 1000, 0.95, "holm"), new("data/base", "d6671d84"),
        [new(name, Subject.AdapterKind, name, "lora", null, name, 10, null, null, 1, null, null)],
        [new("t", "classification", "t.parquet", scores.Length, "aa", 0, 0, 0, [new("accuracy", true, true, "rate")])],
        [new(name, "t", "accuracy", scores.Average(), 0, 1, scores.Length)], [], []);

    private static List<(string, JudgedRow)> Rows(string subject, double[] scores)
    {
        var task = new EvaluationTask
        {
            Name = "t", Kind = TaskKind.Generation, Sources = [], Metrics = ["exact_match"],
        };
        return [.. scores.Select((score, row) => (subject, new JudgedRow(
            task, new(row, new("f", row + 1), $"prompt {row}", "yes"),
            new(row, score == 1 ? "yes" : "no", [], 0, false))))];
    }

    private string Saved(string name, ResultsDocument results, List<(string, JudgedRow)>? rows = null)
    {
        ResultsFile.Save(Path.Combine(_folder[name], "results.json"), results);
        if (rows is not null)
            ExamplesFile.Write(Path.Combine(_folder[name], "examples.parquet"), rows);
        return _folder[name];
    }
}
