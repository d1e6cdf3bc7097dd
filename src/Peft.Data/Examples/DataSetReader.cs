using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Templates;

namespace Peft.Data.Examples;

/// <summary>Reads the examples of one data set, in file order, streaming.</summary>
public sealed class DataSetReader
{
    private static readonly TemplateEngine Functions = new();
    private readonly Dictionary<string, IReadOnlyList<TableColumn>> _columns = new(StringComparer.Ordinal); // by path

    private DataSetReader(DataSetOptions options, IReadOnlyList<DataFile> files) => (Options, Files) = (options, files);

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
            rows += DataTable.CountParquetRows(file);
        return (Math.Min(rows, Options.Limit ?? long.MaxValue), null);
    }

    private IEnumerable<Example> Read(DataFile file, long skip)
    {
        var maker = new RowMaker(Options, file, _columns[file.Path]);
        using var rows = DataTable.Read(file, maker.Names, skip);
        while (rows.Read())
        {
            Counts.Rows++;
            var id = new RowId(file.Name, rows.Number) { Line = rows.Line };
            var (example, fault) = maker.Make(rows, id);
            if (example is not null)
                yield return example;
            else if (fault is null)
                Counts.Filtered++;
            else if (Options.OnBadRow == BadRowPolicy.Skip)
                Counts.Bad++;
            else
                throw Refused(id, fault);
        }
    }

    private static DataRowException Refused(RowId id, RowFault fault) => new(
        $"{id} - {fault.Found} - {fault.Allowed} - correct the row, leave it out with `filter:`, or say `on_bad_row: skip`", id);

    private void Check(DataFile file, Faults faults)
    {
        try
        {
            var wanted = Wanted().ToHashSet(StringComparer.Ordinal);
            var columns = DataTable.Open(file, wanted).Columns;
            _columns[file.Path] = columns;
            var names = columns.Select(column => column.Name).ToList();
            foreach (var (place, template, computed) in RowMaker.Templates(Options))
            {
                var known = names.Concat(Options.Columns.Take(computed).Select(column => column.Key)).ToList();
                foreach (var fault in template.Unknown(known, Functions.HasFunction))
                {
                    var columnsKnown = fault.Expected is { } all ? $"one of its columns: {all}" : "a column";
                    faults.Add(place, $"{file.Name}: {fault.Found}", columnsKnown, fault.Advice);
                }

                CheckTypes(file, place, template.Names.Where(name => computed == 0 || !Options.Columns.Take(computed).Any(made => made.Key == name)), columns, faults);
            }

            CheckTask(file, names, faults);
        }
        catch (DataFileException error)
        {
            faults.Add(error.Place is "" ? file.Name : error.Place, error.Reason, DataFormats.Describe(file.Format));
        }
    }

    // Without functions and computed columns, which no file has to have.
    private IEnumerable<string> Wanted() => RowMaker.Templates(Options).SelectMany(entry => entry.Template.Names).Append(Options.TaskColumn).OfType<string>()
        .Where(name => !Functions.HasFunction(name) && !Options.Columns.Any(column => column.Key == name));

    private static void CheckTypes(DataFile file, string place, IEnumerable<string> names, IReadOnlyList<TableColumn> columns, Faults faults)
    {
        foreach (var column in columns.Where(column => column.Refused is not null && names.Contains(column.Name)))
            faults.Add(place, $"{Quote.Of(column.Name)} of {file.Name} is of the type {column.Refused}, which has no text form", "another column");
    }

    private void CheckTask(DataFile file, List<string> names, Faults faults)
    {
        if (Options.TaskColumn is not { } task || names.Contains(task) || Options.Columns.Any(column => column.Key == task))
            return;
        var near = NearestName.Of(task, names);
        faults.Add(
            $"{Options.Place}.task_column", $"{file.Name}: {Quote.Of(task)} is not there", "its columns: " + string.Join(", ", names),
            near is null ? null : $"did you mean {near}?");
    }
}
