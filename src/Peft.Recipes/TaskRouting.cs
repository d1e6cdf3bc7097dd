using Peft.Adapters.Bundles;
using Peft.Adapters.Lora;
using Peft.Data;
using Peft.Formats;

namespace Peft.Recipes;

/// <summary>The tasks that an adapter's experts know, where its router goes by the task of each row, also when it is
/// measured or used.</summary>
public sealed class TaskRouting
{
    private readonly string _place;
    private readonly string _rule;

    private TaskRouting(string place, string rule, IReadOnlyList<string> names)
    {
        (_place, _rule, Names) = (place, rule, names);
    }

    /// <summary>The tasks, in the order of their ids.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>The tasks of an adapter; null where its router goes by the tokens alone.</summary>
    /// <exception cref="UserException">It says nowhere what its tasks are called.</exception>
    public static TaskRouting? Of(string adapter)
    {
        if (Bundle.ManifestOf(adapter) is not { Adapter: { Router: { } router } options } manifest
            || router.TaskRule(options.Experts.Count) is not { InTrainingAlone: false } rule)
            return null;
        var names = manifest.Tasks;
        if (names.Count == 0)
            names = NamesIn(adapter, rule.Words);
        return new(adapter, rule.Words, [.. names.Take(rule.Count)]);
    }

    /// <summary>The tasks of an adapter in training; null where its router goes by the tokens alone.</summary>
    public static TaskRouting? Of(string place, AdapterOptions? options, TrainingData data) =>
        options?.Router?.TaskRule(options.Experts.Count) is { InTrainingAlone: false } rule
            ? new(place, rule.Words, NamesOf(options, data)) : null;

    /// <summary>The tasks that the experts of an adapter in training know, also where they go by them in training
    /// alone; empty where they do not.</summary>
    public static IReadOnlyList<string> NamesOf(AdapterOptions? options, TrainingData data) =>
        options?.Router?.TaskRule(options.Experts.Count) is { } rule
            ? [.. data.TaskNames.Take(Math.Min(rule.Count, data.TrainTaskCount))] : [];

    /// <summary>The id of a task.</summary>
    /// <param name="task">Its name.</param>
    /// <param name="place">Where it is named, for messages; null: the adapter.</param>
    /// <exception cref="UserException">No expert knows it.</exception>
    public long IdOf(string task, string? place = null) =>
        Names.ToList().IndexOf(task) is >= 0 and var id ? id : throw UserException.At(
            place ?? _place, $"no expert for task {Quote.Of(task)}; its experts go by task ({_rule})",
            Words.OneOf(Names));

    /// <summary>The fault of a task that is not named.</summary>
    public UserException Missing(string option) => UserException.At(
        option, $"missing, and the experts of {_place} go by task ({_rule})", Words.OneOf(Names));

    /// <summary>Notes data whose tasks the experts do not know.</summary>
    public static void Check(Faults faults, AdapterOptions? options, TrainingData data)
    {
        if (options?.Router?.TaskRule(options.Experts.Count) is not { } rule)
            return;
        var tasks = data.TaskNames.Take(data.TrainTaskCount).ToList();
        if (tasks.Count > rule.Count)
            faults.Add(
                "data.train", $"{Words.Count(tasks.Count, "task")}: {Words.AllOf(tasks)}",
                $"at most {rule.Count}, since the experts go by task ({rule.Words})",
                $"{rule.More}, or take tasks out of the data");
        if (rule.InTrainingAlone)
            return;
        foreach (var task in data.Eval.Statistics.Tasks.Select(task => task.Key).Where(task => !tasks.Contains(task)))
            faults.Add(
                "data.eval", $"rows of task {Quote.Of(task)}, which no expert knows ({rule.Words})",
                Words.OneOf(tasks));
    }

    // Bundles of older releases have the names in their recipe alone.
    private static List<string> NamesIn(string adapter, string rule)
    {
        var recipe = BundleFiles.PathOf(adapter, BundleFiles.Recipe);
        return File.Exists(recipe)
            ? [.. Recipe.Load(recipe, []).Data.Train.Select(set => set.Task ?? set.Name).Distinct()]
            : throw UserException.At(
                adapter,
                $"its experts go by task ({rule}), and it holds no {BundleFiles.Recipe} that names the tasks");
    }
}
