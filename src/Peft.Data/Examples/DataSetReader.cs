using Peft.Data.DuckDb;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Examples;

/// <summary>Reads the examples of one data set, in file order, streaming.</summary>
public sealed class DataSetReader
{
    private readonly string[] _names;
    private readonly Dictionary<string, int> _index;

    private DataSetReader(DataSetOptions options, IReadOnlyList<DataFile> files)
    {
        Options = options;
        Files = files;
        _names = [.. ColumnsOf(options).Select(wanted => wanted.Column).Distinct(StringComparer.Ordinal)];
        _index = _names.Select((name, at) => (name, at)).ToDictionary(pair => pair.name, pair => pair.at, StringComparer.Ordinal);
    }

    /// <summary>What is read.</summary>
    public DataSetOptions Options { get; }

    /// <summary>The files, in reading order.</summary>
    public IReadOnlyList<DataFile> Files { get; }

    /// <summary>What has been met so far by the last <see cref="Read()"/>.</summary>
    public ReadCounts Counts { get; private set; } = new();

    /// <summary>Finds the files of a data set and checks that every column it names is there; reads no rows.</summary>
    /// <param name="options">The data set.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="faults">Takes whatever is wrong.</param>
    public static DataSetReader Open(DataSetOptions options, string baseDirectory, Faults faults)
    {
        var before = faults.Items.Count;
        var files = FilePattern.Expand(options.Files, options.Format, baseDirectory, $"{options.Place}.files", faults);
        if (files.Count == 0 && faults.Items.Count == before)
            faults.Add($"{options.Place}.files", "no files", "at least one file");
        var reader = new DataSetReader(options, files);
        foreach (var file in files)
            reader.Check(file, faults);
        return reader;
    }

    /// <summary>The examples of a data set that has no faults.</summary>
    /// <exception cref="DataRowException">A row cannot be used and on_bad_row is error.</exception>
    /// <exception cref="DataFileException">A file cannot be read to its end.</exception>
    public IEnumerable<Example> Read() => Read(0, 0, Options.Limit ?? long.MaxValue);

    /// <summary>The examples from a place on.</summary>
    /// <param name="firstFile">Index of the first file read.</param>
    /// <param name="skip">Rows of that file that are passed over.</param>
    /// <param name="most">Examples at most.</param>
    internal IEnumerable<Example> Read(int firstFile, long skip, long most)
    {
        Counts = new ReadCounts();
        var left = most;
        for (var file = firstFile; file < Files.Count && left > 0; file++)
        {
            foreach (var example in Read(Files[file], file == firstFile ? skip : 0))
            {
                yield return example;
                if (--left == 0)
                    yield break;
            }
        }
    }

    /// <summary>How many examples there are, where that is known without reading rows; if not, why not.</summary>
    public (long? Rows, string? Unknown) CountRows()
    {
        if (Files.FirstOrDefault(file => file.Format != DataFormat.Parquet) is { } text)
            return (null, $"{text.Name} is no Parquet");
        if (Options.Filter is not null)
            return (null, "it has a filter");
        if (Options.OnBadRow == BadRowPolicy.Skip)
            return (null, "on_bad_row is skip");
        var rows = 0L;
        foreach (var file in Files)
        {
            using var table = DataTable.Open(file);
            rows += table.CountParquetRows();
        }

        return (Math.Min(rows, Options.Limit ?? long.MaxValue), null);
    }

    private IEnumerable<Example> Read(DataFile file, long skip)
    {
        var skips = Options.OnBadRow == BadRowPolicy.Skip;
        using var table = DataTable.Open(file, Options.Columns, skips);
        var number = table.CanSkip ? skip : 0;
        using var rows = Start(table, number);
        var values = new string[_names.Length];
        while (Next(table, rows))
        {
            for (var row = 0; row < rows.RowCount; row++)
            {
                if (++number <= skip)
                    continue;
                Counts.Rows++;
                // A line that is no row has no values, so that no filter is true of it: it is bad, not left out.
                var isBroken = rows.Boolean(_names.Length, row);
                if (!isBroken && !rows.Boolean(_names.Length + 1, row))
                {
                    Counts.Filtered++;
                    continue;
                }

                if (ToExample(rows, row, values, new RowId(file.Name, number), file.Format, isBroken) is { } example)
                    yield return example;
                else
                    Counts.Bad++;
            }
        }

        if (!skips)
            yield break;
        var rejected = table.CountRejected();
        Counts.Rows += rejected;
        Counts.Bad += rejected;
    }

    private DuckDbReader Start(DataTable table, long skip)
    {
        try
        {
            return table.Read(_names, Options.Filter, skip);
        }
        catch (DuckDbException error)
        {
            throw table.Unreadable(error);
        }
    }

    private static bool Next(DataTable table, DuckDbReader rows)
    {
        try
        {
            return rows.ReadChunk();
        }
        catch (DuckDbException error)
        {
            throw table.Unreadable(error);
        }
    }

    // Null for a row to be skipped.
    private Example? ToExample(DuckDbReader rows, int row, string[] values, RowId id, DataFormat format, bool isBroken)
    {
        if (isBroken)
            return Refuse(id, "the line is no JSON object in UTF-8, or has no values", "one JSON object a line");
        for (var column = 0; column < _names.Length; column++)
        {
            if (rows.Text(column, row, out var isValid) is not { } value)
                return Refuse(id, $"column {Quote.Of(_names[column])} {WhatIsWrong(isValid, format)}", "a value in UTF-8");
            values[column] = value;
        }

        string ValueOf(string name) => values[_index[name]];
        var answer = Options.Answer.Render(ValueOf);
        if (answer.Length == 0 && !Options.AllowsEmptyAnswer)
            return Refuse(id, $"{(Options.IsText ? "text" : "answer")} {Quote.Of(Options.Answer.Text)} is empty", "a text to learn");
        var task = Options.TaskColumn is { } named ? ValueOf(named) : Options.Task ?? Options.Name;
        return new Example(Options.Prompt?.Render(ValueOf) ?? "", answer, task, id)
        {
            Fields = [.. Options.Fields.Select(field => field.Template.Render(ValueOf))],
        };
    }

    private Example? Refuse(RowId id, string found, string allowed) => Options.OnBadRow == BadRowPolicy.Skip
        ? null
        : throw new DataRowException(
            $"{id} - {found} - {allowed} - correct the row, leave it out with `filter:`, or say `on_bad_row: skip`", id);

    private static string WhatIsWrong(bool isValid, DataFormat format) => format switch
    {
        _ when !isValid => "is not UTF-8",
        DataFormat.Json or DataFormat.JsonLines => "is null or missing",
        DataFormat.Csv or DataFormat.Tsv => "is empty",
        _ => "is null",
    };

    private void Check(DataFile file, Faults faults)
    {
        DataTable table;
        try
        {
            table = DataTable.Open(file, Options.Columns);
        }
        catch (DataFileException error)
        {
            faults.Add(file.Name, DataTable.ReasonOf(file, (DuckDbException)error.InnerException!), $"a {DataFormatName(file.Format)} file");
            return;
        }

        using (table)
        {
            if (Options.Columns.Count > 0 && table.Problem(null) is { } problem)
            {
                faults.Add($"{Options.Place}.columns", $"{file.Name}: {problem}", "SQL expressions over the file's columns");
                return;
            }

            if (Options.Filter is { } filter && table.Problem(filter) is { } refused)
                faults.Add($"{Options.Place}.filter", $"{file.Name}: {refused}", "a SQL condition over the file's columns");
            foreach (var (place, column) in ColumnsOf(Options).DistinctBy(wanted => wanted.Column))
                CheckColumn(table, file, place, column, faults);
        }
    }

    private void CheckColumn(DataTable table, DataFile file, string place, string name, Faults faults)
    {
        var found = table.Find(name);
        if (found is null)
        {
            var known = table.Columns.Select(column => column.Name).Concat(Options.Columns.Keys).ToList();
            var near = NearestName.Of(name, known);
            faults.Add(
                place,
                $"{{{name}}} is no column of {file.Name}",
                "its columns: " + string.Join(", ", known),
                near is null ? null : $"did you mean {{{near}}}?");
        }
        else if (!found.IsScalar)
        {
            faults.Add(
                place,
                $"{{{name}}} of {file.Name} is {found.Type}",
                "a text, number or boolean",
                $"make one of it, for example `columns: {{{name}_first: \"{name}[1]\"}}`");
        }
    }

    private static string DataFormatName(DataFormat format) => format == DataFormat.JsonLines ? "JSON Lines" : format.ToString();

    private static IEnumerable<(string Place, string Column)> ColumnsOf(DataSetOptions options)
    {
        foreach (var column in options.Prompt?.Columns ?? [])
            yield return ($"{options.Place}.template.prompt", column);
        foreach (var column in options.Answer.Columns)
            yield return ($"{options.Place}.template.{(options.IsText ? "text" : "answer")}", column);
        foreach (var field in options.Fields)
        {
            foreach (var column in field.Template.Columns)
                yield return (field.Place, column);
        }

        if (options.TaskColumn is { } task)
            yield return ($"{options.Place}.task_column", task);
    }
}
