using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Peft.Chat;
using Peft.Data;
using Peft.Data.Examples;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Evaluation.Tasks;

/// <summary>A task with its rows read.</summary>
/// <param name="Task">The task.</param>
/// <param name="Rows">The rows, shots in their prompts.</param>
/// <param name="RowsHash">SHA-256 over prompts, choices and answers: equal hashes mean the same questions.</param>
public sealed record TaskData(EvaluationTask Task, IReadOnlyList<TaskRow> Rows, string RowsHash)
{
    /// <summary>The chat template that the prompts were made with; null for plain prompts.</summary>
    public ChatTemplate? Template { get; init; }

    /// <summary>Reads the rows of several tasks; the faults of all of them are told at once.</summary>
    /// <param name="tasks">The tasks.</param>
    /// <param name="rows">Most rows of each, in place of what the task says; null: that.</param>
    /// <param name="seed">Added to the seed of the shots.</param>
    /// <param name="resolve">Finds a file that a task names.</param>
    /// <param name="template">Finds the model's chat template where one is needed; null where there can be
    /// none.</param>
    /// <exception cref="UserException">A file or column is missing, or a row cannot be used.</exception>
    public static IReadOnlyList<TaskData> Open(
        IReadOnlyList<EvaluationTask> tasks, int? rows, long seed, Func<EvaluationTask, string, string> resolve,
        Func<ChatTemplate>? template = null)
    {
        var opened = new List<(EvaluationTask Task, List<DataSetReader> Readers, List<DataSetReader> Shots)>();
        foreach (var task in tasks)
        {
            var faults = new Faults();
            var readers = task.Sources.Select(source => Open(Found(source, task, resolve), faults)).ToList();
            var shots = task.Sources.Take(task.Shots.Count > 0 ? 1 : 0)
                .Select(source => source with { Files = task.Shots.Files, Limit = null })
                .Select(source => Open(Found(source, task, resolve), faults)).ToList();
            faults.ThrowIfAny(faults.Items.Any(fault => fault.Place.EndsWith(".files", StringComparison.Ordinal))
                ? $"task {task.Name} (its files are looked for below --data or PEFT_DATA, and from here)"
                : $"task {task.Name}");
            opened.Add((task, readers, shots));
        }
        return [.. opened.Select(entry => Read(entry.Task, entry.Readers, entry.Shots, rows, seed, template))];
    }

    private static DataSetOptions Found(
        DataSetOptions source, EvaluationTask task, Func<EvaluationTask, string, string> resolve) =>
        source with { Files = [.. source.Files.Select(file => resolve(task, file))] };

    private static DataSetReader Open(DataSetOptions source, Faults faults) =>
        DataSetReader.Open(source, Directory.GetCurrentDirectory(), faults);

    private static TaskData Read(
        EvaluationTask task, List<DataSetReader> readers, List<DataSetReader> shots, int? rows, long seed,
        Func<ChatTemplate>? template)
    {
        var most = rows ?? task.Rows ?? int.MaxValue;
        var read = readers.SelectMany(reader => RowsOf(task, reader)).Take(most)
            .Select((row, index) => row with { Index = index }).ToList();
        if (read.Count == 0)
            throw UserException.At(
                $"task {task.Name}", $"{task.DataName} has no rows for it", "at least one row",
                "check the files and the filter");
        var before = shots.Count > 0 ? new Shots(task, shots[0], seed) : null;
        if (task.ApplyChatTemplate || readers.Exists(reader => reader.IsConversations))
        {
            var chat = template?.Invoke() ?? throw UserException.At(
                $"task {task.Name}", "conversations, and no chat template", "a model with a chat template");
            var prompts = new ChatPrompts(chat, task.Name);
            read = [.. read.Select(row => prompts.Put(row, before?.SolvedFor(row) ?? []))];
            return new(task, read, Hash(read)) { Template = chat };
        }

        if (before is not null)
            read = [.. read.Select(row => row with { Prompt = before.Of(row) + row.Prompt })];
        return new(task, read, Hash(read));
    }

    private static IEnumerable<TaskRow> RowsOf(EvaluationTask task, DataSetReader reader) => reader.Read()
        .Where(example => reader.Options.TaskColumn is null || example.Task == task.Name)
        .Select((example, index) => ToRow(task, example, index));

    private static TaskRow ToRow(EvaluationTask task, Example example, int index)
    {
        if (example.Conversation is { } talk)
            return OfConversation(task, example, talk, index);
        var row = new TaskRow(index, example.Row, example.Prompt, example.Answer);
        if (!task.HasChoices)
            return row;
        row = row with
        {
            Choices =
            [
                .. example.Fields.Take(task.Choices.Count)
                    .Select(text => string.IsNullOrWhiteSpace(text) ? null : text),
            ],
            Contexts = [.. example.Fields.Skip(task.Choices.Count)],
        };
        if (task.IsGraded)
        {
            var numbers = task.Labels.Select(label => EvaluationTask.Number(label)!.Value).ToList();
            return EvaluationTask.Number(example.Answer) is { } grade && grade >= numbers.Min()
                && grade <= numbers.Max()
                ? row
                : throw Refused(
                    task, example,
                    string.Create(CultureInfo.InvariantCulture, $"a number from {numbers.Min()} to {numbers.Max()}"));
        }
        var gold = task.Labels.ToList().IndexOf(example.Answer);
        if (gold < 0)
            throw Refused(task, example, $"one of the task's labels, {Words.OneOf(task.Labels)}");
        return row.Choices[gold] is null
            ? throw Refused(task, example, "the label of a choice that has a text in this row")
            : row with { Gold = gold };
    }

    // The last message of the assistant is the answer; what stands before it is given.
    private static TaskRow OfConversation(EvaluationTask task, Example example, Conversation talk, int index)
    {
        var last = talk.Messages.ToList().FindLastIndex(message => message.Role == ChatRoles.Assistant);
        if (last < 1)
            throw new DataRowException(example.Row, new Fault(
                $"task {task.Name}: {example.Row}", "no message of the assistant that answers another", "one",
                "leave the row out with `filter:`"));
        if (talk.Messages[last].Has("tool_calls"))
            throw new DataRowException(example.Row, new Fault(
                $"task {task.Name}: {example.Row}, message {talk.Messages[last].Number}",
                "a tool call, which is the last that the assistant says", "an answer in text to compare with",
                "leave the row out with `filter:`"));
        return new TaskRow(index, example.Row, "", talk.Messages[last].Text)
        {
            Conversation = talk with { Messages = [.. talk.Messages.Take(last)] },
        };
    }

    private static DataRowException Refused(EvaluationTask task, Example example, string expected) =>
        new(example.Row, new Fault(
        $"task {task.Name}: {example.Row}", $"the answer {Quote.Of(example.Answer)}", expected,
        "correct `labels:` or the row, or leave it out with `filter:`"));

    private static string Hash(IEnumerable<TaskRow> rows)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var row in rows)
        {
            foreach (var text in row.Choices.Concat(row.Contexts).Prepend(row.Answer).Prepend(row.Prompt))
                hash.AppendData(Encoding.UTF8.GetBytes((text ?? "") + "\0"));
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>
    /// The solved examples before a prompt: the first of an order that seed and row number alone decide, less the asked
    /// row itself.
    /// </summary>
    /// <remarks>
    /// A row is another's equal when it is the same row of the same file, or when all its texts are the same, whatever
    /// files they come from. As in lm-evaluation-harness 0.4.9 (evaluator's few-shot samplers take one more and drop
    /// the asked document), a row that is among the shots gets the next in the order in its place; all other prompts
    /// have the same shots.
    /// </remarks>
    private sealed class Shots
    {
        private readonly EvaluationTask _task;
        private readonly List<TaskRow> _ordered;

        public Shots(EvaluationTask task, DataSetReader reader, long seed)
        {
            _task = task;
            _ordered =
                [.. RowsOf(task, reader).OrderBy(row => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"{task.Shots.Seed + seed} {row.Index}")))),
                StringComparer.Ordinal)];
        }

        public string Of(TaskRow asked) =>
            string.Concat(SolvedFor(asked).Select(shot => shot.Prompt + shot.Answer + _task.Shots.Separator));

        public IReadOnlyList<(TaskRow Row, string Prompt, string Answer)> SolvedFor(TaskRow asked) =>
            [.. Chosen(asked).Select(Solved)];

        private List<TaskRow> Chosen(TaskRow asked)
        {
            var chosen = _ordered.Where(row => !IsSame(row, asked)).Take(_task.Shots.Count).ToList();
            if (chosen.Count < _task.Shots.Count)
                throw UserException.At(
                    $"task {_task.Name}",
                    $"{string.Join(", ", _task.Shots.Files)} has {Words.Count(chosen.Count, "row")} other than "
                        + $"{asked.Source}",
                    $"at least shots.count = {_task.Shots.Count}", "lower shots.count, or name a file with more rows");
            return chosen;
        }

        private static bool IsSame(TaskRow a, TaskRow b) =>
            a.Source.Row == b.Source.Row && Path.GetFullPath(a.Source.File) == Path.GetFullPath(b.Source.File)
            || a.Answer.Trim() == b.Answer.Trim() && a.Prompt.Trim() == b.Prompt.Trim() && a.Conversation is null
                && a.Choices.SequenceEqual(b.Choices) && a.Contexts.SequenceEqual(b.Contexts);

        private (TaskRow Row, string Prompt, string Answer) Solved(TaskRow row) => row.Gold < 0
            ? (row, row.Prompt, AnswerOf(row))
            : (row, row.ContextOf(row.Gold), row.Choices[row.Gold]!);

        // Of a graded answer, the nearest label's text.
        private string AnswerOf(TaskRow row) =>
            !_task.IsGraded ? row.Answer : row.Choices[_task.Labels.Index().MinBy(label =>
            Math.Abs(EvaluationTask.Number(label.Item)!.Value - EvaluationTask.Number(row.Answer)!.Value)).Index]
                ?? row.Answer;
    }
}
