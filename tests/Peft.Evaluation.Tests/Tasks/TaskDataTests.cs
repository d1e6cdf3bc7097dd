using Peft.Data.Examples;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Templates;

namespace Peft.Evaluation.Tests.Tasks;

public sealed class TaskDataTests : IDisposable
{
    private readonly TinyEvaluation _tiny = new();

    public void Dispose() => _tiny.Dispose();

    [Fact]
    public void A_label_outside_the_list_is_refused_with_its_row() => Assert.Equal(
        $"task q: {_tiny.Folder["q.jsonl"]}:2: the answer 'D'; expected one of the task's labels, A, B or C. Correct "
            + "`labels:` or the row, or leave it out with `filter:`.",
        Message(() => _tiny.Data(
            _tiny.Choice("q"),
            [
                """{"p": "1", "a": "A", "x": " 1", "y": " 2", "z": " 3"}""",
                """{"p": "1", "a": "D", "x": " 1", "y": " 2", "z": " 3"}""",
            ],
            "{x}", "{y}", "{z}")));

    [Fact]
    public void The_right_choice_must_be_there() => Assert.Contains(
        "q.jsonl:1: the answer 'C'; expected the label of a choice that has a text in this row.",
        Message(
            () => _tiny.Data(
                _tiny.Choice("q"), ["""{"p": "1", "a": "C", "x": " 1", "y": " 2", "z": " "}"""], "{x}", "{y}", "{z}")),
        StringComparison.Ordinal);

    [Fact]
    public void A_column_that_is_not_there_is_named_with_its_place_and_the_nearest()
    {
        var message = Message(
            () => _tiny.Data(
                _tiny.Choice("q"), ["""{"p": "1", "a": "A", "first": " 1", "y": " 2", "z": " 3"}"""], "{frist}", "{y}",
                "{z}"));
        Assert.StartsWith("task q has 1 fault:\n  choices[0]  ", message, StringComparison.Ordinal);
        Assert.EndsWith("its columns: p, a, first, y, z. Did you mean first?", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Grades_are_numbers_between_the_labels()
    {
        var task = _tiny.Choice("g", "pearson") with { Kind = TaskKind.Classification, Labels = ["0", "1", "5"] };
        Assert.Contains(
            "the answer '6'; expected a number from 0 to 5.",
            Message(() => _tiny.Data(task, ["""{"p": "1", "a": 6}"""], "0", "1", "5")), StringComparison.Ordinal);
        Assert.Equal(-1, _tiny.Data(task, ["""{"p": "1", "a": 2.4}"""], "0", "1", "5").Rows[0].Gold);
    }

    [Fact]
    public void No_row_at_all_says_so()
    {
        var file = _tiny.Folder["q.jsonl"];
        File.WriteAllText(file, "{\"p\": \"1\", \"a\": \"2\"}\n");
        var source = new DataSetOptions
        {
            Name =
                "q", Files = [file], Prompt = TextTemplate.Parse("{p}"), Answer = TextTemplate.Parse("{a}"),
            Filter = ParsedTemplate.ParseExpression("p == '7'", "filter"),
        };
        var task = new EvaluationTask
        {
            Name = "q", Kind = TaskKind.Generation, Metrics = ["exact_match"], Sources = [source],
        };
        Assert.Equal(
            $"task q: {file} has no rows for it; expected at least one row. Check the files and the filter.",
            Message(() => TaskData.Open([task], null, 0, (_, name) => name)));
    }

    [Fact]
    public void Shots_are_the_same_for_every_prompt_and_follow_the_seed()
    {
        var file = _tiny.Folder["train.jsonl"];
        File.WriteAllLines(file, Enumerable.Range(5, 30).Select(i => $$"""{"p": "q{{i}}", "a": " {{i}}"}"""));
        var asked = _tiny.Folder["test.jsonl"];
        File.WriteAllLines(asked, Enumerable.Range(0, 5).Select(i => $$"""{"p": "q{{i}}", "a": " {{i}}"}"""));
        var task = WithShots(asked, new ShotOptions { Count = 3, Files = [file], Separator = "\n" });
        TaskData Open(long seed) => TaskData.Open([task], null, seed, (_, name) => name).Single();
        var first = Open(0);
        Assert.Equal(5, first.Rows.Count);
        var shots = first.Rows[0].Prompt[..^"q0 =".Length];
        Assert.Equal(3, shots.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.All(
            shots.Split('\n', StringSplitOptions.RemoveEmptyEntries), shot => Assert.Matches(@"^q(\d+) = \1$", shot));
        Assert.All(first.Rows, row => Assert.StartsWith(shots, row.Prompt, StringComparison.Ordinal));
        Assert.Equal(first.RowsHash, Open(0).RowsHash);
        Assert.NotEqual(first.RowsHash, Open(1).RowsHash);
    }

    [Fact]
    public void A_row_is_never_among_its_own_shots_and_gets_the_next_one_in_its_place()
    {
        var file = _tiny.Folder["d.jsonl"];
        string[] lines = [.. Enumerable.Range(1, 4).Select(i => $$"""{"p": "r{{i}}", "a": " x{{i}}"}""")];
        File.WriteAllLines(file, lines);
        // The same rows elsewhere, in another order and between others, are the same rows.
        var copy = _tiny.Folder["copy.jsonl"];
        File.WriteAllLines(copy, [.. lines.Reverse(), """{"p": "r5", "a": " x5"}"""]);
        foreach (var (shots, count) in new[] { (file, 2), (file, 3), (copy, 2), (copy, 4) })
        {
            var rows = TaskData.Open(
                [WithShots(file, new ShotOptions { Count = count, Files = [shots] })], null, 0, (_, name) => name)
                    .Single().Rows;
            Assert.All(rows, row => Assert.Equal(count + 1, row.Prompt.Split("\n\n").Length));
            Assert.All(
                rows,
                row => Assert.DoesNotContain(
                    row.Prompt.Split(" =")[^2].Split('\n')[^1] + " = x", row.Prompt, StringComparison.Ordinal));
            Assert.All(rows, row => Assert.Equal(count, row.Prompt.Split("\n\n").SkipLast(1).Distinct().Count()));
        }
    }

    [Fact]
    public void Shots_that_only_the_asked_row_could_fill_are_refused()
    {
        var file = _tiny.Folder["d.jsonl"];
        File.WriteAllLines(file, ["""{"p": "r1", "a": " x1"}""", """{"p": "r2", "a": " x2"}"""]);
        Assert.Equal(
            $"task s: {file} has 1 row other than {file}:1; expected at least shots.count = 2. Lower shots.count, or "
                + "name a file with more rows.",
            Message(
                () => TaskData.Open(
                    [WithShots(file, new ShotOptions { Count = 2, Files = [file] })], null, 0, (_, name) => name)));
    }

    private static EvaluationTask WithShots(string file, ShotOptions shots) => new()
    {
        Name = "s", Kind = TaskKind.Generation, Metrics = ["exact_match"], Shots = shots,
        Sources =
        [
            new DataSetOptions
            {
                Name = "s", Files = [file], Prompt = TextTemplate.Parse("{p} ="), Answer = TextTemplate.Parse("{a}"),
            },
        ],
    };

    [Fact]
    public void The_rows_of_a_task_column_are_those_of_the_task()
    {
        var file = _tiny.Folder["mixed.jsonl"];
        File.WriteAllLines(
            file, Enumerable.Range(0, 9).Select(i => $$"""{"p": "{{i}}", "a": "x", "t": "{{"ab"[i % 2]}}"}"""));
        var task = new EvaluationTask
        {
            Name = "b", Kind = TaskKind.Generation, Metrics = ["exact_match"],
            Sources =
            [
                new DataSetOptions
                {
                    Name =
                        "m", Files = [file], Prompt = TextTemplate.Parse("{p}"), Answer = TextTemplate.Parse("{a}"),
                            TaskColumn = "t",
                },
            ],
        };
        Assert.Equal(
            ["1", "3", "5", "7"],
            TaskData.Open([task], null, 0, (_, name) => name).Single().Rows.Select(row => row.Prompt));
        Assert.Equal(
            ["1", "3"], TaskData.Open([task], 2, 0, (_, name) => name).Single().Rows.Select(row => row.Prompt));
        // What is asked for goes before what the task says, whichever is more.
        var one = task with { Rows = 1 };
        Assert.Single(TaskData.Open([one], null, 0, (_, name) => name).Single().Rows);
        Assert.Equal(2, TaskData.Open([one], 2, 0, (_, name) => name).Single().Rows.Count);
    }

    private static string Message(Action action) => Assert.ThrowsAny<UserException>(action).Message;
}
