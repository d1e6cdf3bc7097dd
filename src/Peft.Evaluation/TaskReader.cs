using System.Globalization;
using Peft.Data.Examples;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Tasks;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Templates;

namespace Peft.Evaluation;

/// <summary>Reads a task file; all that is wrong with it is told at once.</summary>
public static class TaskReader
{
    private static readonly TaskKind[] WithChoices = [TaskKind.MultipleChoice, TaskKind.Classification];

    // Keys that say nothing for the other kinds.
    private static readonly (string Key, TaskKind[] Kinds)[] OfSomeKinds =
    [
        ("labels", WithChoices), ("choices", WithChoices), ("contexts", [TaskKind.MultipleChoice]),
        (
            "shots", [.. WithChoices, TaskKind.Generation]), ("stop", [TaskKind.Generation]),
            ("normalize", [TaskKind.Generation]),
        ("max_new_tokens", [TaskKind.Generation]),
    ];

    /// <summary>Reads and checks a task.</summary>
    /// <param name="map">The file's content.</param>
    /// <param name="name">Its name.</param>
    /// <param name="path">The file, for messages.</param>
    /// <exception cref="FaultsException">Anything in it is wrong.</exception>
    public static EvaluationTask Read(ConfigMap map, string name, string path)
    {
        var faults = new Faults();
        var reader = new OptionReader(map, "", faults);
        var task = Read(reader, name, path);
        reader.Finish();
        faults.ThrowIfAny(path);
        return task;
    }

    private static EvaluationTask Read(OptionReader reader, string name, string path)
    {
        var kind = TaskKinds.Named(reader.Choice("kind", "generation", TaskKinds.Names));
        if (!reader.Has("kind"))
            reader.Fault("kind", "missing", Words.OneOf(TaskKinds.Names));
        _ = reader.OptionalText("description");
        if (!reader.Has("data"))
            reader.Fault("data", "missing", "a data set as in a recipe: files, columns, filter and template");
        var source = reader.Has("data") ? DataSetOptions.Read(reader.Section("data")) : null;
        foreach (var (key, kinds) in OfSomeKinds.Where(entry => !entry.Kinds.Contains(kind) && reader.Has(entry.Key)))
            reader.Fault(
                key, $"no key of {TaskKinds.NameOf(kind)} tasks", null,
                $"remove it, or choose kind: {Words.OneOf([.. kinds.Select(TaskKinds.NameOf)])}");
        var task = reader.Bind(new EvaluationTask
        {
            Name = name, Kind = kind, Sources = [], Metrics = [Metric.DefaultOf(kind)], Place = path,
        });
        IReadOnlyList<TextTemplate> labels =
            kind == TaskKind.Classification ? [.. task.Labels.Select(label => TextTemplate.Literal(" " + label))] : [];
        task = task with
        {
            Choices = Templates(reader, "choices", labels),
            Contexts = Templates(reader, "contexts", []),
        };
        task = task with
        {
            Sources = source is null ? [] : [source with
            {
                Place = "data",
                AllowsEmptyAnswer = kind == TaskKind.Generation,
                Fields = [.. task.Choices, .. task.Contexts],
            }],
        };
        Check(reader, task, source);
        return task;
    }

    private static void Check(OptionReader reader, EvaluationTask task, DataSetOptions? source)
    {
        if (source is not null && source.IsText != (task.Kind == TaskKind.Perplexity))
            reader.Section("data").Fault(
                "template", source.IsText ? "text" : "prompt and answer",
                $"{(task.Kind == TaskKind.Perplexity ? "text alone" : "prompt and answer")} for kind: "
                    + $"{TaskKinds.NameOf(task.Kind)}");
        if (source is { Shape: not RowShape.Template } && task.Kind != TaskKind.Generation)
            reader.Section("data").Fault("template", "missing", $"one for kind: {TaskKinds.NameOf(task.Kind)}");
        if (task is { ApplyChatTemplate: true, Kind: TaskKind.Perplexity })
            reader.Fault("apply_chat_template", "true", "false for kind: perplexity, which has no prompts");
        if (task.Metrics.Count == 0)
            reader.Fault("metrics", "none", $"at least one of {Words.AllOf(Metric.Of(task.Kind))}");
        foreach (var metric in task.Metrics)
            Metric.Check(reader, "metrics", metric, task.Kind);
        foreach (var step in task.Normalize.Where(step => !TextNormalization.Names.Contains(step)))
            reader.Fault("normalize", Quote.Of(step), Words.OneOf(TextNormalization.Names));
        if (task.HasChoices)
            CheckChoices(reader, task);
        if (task.Stop.Any(stop => stop.Length == 0))
            reader.Fault("stop", "an empty text", "texts that end an answer");
        if (task.Shots is { Count: > 0, Files.Count: 0 })
            reader.Section("shots").Fault("files", "missing", "the files that the shots are drawn from");
        if (task.Shots is { Count: 0, Files.Count: > 0 })
            reader.Section("shots").Fault("count", "0 or missing beside files", "a whole number from 1 to 100");
    }

    private static void CheckChoices(OptionReader reader, EvaluationTask task)
    {
        if (task.Labels.Count < 2)
            reader.Fault(
                "labels", Counted(task.Labels.Count),
                "the answers as the data has them, at least two, in the order of the choices");
        else if (task.Labels.Distinct().Count() != task.Labels.Count)
            reader.Fault("labels", string.Join(", ", task.Labels), "distinct labels");
        if (task.Choices.Count != task.Labels.Count)
            reader.Fault(
                "choices", Counted(task.Choices.Count),
                $"one text for each of the {Words.Count(task.Labels.Count, "label")}");
        if (task.Contexts.Count > 0 && task.Contexts.Count != task.Choices.Count)
            reader.Fault(
                "contexts", Counted(task.Contexts.Count),
                $"one text for each of the {Words.Count(task.Choices.Count, "choice")}, or none");
        if (task.IsGraded && task.Labels.Any(label => EvaluationTask.Number(label) is null))
            reader.Fault(
                "labels", string.Join(", ", task.Labels),
                "numbers, which pearson and spearman compare with the answers");
        if (task.IsGraded && task.Metrics.Any(metric => metric is not ("pearson" or "spearman")))
            reader.Fault(
                "metrics", string.Join(", ", task.Metrics),
                "pearson and spearman alone, since their answers are numbers and not labels");
    }

    private static IReadOnlyList<TextTemplate> Templates(
        OptionReader reader, string key, IReadOnlyList<TextTemplate> fallback)
    {
        if (!reader.Has(key))
            return fallback;
        var templates = new List<TextTemplate>();
        foreach (var (i, text) in reader.Texts(key, []).Index())
        {
            try
            {
                templates.Add(TextTemplate.Parse(text, string.Create(CultureInfo.InvariantCulture, $"{key}[{i}]")));
            }
            catch (TemplateException error)
            {
                foreach (var fault in error.Faults)
                    reader.Fault(key, $"{Quote.Of(text)}: {fault.Found}", fault.Expected, fault.Advice);
            }
        }
        return templates;
    }

    private static string Counted(int count) => count == 0 ? "missing" : count.ToString(CultureInfo.InvariantCulture);
}
