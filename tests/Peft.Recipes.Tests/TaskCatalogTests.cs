using Peft.Data.Examples;
using Peft.Evaluation.Tasks;
using Peft.Formats;

namespace Peft.Recipes.Tests;

public sealed class TaskCatalogTests : IDisposable
{
    private readonly Support.TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Without_names_the_recipes_tasks_are_meant_and_of_equal_ones_the_first()
    {
        var catalog = new TaskCatalog([Task("a", 1), Task("b", 2), Task("a", 3)], null);
        Assert.Equal([("a", 1), ("b", 2)], catalog.Find([]).Select(task => (task.Name, task.Rows!.Value)));
        Assert.Equal(1, catalog.Find(["a"]).Single().Rows);
        Assert.Contains("--tasks: missing, and neither --recipe nor an adapter's recipe names tasks",
            Message(() => new TaskCatalog([], null).Find([])), StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_task_is_told_with_the_nearest_or_else_with_all_there_are()
    {
        var message = Message(() => new TaskCatalog([Task("spelling", 1)], null).Find(["speling"]));
        Assert.StartsWith("--tasks: 'speling' is not a task. Did you mean spelling?", message,
            StringComparison.Ordinal);
        message = Message(() => new TaskCatalog([Task("spelling", 1)], null).Find(["something else"]));
        Assert.StartsWith("--tasks: 'something else' is not a task. There are spelling, ", message,
            StringComparison.Ordinal);
        Assert.Contains("arc_easy, ", message, StringComparison.Ordinal);
        Assert.EndsWith("; or name a task file (FILE.yaml).", message, StringComparison.Ordinal);
        Assert.Equal("--tasks: a is given twice; expected each task once.",
            Message(() => new TaskCatalog([Task("a", 1)], null).Find(["a", "a"])));
    }

    [Fact]
    public void Data_is_looked_for_in_the_folder_named_and_then_beside_the_task()
    {
        _folder.Write("data/x/test.jsonl", "{}\n");
        _folder.Write("tasks/own.jsonl", "{}\n");
        var task = Task("a", 1) with { Place = _folder["tasks/a.yaml"] };
        var catalog = new TaskCatalog([], _folder["data"]);
        Assert.Equal(_folder["data/x/test.jsonl"], catalog.Resolve(task, "x/test.jsonl"));
        Assert.Equal(_folder["tasks/own.jsonl"], catalog.Resolve(task, "own.jsonl"));
        Assert.Equal(_folder["data/none.jsonl"], catalog.Resolve(task, "none.jsonl"));
        Assert.Equal(
            $"--data {_folder["nowhere"]}: no such folder; expected the folder with the data files of the tasks. Check "
            + $"the path.", Message(() => _ = new TaskCatalog([], _folder["nowhere"])));
    }

    private static EvaluationTask Task(string name, int rows) => new()
    {
        Name = name, Kind = TaskKind.Generation, Metrics = ["exact_match"], Rows = rows,
        Sources = [new DataSetOptions { Name = name, Files = ["x.jsonl"], Answer = TextTemplate.Parse("{a}") }],
    };

    private static string Message(Action action) => Assert.ThrowsAny<UserException>(action).Message;
}
