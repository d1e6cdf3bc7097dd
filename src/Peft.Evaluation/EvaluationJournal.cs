using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Peft.Distributed;
using Peft.Evaluation.Metrics;
using Peft.Evaluation.Results;
using Peft.Evaluation.Scoring;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation;

/// <summary>What an evaluation has answered so far, a line a batch, so that it can be resumed after any end.</summary>
/// <remarks>The first line says what is evaluated; a last line that was cut short does not count.</remarks>
public sealed class EvaluationJournal : IDisposable
{
    /// <summary>Name of the file in the output directory while an evaluation runs.</summary>
    public const string Name = "journal.jsonl";

    // Of each rank, before all tell each other what they answered and whether to end.
    private const int BatchesARound = 8;

    private readonly Dictionary<(string Subject, string Task, int Batch), Line> _lines = [];
    private readonly string _path;
    private readonly FileStream? _file;

    private EvaluationJournal(string path, FileStream? file) => (_path, _file) = (path, file);

    private static JsonSerializerOptions Json => RowResult.Json;

    /// <summary>A journal that is kept nowhere: that of a rank whose answers another one writes.</summary>
    public static EvaluationJournal Unwritten() => new("", null);

    /// <summary>Rows that were answered before this start.</summary>
    public int RowsFound => _lines.Values.Sum(line => line.Rows.Count);

    /// <summary>Opens the journal of an output directory, or begins it.</summary>
    /// <param name="directory">The output directory.</param>
    /// <param name="identity">What is evaluated: equal texts resume each other.</param>
    /// <exception cref="UserException">The directory holds the journal of another evaluation.</exception>
    public static EvaluationJournal Open(string directory, string identity)
    {
        var path = Path.Combine(directory, Name);
        var lines = File.Exists(path) ? ReadWhole(path) : [];
        if (lines.Count > 0 && lines[0].Text != Header(identity))
            throw UserException.At(
                directory, "holds an interrupted evaluation of other adapters, tasks or settings", null,
                "repeat its command to finish it, replace it with --overwrite, or choose another directory with "
                    + "--output");
        try
        {
            var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read);
            // What is behind the last whole line was cut by the end of the process.
            file.SetLength(lines.Count == 0 ? 0 : lines[^1].End);
            file.Seek(0, SeekOrigin.End);
            var journal = new EvaluationJournal(path, file);
            if (lines.Count == 0)
                journal.Write(Header(identity));
            foreach (var (text, _) in lines.Skip(1))
            {
                var line = JsonSerializer.Deserialize<Line>(text, Json)!;
                journal._lines[(line.Subject, line.Task, line.Batch)] = line;
            }
            return journal;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw UserException.At(
                path, $"cannot be written ({error.Message})", null, "choose another directory with --output", error);
        }
    }

    /// <summary>The answers of a batch: found, or computed and kept. With the seconds that computing took.</summary>
    public (IReadOnlyList<RowResult> Rows, double Seconds) Answer(
        string subject, string task, int batch, Func<IReadOnlyList<RowResult>> compute)
    {
        if (_lines.TryGetValue((subject, task, batch), out var found))
            return (found.Rows, found.Seconds);
        var started = Stopwatch.GetTimestamp();
        var rows = compute();
        var line = new Line(subject, task, batch, Stopwatch.GetElapsedTime(started).TotalSeconds, rows);
        Keep(line);
        return (rows, line.Seconds);
    }

    /// <summary>Has all ranks answer the batches of a task that are missing, each its share; all then know every
    /// answer, and the first has written them.</summary>
    /// <param name="ranks">All; the first one's journal says what is missing.</param>
    /// <param name="subject">The subject.</param>
    /// <param name="task">The task.</param>
    /// <param name="batches">All batches of the task.</param>
    /// <param name="isStopped">Asked before each batch whether to end.</param>
    /// <returns>Whether any rank was to end.</returns>
    public bool AnswerTogether(
        ICommunicator ranks, string subject, string task, IReadOnlyList<TaskBatch> batches, Func<int, bool> isStopped)
    {
        var known = ranks.TextOfFirst(JsonSerializer.Serialize(_lines.Values.Where(line =>
            line.Subject == subject && line.Task == task), Json));
        foreach (var line in JsonSerializer.Deserialize<List<Line>>(known, Json)!)
            _lines[(line.Subject, line.Task, line.Batch)] = line;
        var missing = Enumerable.Range(0, batches.Count).Where(batch => !Has(subject, task, batch)).ToList();
        foreach (var round in missing.Chunk(ranks.Size * BatchesARound))
        {
            var (own, stopped) = (new List<Line>(), false);
            foreach (var batch in round.Where((_, place) => place % ranks.Size == ranks.Rank))
            {
                stopped = isStopped(batches[batch].Rows);
                if (stopped)
                    break;
                Answer(subject, task, batch, batches[batch].Answer);
                own.Add(_lines[(subject, task, batch)]);
            }
            foreach (var line in ranks.Texts(JsonSerializer.Serialize(own, Json))
                .SelectMany(lines => JsonSerializer.Deserialize<List<Line>>(lines, Json)!)
                .Where(line => !Has(line.Subject, line.Task, line.Batch)))
                Keep(line);
            if (ranks.Any(stopped))
                return true;
        }
        return false;
    }

    /// <summary>Whether a batch was answered before this start.</summary>
    public bool Has(string subject, string task, int batch) => _lines.ContainsKey((subject, task, batch));

    /// <summary>Removes the journal: everything it holds is in the results.</summary>
    public void Remove()
    {
        if (_file is null)
            return;
        _file.Dispose();
        File.Delete(_path);
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    private static string Header(string identity) => JsonSerializer.Serialize(new { evaluation = identity });

    private void Keep(Line line)
    {
        _lines[(line.Subject, line.Task, line.Batch)] = line;
        Write(JsonSerializer.Serialize(line, Json));
    }

    private void Write(string line)
    {
        if (_file is null)
            return;
        _file.Write(Encoding.UTF8.GetBytes(line + "\n"));
        _file.Flush();
    }

    // Lines that end, and parse; with the place behind each.
    private static List<(string Text, long End)> ReadWhole(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var lines = new List<(string, long)>();
        for (var from = 0; from < bytes.Length;)
        {
            var length = bytes.AsSpan(from).IndexOf((byte)'\n');
            if (length < 0)
                break;
            var text = Encoding.UTF8.GetString(bytes, from, length);
            if (lines.Count > 0 && !IsLine(text))
                break;
            from += length + 1;
            lines.Add((text, from));
        }
        return lines;
    }

    private static bool IsLine(string text) =>
        JsonFile.TryParse<Line>(text, Json, out var line)
            && line is { Subject: not null, Task: not null, Rows: not null };

    private sealed record Line(string Subject, string Task, int Batch, double Seconds, IReadOnlyList<RowResult> Rows);
}
