using System.Globalization;
using Peft.Adapters.Lora;
using Peft.Distributed;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Routing;
using Peft.Evaluation.Scoring;
using Peft.Evaluation.Tasks;
using Peft.Formats.Tokenizers;
using Peft.Models;

namespace Peft.Evaluation;

/// <summary>Measures several subjects on several tasks and writes results.json and examples.parquet.</summary>
public sealed class EvaluationRun
{
    private readonly IReadOnlyList<EvaluationSubject> _subjects;
    private readonly IReadOnlyList<TaskData> _tasks;
    private readonly HuggingFaceTokenizer _tokenizer;
    private readonly ResultsSettings _settings;
    private readonly MeasuredBase _base;

    /// <summary>Puts a run together; nothing is computed or written.</summary>
    /// <param name="subjects">What is measured, in the order of the table.</param>
    /// <param name="tasks">What it is measured on.</param>
    /// <param name="tokenizer">The base's tokenizer.</param>
    /// <param name="baseModel">The base.</param>
    /// <param name="settings">Batch size, seed, type and the like.</param>
    public EvaluationRun(
        IReadOnlyList<EvaluationSubject> subjects, IReadOnlyList<TaskData> tasks, HuggingFaceTokenizer tokenizer,
        MeasuredBase baseModel, ResultsSettings settings) =>
        (_subjects, _tasks, _tokenizer, _base, _settings) = (subjects, tasks, tokenizer, baseModel, settings);

    /// <summary>Told now and then how far it is.</summary>
    public Action<EvaluationProgress> Progress { get; init; } = _ => { };

    /// <summary>Asked before each batch whether to stop; what is answered stays in the journal.</summary>
    public Func<bool> IsStopped { get; init; } = () => false;

    /// <summary>Results recorded earlier, shown beside these: name, path and content.</summary>
    public IReadOnlyList<(string Name, string Path, ResultsDocument Results)> Recorded { get; init; } = [];

    /// <summary>The processes that share the rows; the first one writes.</summary>
    public ICommunicator Ranks { get; init; } = Alone.Instance;

    /// <summary>The adapters as stages of one, and the task of each; null: they are not.</summary>
    public MeasuredSequence? Sequence { get; init; }

    /// <summary>Told what cannot be shown, and why.</summary>
    public Action<string> Say { get; init; } = _ => { };

    /// <summary>The tasks and metrics that are measured.</summary>
    public IReadOnlyList<(string Task, string Metric)> Metrics =>
        [.. _tasks.SelectMany(data => data.Task.Metrics.Select(metric => (data.Task.Name, metric)))];

    /// <summary>What the journal must be of for its answers to count.</summary>
    public string Identity => string.Join('\n', [
        string.Create(
            CultureInfo.InvariantCulture,
            $"batch_size {_settings.BatchSize} dtype {_settings.Dtype} base {_base.Fingerprint} "
                + $"tokenizer {_tokenizer.Sha256}"),
        .. _subjects.Select(subject => $"subject {subject.Name} {subject.Description.Fingerprint}"
            + (subject.Rewiring is null ? "" : $" {subject.Rewiring}")),
        .. _tasks.Select(data => string.Create(
            CultureInfo.InvariantCulture,
            $"task {data.Task.Name} {TaskKinds.NameOf(data.Task.Kind)} {data.RowsHash} {data.Task.MaxNewTokens} "
                + $"{data.Task.MaxLength} {string.Join('|', data.Task.Stop)}")),
    ]);

    /// <summary>What must be the same on every rank, with its name.</summary>
    public IReadOnlyList<(string Name, string Value)> Compared =>
    [
        .. Identity.Split('\n').Select(line =>
            (line.Split(' ') is [var kind, var name, ..] ? $"{kind} {name}" : line, line)),
    ];

    /// <summary>Measures and writes; resumes an interrupted evaluation of the same.</summary>
    /// <param name="directory">The output directory.</param>
    /// <param name="peftVersion">Version of the program, for the results.</param>
    /// <param name="now">The time, for the results.</param>
    /// <returns>The results; null when it was stopped.</returns>
    public ResultsDocument? Run(string directory, string peftVersion, DateTimeOffset now)
    {
        TorchRuntime.GiveBackCodeOfTheStart();
        using var journal = Ranks.IsFirst() ? EvaluationJournal.Open(directory, Identity)
            : EvaluationJournal.Unwritten();
        var measured = new List<MeasuredSubject>();
        var (total, found, done, computed) = (
            (long)_subjects.Count * _tasks.Sum(data => data.Rows.Count), (long)journal.RowsFound, 0L, 0L);
        var evaluation = new SubjectEvaluation(_tasks, _tokenizer, _settings.BatchSize)
        {
            IsStopped = IsStopped, Journal = journal, Ranks = Ranks,
        };
        try
        {
            foreach (var subject in _subjects)
            {
                using var opened = subject.Open();
                measured.Add(evaluation.Measure(
                    subject.Description, opened, subject.TaskIdOf, (data, computes, counts) =>
                    {
                        Progress(new(subject.Name, data.Task.Name, done, total, found, computed));
                        (computed, done) = (computed + computes, done + counts);
                    }));
            }
        }
        catch (OperationCanceledException)
        {
            return null;
        }

        Progress(new("", "", done, total, found, computed));
        var results = ResultsBuilder.Build(measured, _tasks, _base, _settings, peftVersion, now);
        foreach (var (name, path, document) in Recorded)
            results = results.WithRecorded(name, path, document, Say);
        if (Sequence is not null)
            results = results with { Sequences = [Sequence] };
        if (!Ranks.IsFirst())
            return results;
        ResultsBuilder.Save(directory, results, measured);
        journal.Remove();
        return results;
    }
}

/// <summary>Asks a loaded subject the rows of some tasks and watches its experts, wherever something is
/// measured.</summary>
/// <param name="Tasks">The tasks and their rows.</param>
/// <param name="Tokenizer">The base's tokenizer.</param>
/// <param name="BatchSize">Rows answered together.</param>
public sealed record SubjectEvaluation(
    IReadOnlyList<TaskData> Tasks, HuggingFaceTokenizer Tokenizer, int BatchSize)
{
    /// <summary>Asked before each batch whether to end.</summary>
    public Func<bool> IsStopped { get; init; } = () => false;

    /// <summary>Where answers are kept: those that it has are not asked for again.</summary>
    public EvaluationJournal Journal { get; init; } = EvaluationJournal.Unwritten();

    /// <summary>Who shares the batches.</summary>
    public ICommunicator Ranks { get; init; } = Alone.Instance;

    /// <summary>Measures one.</summary>
    /// <param name="description">What results say of it; the seconds are filled in.</param>
    /// <param name="opened">The same loaded; the caller frees it.</param>
    /// <param name="taskIdOf">Ids of tasks, for routers that go by task.</param>
    /// <param name="watch">Told of the task before each batch, with the rows that will be computed and those that will
    /// be done; null: nobody is.</param>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public MeasuredSubject Measure(
        Subject description, OpenedSubject opened, Func<string, long?> taskIdOf,
        Action<TaskData, long, long>? watch = null)
    {
        var evaluator = new TaskEvaluator(opened.Model, Tokenizer, BatchSize, opened.Rewiring)
        {
            ScoresWhole = opened.Adapted?.Options.Router?.WhyNoDecoding is not null,
        };
        var seconds = 0.0;
        List<IReadOnlyList<JudgedRow>> answers = [.. Tasks.Select(Answers)];
        if (Ranks.Any(IsStopped()))
            throw new OperationCanceledException();
        // A small part of the work: the first does it, who tells of it.
        var routing = Ranks.IsFirst() && opened is { Rewiring: null, Adapted: { Options.Router: not null } adapted }
            ? RoutingProbe.Measure(description.Name, adapted, evaluator, Tasks, taskIdOf, BatchSize) : null;
        return new(description with { EvaluationSeconds = Math.Round(seconds, 3) }, answers, routing);

        IReadOnlyList<JudgedRow> Answers(TaskData data)
        {
            var (name, task, id) = (description.Name, data.Task.Name, taskIdOf(data.Task.Name));
            if (Ranks.IsShared() && Journal.AnswerTogether(Ranks, name, task, evaluator.Batches(data, id), rows =>
                {
                    watch?.Invoke(data, (long)rows * Ranks.Size, 0);
                    return IsStopped();
                }))
                throw new OperationCanceledException();
            return [.. evaluator.Run(data, id, (index, batch) =>
            {
                // Ranks have all answers by now, and end together.
                if (!Ranks.IsShared() && IsStopped())
                    throw new OperationCanceledException();
                watch?.Invoke(data, Journal.Has(name, task, index) ? 0 : batch.Rows, batch.Rows);
                var (rows, took) = Journal.Answer(name, task, index, batch.Answer);
                seconds += took;
                return rows;
            }).Select(row => new JudgedRow(data.Task, data.Rows[row.Index], row))];
        }
    }
}

/// <summary>A subject with its answers to every task.</summary>
/// <param name="Description">What it is.</param>
/// <param name="Answers">Judged rows by task, in the order of the tasks.</param>
/// <param name="Routing">What its experts did; null without routing.</param>
public sealed record MeasuredSubject(
    Subject Description, IReadOnlyList<IReadOnlyList<JudgedRow>> Answers, SubjectRouting? Routing);

/// <summary>One thing to be measured: what is known of it, and how it is loaded when its turn comes.</summary>
/// <param name="Description">What results.json says of it; the seconds are filled in.</param>
/// <param name="Open">Loads it.</param>
/// <param name="TaskIdOf">The id of a task for routers that go by task; null for all others.</param>
public sealed record EvaluationSubject(Subject Description, Func<OpenedSubject> Open, Func<string, long?> TaskIdOf)
{
    /// <summary>How its routers are fitted to each prompt; null: they stay.</summary>
    public RewiringOptions? Rewiring { get; init; }

    /// <summary>Its name in results.</summary>
    public string Name => Description.Name;
}

/// <summary>A loaded model.</summary>
/// <param name="Model">The model.</param>
/// <param name="Adapted">The adapter on it; null for the base model.</param>
public sealed record OpenedSubject(CausalLanguageModel Model, AdaptedModel? Adapted) : IDisposable
{
    /// <summary>Fits its routers to each prompt; null: they stay.</summary>
    public Rewiring? Rewiring { get; init; }

    /// <summary>Frees the model.</summary>
    public void Dispose()
    {
        Rewiring?.Dispose();
        Model.Dispose();
    }
}

/// <summary>Where an evaluation stands.</summary>
/// <param name="Subject">What is being measured.</param>
/// <param name="Task">On which task.</param>
/// <param name="Done">Rows answered, of all subjects and tasks.</param>
/// <param name="Total">Rows there are to answer.</param>
/// <param name="Found">Rows answered before this start.</param>
/// <param name="Computed">Rows answered since.</param>
public sealed record EvaluationProgress(string Subject, string Task, long Done, long Total, long Found, long Computed);
