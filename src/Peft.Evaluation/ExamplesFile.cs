using Parquet;
using Parquet.Schema;
using Peft.Evaluation.Metrics;
using Peft.Formats.Files;

namespace Peft.Evaluation;

/// <summary>Writes <c>examples.parquet</c>: one row an example and subject.</summary>
public static class ExamplesFile
{
    /// <summary>Name of the file beside results.json.</summary>
    public const string Name = "examples.parquet";

    /// <summary>Names of its columns, here and where they are read.</summary>
    internal const string Subject = "subject", Task = "task", Row = "row", Prompt = "prompt", Prediction = "prediction", Answer = "answer",
        Score = "score", LogLikelihoods = "log_likelihoods";

    private const int RowsInGroup = 8192; // what is held at a time while writing and reading

    // Levels of a list's numbers: the list has none, the number is missing, the number is there.
    private const int NoNumber = 1, MissingNumber = 2, Number = 3;

    private static readonly ParquetSchema Schema = new(
        new DataField<string>(Subject), new DataField<string>(Task), new DataField<long?>(Row), new DataField<string>(Prompt),
        new DataField<string>(Prediction), new DataField<string>(Answer), new DataField<double?>(Score),
        new ListField(LogLikelihoods, new DataField<double?>("element")));

    /// <summary>Writes the examples, atomically.</summary>
    /// <param name="path">The file.</param>
    /// <param name="answers">Judged rows of each subject.</param>
    /// <exception cref="FileOperationException">The disk is full, the place may not be written to, ...</exception>
    public static void Write(string path, IEnumerable<(string Subject, JudgedRow Row)> answers) =>
        AtomicFile.Write(path, target => WriteAsync(target, answers).GetAwaiter().GetResult());

    private static async Task WriteAsync(Stream target, IEnumerable<(string Subject, JudgedRow Row)> answers)
    {
        await using var writer = await ParquetWriter.CreateAsync(Schema, target);
        foreach (var rows in answers.Chunk(RowsInGroup))
        {
            using var group = writer.CreateRowGroup();
            var fields = Schema.DataFields;
            await group.WriteAsync(fields[0], [.. rows.Select(r => r.Subject)]);
            await group.WriteAsync(fields[1], [.. rows.Select(r => r.Row.Task.Name)]);
            await group.WriteAsync<long>(fields[2], rows.Select(r => (long?)r.Row.Row.Index).ToArray());
            await group.WriteAsync(fields[3], [.. rows.Select(r => r.Row.Row.Prompt)]);
            await group.WriteAsync(fields[4], [.. rows.Select(r => r.Row.Shown)]);
            await group.WriteAsync(fields[5], [.. rows.Select(r => r.Row.Row.Answer)]);
            await group.WriteAsync<double>(fields[6], rows.Select(r => Finite(Metric.Named(r.Row.Task.Metrics[0]).ScoreOf(r.Row))).ToArray());
            await WriteLists(group, fields[7], [.. rows.Select(r => r.Row.Result.LogLikelihoods)]);
        }
    }

    // A list is written flat: its numbers, beside each how much of it is there and whether it goes on with the list before it.
    private static async Task WriteLists(ParquetRowGroupWriter group, DataField field, IReadOnlyList<IReadOnlyList<double>> lists)
    {
        var (numbers, definitions, repetitions) = (new List<double>(), new List<int>(), new List<int>());
        foreach (var list in lists)
        {
            if (list.Count == 0)
            {
                definitions.Add(NoNumber);
                repetitions.Add(0);
            }
            foreach (var (at, value) in list.Index())
            {
                if (Finite(value) is { } number)
                    numbers.Add(number);
                definitions.Add(double.IsFinite(value) ? Number : MissingNumber);
                repetitions.Add(at == 0 ? 0 : 1);
            }
        }
        await group.WriteAllPartsAsync<double>(field, numbers.ToArray(), definitions.ToArray(), repetitions.ToArray(), default);
    }

    // A choice that the row lacks has no likelihood.
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}
