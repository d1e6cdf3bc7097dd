using System.Globalization;
using System.Security.Cryptography;
using System.Text;
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
    /// <summary>Reads the rows of several tasks; the faults of all of them are told at once.</summary>
    /// <param name="tasks">The tasks.</param>
    /// <param name="rows">Most rows of each; null: what the task says.</param>
    /// <param name="seed">Added to the seed of the shots.</param>
    /// <param name="resolve">Finds a file that a task names.</param>
    /// <exception cref="UserException">A file or column is missing, or a row cannot be used.</exception>
    public static IReadOnlyList<TaskData> Open(
        IReadOnlyList<EvaluationTask> tasks, int? rows, long seed, Func<EvaluationTask, string, string> resolve)
    {
        var opened = new List<(EvaluationTask Task, List<DataSetReader> Readers, List<DataSetReader> Shots)>();
        foreach (var task in tasks)
        {
            var faults = new Faults();
            var readers = task.Sources.Select(source => Open(Found(source, task, resolve), faults)).ToList();
            var shots = task.Shots.Count == 0 ? [] : task.Sources.Take(1)
                .Select(source => Open(Found(source with { Files = task.Shots.Files, Limit = null }, task, resolve), faults)).ToList();
            faults.ThrowIfAny(faults.Items.Any(fault => fault.Place.EndsWith(".files", StringComparison.Ordinal))
                ? $"task {task.Name} (its files are looked for in the folder that --data or PEFT_DATA names, and from here)"
                : $"task {task.Name}");
            opened.Add((task, readers, shots));
        }
        return [.. opened.Select(entry => Read(entry.Task, entry.Readers, entry.Shots, rows, seed))];
    }

    private static DataSetOptions Found(DataSetOptions source, EvaluationTask task, Func<EvaluationTask, string, string> resolve) =>
        source with { Files = [.. source.Files.Select(file => resolve(task, file))] };

    private static DataSetReader Open(DataSetOptions source, Faults faults) =>
        DataSetReader.Open(source, Directory.GetCurrentDirectory(), faults);

    private static TaskData Read(EvaluationTask task, List<DataSetReader> readers, List<DataSetReader> shots, int? rows, long seed)
    {
        var most = Math.Min(rows ?? int.MaxValue, task.Rows ?? int.MaxValue);
        var before = shots.Count == 0 ? "" : Shots(task, shots[0], seed);
        var read = readers.SelectMany(reader => reader.Read().Where(example => reader.Options.TaskColumn is null || example.Task == task.Name))
            .Take(most).Select((example, index) => ToRow(task, example, index) is var row && before.Length > 0 ? row with { Prompt = before + row.Prompt } : row)
            .ToList();
        if (read.Count == 0)
            throw new UserException($"task {task.Name}: {task.DataName} has no rows for it - at least one row - look at the files and the filter");
        return new(task, read, Hash(read));
    }

    private static TaskRow ToRow(EvaluationTask task, Example example, int index)
    {
        var row = new TaskRow(index, example.Row, example.Prompt, example.Answer);
        if (!task.HasChoices)
            return row;
        row = row with
        {
            Choices = [.. example.Fields.Take(task.Choices.Count).Select(text => string.IsNullOrWhiteSpace(text) ? null : text)],
            Contexts = [.. example.Fields.Skip(task.Choices.Count)],
        };
        if (task.IsGraded)
        {
            var numbers = task.Labels.Select(label => EvaluationTask.Number(label)!.Value).ToList();
            return EvaluationTask.Number(example.Answer) is { } grade && grade >= numbers.Min() && grade <= numbers.Max()
                ? row
                : throw Refused(task, example, string.Create(CultureInfo.InvariantCulture, $"a number from {numbers.Min()} to {numbers.Max()}"));
        }
        var gold = task.Labels.ToList().IndexOf(example.Answer);
        if (gold < 0)
            throw Refused(task, example, "one of the task's labels: " + string.Join(", ", task.Labels));
        return row.Choices[gold] is null
            ? throw Refused(task, example, "the label of a choice with a text, which this row's is without")
            : row with { Gold = gold };
    }

    private static DataRowException Refused(EvaluationTask task, Example example, string allowed) => new(
        $"task {task.Name}: {example.Row} - the answer {Quote.Of(example.Answer)} - {allowed} - correct `labels:` or the row, or leave it out with `filter:`",
        example.Row);

    // Drawn by a hash of seed and row number: no state, and the same on every machine.
    private static string Shots(EvaluationTask task, DataSetReader reader, long seed)
    {
        var rows = reader.Read().Select((example, index) => ToRow(task, example, index)).ToList();
        var chosen = rows.OrderBy(row => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{task.Shots.Seed + seed} {row.Index}")))), StringComparer.Ordinal).Take(task.Shots.Count).ToList();
        if (chosen.Count < task.Shots.Count)
            throw new UserException(
                $"task {task.Name}: {string.Join(", ", task.Shots.Files)} has {chosen.Count} rows - at least shots.count = {task.Shots.Count} - lower it");
        return string.Concat(chosen.Select(row => (row.Gold < 0 ? row.Prompt + AnswerOf(task, row) : row.ContextOf(row.Gold) + row.Choices[row.Gold]) + task.Shots.Separator));
    }

    // Of a graded answer, the nearest label's text.
    private static string AnswerOf(EvaluationTask task, TaskRow row) => !task.IsGraded ? row.Answer : row.Choices[task.Labels.Index()
        .MinBy(label => Math.Abs(EvaluationTask.Number(label.Item)!.Value - EvaluationTask.Number(row.Answer)!.Value)).Index] ?? row.Answer;

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
}
