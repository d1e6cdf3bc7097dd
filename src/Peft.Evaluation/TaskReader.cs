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
            reader.Fault("kind", "missing", string.Join(", ", TaskKinds.Names));
        _ = reader.OptionalText("description");
        if (!reader.Has("data"))
            reader.Fault("data", "missing", "a data set as in a recipe: files, columns, filter, template");
        var source = reader.Has("data") ? DataSetOptions.Read(reader.Section("data")) : null;
        var hasChoices = kind is TaskKind.MultipleChoice or TaskKind.Classification;
        var labels = hasChoices ? reader.Texts("labels", []) : [];
        var choices = hasChoices ? Templates(reader, "choices", kind == TaskKind.Classification ? [.. labels.Select(label => TextTemplate.Literal(" " + label))] : []) : [];
        var contexts = kind == TaskKind.MultipleChoice ? Templates(reader, "contexts", []) : [];
        var metrics = reader.Texts("metrics", [Metric.DefaultOf(kind)]);
        var shots = kind == TaskKind.Perplexity ? ShotOptions.None : ShotOptions.Read(reader.Section("shots"));
        var task = new EvaluationTask
        {
            Name = name,
            Kind = kind,
            Sources = source is null ? [] : [source with
            {
                Place = "data",
                AllowsEmptyAnswer = kind == TaskKind.Generation,
                Fields = [.. Fields("choices", choices), .. Fields("contexts", contexts)],
            }],
            Metrics = metrics,
            Choices = choices,
            Contexts = contexts,
            Labels = labels,
            Shots = shots,
            Stop = kind == TaskKind.Generation ? reader.Texts("stop", []) : [],
            Normalize = kind == TaskKind.Generation ? reader.Texts("normalize", []) : [],
            MaxNewTokens = kind == TaskKind.Generation ? reader.Integer("max_new_tokens", EvaluationTask.DefaultNewTokens, 1, 4096) : 0,
            Rows = reader.OptionalInteger("rows", 1),
            MaxLength = reader.OptionalInteger("max_length", 2),
            Place = path,
        };
        Check(reader, task, source);
        return task;
    }

    private static void Check(OptionReader reader, EvaluationTask task, DataSetOptions? source)
    {
        if (source is not null && source.IsText != (task.Kind == TaskKind.Perplexity))
            reader.Section("data").Fault(
                "template", source.IsText ? "text" : "prompt and answer",
                task.Kind == TaskKind.Perplexity ? "text alone, for kind: perplexity" : $"prompt and answer, for kind: {TaskKinds.NameOf(task.Kind)}");
        var known = Metric.Of(task.Kind);
        if (task.Metrics.Count == 0)
            reader.Fault("metrics", "none", "at least one of " + string.Join(", ", known));
        foreach (var metric in task.Metrics.Where(metric => !known.Contains(metric)))
        {
            var near = NearestName.Of(metric, known);
            reader.Fault("metrics", Quote.Of(metric), $"of {TaskKinds.NameOf(task.Kind)}: {string.Join(", ", known)}", near is null ? null : $"did you mean {near}?");
        }
        foreach (var step in task.Normalize.Where(step => !TextNormalization.Names.Contains(step)))
            reader.Fault("normalize", Quote.Of(step), string.Join(", ", TextNormalization.Names));
        if (task.HasChoices)
            CheckChoices(reader, task);
        if (task.Stop.Any(stop => stop.Length == 0))
            reader.Fault("stop", "an empty text", "texts that end an answer");
    }

    private static void CheckChoices(OptionReader reader, EvaluationTask task)
    {
        if (task.Labels.Count < 2)
            reader.Fault("labels", Counted(task.Labels.Count), "the answers as the data has them, at least two, in the order of the choices");
        else if (task.Labels.Distinct().Count() != task.Labels.Count)
            reader.Fault("labels", string.Join(", ", task.Labels), "distinct labels");
        if (task.Choices.Count != task.Labels.Count)
            reader.Fault("choices", Counted(task.Choices.Count), $"one text for each of the {task.Labels.Count} labels");
        if (task.Contexts.Count > 0 && task.Contexts.Count != task.Choices.Count)
            reader.Fault("contexts", Counted(task.Contexts.Count), $"one text for each of the {task.Choices.Count} choices, or none");
        if (task.IsGraded && task.Labels.Any(label => EvaluationTask.Number(label) is null))
            reader.Fault("labels", string.Join(", ", task.Labels), "numbers, which pearson and spearman compare with the answers");
        if (task.IsGraded && task.Metrics.Any(metric => metric is not ("pearson" or "spearman")))
            reader.Fault("metrics", string.Join(", ", task.Metrics), "pearson and spearman alone, whose answers are numbers and not labels");
    }

    private static IReadOnlyList<TextTemplate> Templates(OptionReader reader, string key, IReadOnlyList<TextTemplate> fallback)
    {
        if (!reader.Has(key))
            return fallback;
        var templates = new List<TextTemplate>();
        foreach (var text in reader.Texts(key, []))
        {
            try
            {
                templates.Add(TextTemplate.Parse(text, key));
            }
            catch (TemplateException error)
            {
                foreach (var fault in error.Faults)
                    reader.Fault(key, $"{Quote.Of(text)}: {fault.Found}", fault.Allowed, fault.Advice);
            }
        }
        return templates;
    }

    private static IEnumerable<DataField> Fields(string place, IReadOnlyList<TextTemplate> templates) =>
        templates.Select((template, at) => new DataField(string.Create(CultureInfo.InvariantCulture, $"{place}[{at}]"), template));

    private static string Counted(int count) => count == 0 ? "missing" : count.ToString(CultureInfo.InvariantCulture);
}
