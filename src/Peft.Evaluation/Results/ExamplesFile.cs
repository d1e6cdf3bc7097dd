using Parquet;
using Parquet.Schema;
using Peft.Data.Tables;
using Peft.Evaluation.Metrics;
using Peft.Formats;
using Peft.Formats.Files;

namespace Peft.Evaluation.Results;

/// <summary>Writes <c>examples.parquet</c>: one row an example and subject.</summary>
public static class ExamplesFile
{
    /// <summary>Name of the file beside results.json.</summary>
    public const string Name = "examples.parquet";

    /// <summary>Names of its columns, here and where they are read.</summary>
    internal const string Subject = "subject", Task = "task", Row = "row", Prompt = "prompt",
        Prediction = "prediction", Answer = "answer", Score = "score", LogLikelihoods = "log_likelihoods";

    private const int RowsInGroup = 8192; // what is held at a time while writing and reading

    // Levels of a list's numbers: the list has none, the number is missing, the number is there.
    private const int NoNumber = 1, MissingNumber = 2, Number = 3;

    private static readonly ParquetSchema Schema = new(
        new DataField<string>(Subject), new DataField<string>(Task), new DataField<long?>(Row),
        new DataField<string>(Prompt),
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
            await group.WriteAsync<long>(fields[2], rows.Select(r => (long?)r.Row.Row.Index + 1).ToArray());
            await group.WriteAsync(fields[3], [.. rows.Select(r => r.Row.Row.Prompt)]);
            await group.WriteAsync(fields[4], [.. rows.Select(r => r.Row.Shown)]);
            await group.WriteAsync(fields[5], [.. rows.Select(r => r.Row.Row.Answer)]);
            await group.WriteAsync<double>(
                fields[6], rows.Select(r => Finite(Metric.Named(r.Row.Task.Metrics[0]).ScoreOf(r.Row))).ToArray());
            await WriteLists(group, fields[7], [.. rows.Select(r => r.Row.Result.LogLikelihoods)]);
        }
    }

    // A list is written flat: its numbers, beside each how much of it is there and whether it continues the list
    // before it.
    private static async Task WriteLists(
        ParquetRowGroupWriter group, DataField field, IReadOnlyList<IReadOnlyList<double>> lists)
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
        await group.WriteAllPartsAsync<double>(
            field, numbers.ToArray(), definitions.ToArray(), repetitions.ToArray(), default);
    }

    // A choice that the row lacks has no likelihood.
    private static double? Finite(double value) => double.IsFinite(value) ? value : null;
}

/// <summary>Reads columns of <c>examples.parquet</c>, group by group.</summary>
internal static class ExampleTable
{
    private const long MostRows = 1 << 24; // of a group; a broken file may name any number

    private static readonly Dictionary<string, Type> Types = new()
    {
        [ExamplesFile.Subject] = typeof(string),
        [ExamplesFile.Task] = typeof(string),
        [ExamplesFile.Row] = typeof(long),
        [ExamplesFile.Prompt] = typeof(string),
        [ExamplesFile.Prediction] = typeof(string),
        [ExamplesFile.Answer] = typeof(string),
        [ExamplesFile.Score] = typeof(double),
    };

    /// <summary>Calls <paramref name="take"/> with each group of rows.</summary>
    /// <param name="path">The file.</param>
    /// <param name="columns">Names of the columns that are read.</param>
    /// <param name="take">What is done with a group.</param>
    /// <exception cref="UserException">The file cannot be read, or is not a table of examples.</exception>
    public static void Read(string path, IReadOnlyList<string> columns, Action<Group> take)
    {
        try
        {
            using var file = ParquetFile.Open(new DataFile(path, path, DataFormat.Parquet));
            var reader = file.Reader;
            var fields = FieldsOf(path, reader.Schema);
            for (var i = 0; i < reader.RowGroupCount; i++)
            {
                using var group = reader.OpenRowGroupReader(i);
                if (group.RowCount is < 0 or > MostRows)
                    throw Refused(path, $"a group of {group.RowCount} rows");
                var values = columns.ToDictionary(
                    name => name, name => file.Within(() => ReadColumn(group, fields[name])));
                take(new Group((int)group.RowCount, values));
            }
        }
        catch (DataFileException e)
        {
            throw Refused(path, e.Fault.Found, e);
        }
        catch (Exception e) when (e is not UserException)
        {
            // What the library throws over bytes that are no table is of many types: all of it is said about the file.
            throw Refused(path, "not a whole Parquet file", e);
        }
    }

    private static Dictionary<string, DataField> FieldsOf(string path, ParquetSchema schema)
    {
        var fields = schema.DataFields.Where(field => field.Path.Length == 1).ToDictionary(field => field.Name);
        var missing = Types.Keys.Where(name => !fields.ContainsKey(name)).ToList();
        if (missing.Count > 0)
            throw Refused(path, $"it has no column {string.Join(", ", missing)}");
        if (Types.FirstOrDefault(type => TypeOf(fields[type.Key]) != type.Value).Key is { } other)
            throw Refused(path, $"its column {other} holds {TypeOf(fields[other]).Name}, not {Types[other].Name}");
        return fields;
    }

    private static async Task<Array> ReadColumn(ParquetRowGroupReader group, DataField field)
    {
        if (TypeOf(field) == typeof(string))
        {
            var texts = new string?[group.RowCount];
            await group.ReadAsync(field, texts.AsMemory()!);
            return texts;
        }
        if (field.ClrType == typeof(long))
        {
            var whole = new long?[group.RowCount];
            await group.ReadAsync<long>(field, whole);
            return whole;
        }
        var numbers = new double?[group.RowCount];
        await group.ReadAsync<double>(field, numbers);
        return numbers;
    }

    private static Type TypeOf(DataField field) =>
        field.ClrType == typeof(ReadOnlyMemory<char>) ? typeof(string) : field.ClrType;

    private static UserException Refused(string path, string reason, Exception? inner = null) => UserException.At(
        path, $"not the rows of an evaluation ({reason})", $"the {ExamplesFile.Name} that peft eval wrote",
        "run peft eval again, or move the file away", inner);

    /// <summary>Some rows, column by column.</summary>
    /// <param name="Count">How many.</param>
    /// <param name="Values">The columns that were asked for.</param>
    public sealed record Group(int Count, IReadOnlyDictionary<string, Array> Values)
    {
        /// <summary>A text; empty where there is none.</summary>
        public string Text(string column, int row) => ((string?[])Values[column])[row] ?? "";

        /// <summary>A whole number; 0 where there is none.</summary>
        public long Whole(string column, int row) => ((long?[])Values[column])[row] ?? 0;

        /// <summary>A number, or null.</summary>
        public double? Number(string column, int row) => ((double?[])Values[column])[row];
    }
}
