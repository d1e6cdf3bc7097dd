using Peft.Evaluation;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Files;
using Peft.Recipes.Reading;

namespace Peft.Recipes;

/// <summary>
/// Finds tasks by name: those of recipes, task files of <c>recipes/tasks</c>, and any other task file.
/// </summary>
public sealed class TaskCatalog
{
    private static readonly string Folder = Path.Combine("recipes", "tasks");

    private readonly IReadOnlyList<EvaluationTask> _recipeTasks;
    private readonly string? _data;
    private readonly Dictionary<string, RecipePaths> _paths;

    /// <summary>Makes a catalog.</summary>
    /// <param name="recipeTasks">Tasks of the recipes at hand; of equal names the first counts.</param>
    /// <param name="data">Folder of the benchmarks' data; null: none.</param>
    /// <param name="recipes">The recipes at hand, which know where their files are.</param>
    public TaskCatalog(IEnumerable<EvaluationTask> recipeTasks, string? data, params IReadOnlyList<Recipe> recipes)
    {
        _paths = recipes.DistinctBy(recipe => recipe.Path).ToDictionary(recipe => recipe.Path, recipe => recipe.Paths);
        _recipeTasks = [.. recipeTasks.DistinctBy(task => task.Name)];
        _data = data;
        if (data is not null && !Directory.Exists(data))
            throw UserException.At($"--data {data}", "no such folder", "the folder with the data files of the tasks",
                MissingPath.Advice(data));
    }

    /// <summary>Names of the tasks there are: those of recipes, then those of task files.</summary>
    public IReadOnlyList<string> Names => [.. _recipeTasks.Select(task => task.Name).Concat(Files().Keys).Distinct()];

    /// <summary>The tasks asked for; without any, those of the recipes.</summary>
    /// <exception cref="UserException">A name is unknown, or a task file is wrong.</exception>
    public IReadOnlyList<EvaluationTask> Find(IReadOnlyList<string> asked)
    {
        if (asked.Count == 0)
            return _recipeTasks.Count > 0 ? _recipeTasks : throw UserException.At(
                "--tasks", "missing, and neither --recipe nor an adapter's recipe names tasks",
                "names of tasks, or a task file",
                $"there are {Words.AllOf(Names)}");
        if (asked.Where(name => !IsFile(name) && !Names.Contains(name)).ToList() is { Count: > 0 } unknown)
            throw UserException.At(
                "--tasks",
                Words.AllOf(unknown.ConvertAll(Quote.Of)) + (unknown.Count == 1 ? " is not a task" : " are not tasks"),
                null,
                NearestName.Question(unknown, Names)
                    ?? $"there are {Words.AllOf(Names)}; or name a task file (FILE.yaml)");
        var tasks = asked.Select(Find).ToList();
        return tasks.GroupBy(task => task.Name).FirstOrDefault(group => group.Count() > 1) is { } twice
            ? throw UserException.At("--tasks", $"{twice.Key} is given twice", "each task once")
            : tasks;
    }

    /// <summary>
    /// Finds a file that a task names: below the data folder, from the working directory, or from the task file's
    /// folder upwards.
    /// </summary>
    public string Resolve(EvaluationTask task, string file)
    {
        if (_data is null || Path.IsPathRooted(file))
            return PathsOf(task).Resolve(file);
        var inside = Path.Combine(_data, file);
        return new RecipePaths(null).Resolve(inside) is var found
            && (File.Exists(found) || file.AsSpan().IndexOfAny('*', '?') >= 0)
            ? found
            : PathsOf(task).Resolve(file) is var other && File.Exists(other) ? other : inside;
    }

    private RecipePaths PathsOf(EvaluationTask task) =>
        _paths.GetValueOrDefault(task.Place) ?? new RecipePaths(task.Place);

    private EvaluationTask Find(string asked)
    {
        if (IsFile(asked))
            return Read(asked);
        return _recipeTasks.FirstOrDefault(task => task.Name == asked) ?? Read(Files()[asked]);
    }

    private static bool IsFile(string asked) =>
        asked.EndsWith(".yaml", StringComparison.OrdinalIgnoreCase)
        || asked.EndsWith(".yml", StringComparison.OrdinalIgnoreCase);

    private static EvaluationTask Read(string path) =>
        TaskReader.Read(YamlReader.ReadFile(path), Path.GetFileNameWithoutExtension(path), path);

    // Of the working directory, or of the checkout that the program was built in.
    private static SortedDictionary<string, string> Files()
    {
        var folder = Directory.Exists(Folder) ? Folder
            : new RecipePaths(Path.Combine(AppContext.BaseDirectory, "peft")).Resolve(Folder);
        return new(
            Directory.Exists(folder)
                ? Directory.EnumerateFiles(folder,
                "*.yaml").ToDictionary(path => Path.GetFileNameWithoutExtension(path))
                : [],
            StringComparer.Ordinal);
    }
}
