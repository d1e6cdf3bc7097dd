using System.Diagnostics;
using Peft.Chat;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Templates;

namespace Peft.Data.Examples;

/// <summary>Reads the examples of one data set, in file order, streaming.</summary>
public sealed class DataSetReader
{
    private const int MostShown = 30; // columns in a message
    private const int MostCounted = 100_000; // rows behind one that cannot be used
    private const double LongestCount = 2; // seconds
    private static readonly TemplateEngine Functions = new();
    private readonly Dictionary<string, DataTable> _tables = new(StringComparer.Ordinal); // by path

    private DataSetReader(DataSetOptions options, IReadOnlyList<DataFile> files) => (Options, Files) = (options, files);

    /// <summary>What is read; its shape is known.</summary>
    public DataSetOptions Options { get; private set; }

    /// <summary>The chat template of its conversations; null where it has none.</summary>
    public ChatTemplate? Template { get; private set; }

    /// <summary>Whether its rows are conversations.</summary>
    public bool IsConversations => Options.Shape is not RowShape.Template;

    /// <summary>The files, in reading order.</summary>
    public IReadOnlyList<DataFile> Files { get; }

    /// <summary>What has been met so far by the last <see cref="Read()"/>.</summary>
    public ReadCounts Counts { get; private set; } = new();

    /// <summary>Finds the files of a data set and checks that every column it names is there; reads no rows.</summary>
    /// <param name="options">The data set.</param>
    /// <param name="baseDirectory">The folder that relative paths start from.</param>
    /// <param name="faults">Takes whatever is wrong.</param>
    /// <param name="template">Finds the chat template where its rows are conversations; null where none is
    /// needed.</param>
    /// <exception cref="UserException">A chat template is needed, and there is none.</exception>
    public static DataSetReader Open(
        DataSetOptions options, string baseDirectory, Faults faults, Func<ChatTemplate>? template = null)
    {
        var before = faults.Items.Count;
        var files = FilePattern.Expand(
            options.Files, options.Format, baseDirectory, $"{options.Place}.files", faults, options.LookedIn);
        if (files.Count == 0 && faults.Items.Count == before)
            faults.Add($"{options.Place}.files", "no files", "at least one file");
        var reader = new DataSetReader(options, files);
        foreach (var file in files)
            reader.Check(file, faults);
        if (reader.IsConversations && faults.Items.Count == before)
            reader.Template = template?.Invoke();
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
    /// <param name="counts">Counts the rows in place of <see cref="Counts"/>; null for none.</param>
    internal IEnumerable<Example> Read(int firstFile, long skip, long most, ReadCounts? counts = null)
    {
        counts ??= Counts = new ReadCounts();
        var left = most;
        for (var file = firstFile; file < Files.Count && left > 0; file++)
        {
            foreach (var example in Read(Files[file], file == firstFile ? skip : 0, counts))
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
            return (null, $"{text.Name} is not a Parquet file");
        if (Options.Filter is not null)
            return (null, "it has a filter");
        if (Options.OnBadRow == BadRowPolicy.Skip)
            return (null, "on_bad_row is skip");
        var rows = Files.Sum(file => _tables[file.Path].RowCount!.Value);
        return (Math.Min(rows, Options.Limit ?? long.MaxValue), null);
    }

    private IEnumerable<Example> Read(DataFile file, long skip, ReadCounts counts)
    {
        var table = _tables[file.Path];
        var maker = new RowMaker(Options, file, table.Columns);
        using var rows = table.Read(maker.Names, skip);
        while (rows.Read())
        {
            counts.Rows++;
            var id = new RowId(file.Name, rows.Number) { Line = rows.Line };
            var (example, fault) = maker.Make(rows, id);
            if (example is not null)
                yield return example;
            else if (fault is null)
                counts.Filtered++;
            else if (Options.OnBadRow == BadRowPolicy.Skip)
                counts.Bad++;
            else
                throw new DataRowException(id, WithFurther(fault, rows, maker, file));
        }
    }

    // Says how many rows behind one that cannot be used are such too, as far as that is soon known.
    private Fault WithFurther(Fault fault, TableReader rows, RowMaker maker, DataFile file)
    {
        var (further, read, started) = (0, 0, Stopwatch.GetTimestamp());
        try
        {
            while (Options.Limit is null && rows.Read() && read++ < MostCounted
                && Stopwatch.GetElapsedTime(started).TotalSeconds < LongestCount)
            {
                if (maker.Make(rows, new RowId(file.Name, rows.Number) { Line = rows.Line }).Fault is not null)
                    further++;
            }
        }
        catch (UserException)
        {
            // What comes behind cannot be read at all: the count goes as far as that.
        }
        return further == 0 ? fault : fault with
        {
            Advice = (fault.Advice is null ? "" : fault.Advice + ". ")
                + $"{Words.Count(further, "more row")} of the file cannot be used either",
        };
    }

    private void Check(DataFile file, Faults faults)
    {
        try
        {
            var wanted = Wanted().ToHashSet(StringComparer.Ordinal);
            var table = DataTable.Open(file, wanted);
            _tables[file.Path] = table;
            var columns = table.Columns;
            var names = columns.Select(column => column.Name).ToList();
            CheckShape(file, names, faults);
            foreach (var (template, computed) in RowMaker.Templates(Options))
            {
                var place = template.Name;
                var known = names.Concat(Options.Columns.Take(computed).Select(column => column.Key)).ToList();
                var unknown = template.Names.Where(name => !known.Contains(name) && !Functions.HasFunction(name));
                foreach (var (name, fault) in unknown.Zip(template.Unknown(known, Functions.HasFunction)))
                    faults.Add(
                        place, $"no column {Quote.Of(name)} in {file.Name}", OneOf(known),
                        OtherSeparator(file, names) ?? fault.Advice);
                var read = template.Names.Where(name => !Options.Columns.Take(computed).Any(made => made.Key == name));
                CheckTypes(file, place, read, columns, faults);
            }

            CheckTask(file, names, faults);
        }
        catch (DataFileException error)
        {
            faults.Add(error.Fault.Place, error.Fault.Found, error.Fault.Expected, error.Fault.Advice);
        }
    }

    // The first file tells what the rows are where the recipe does not; all of them must have its columns.
    private void CheckShape(DataFile file, List<string> names, Faults faults)
    {
        IReadOnlyList<string> all = [.. names, .. Options.Columns.Select(column => column.Key)];
        if (Options.Shape is null)
        {
            Options = Options with { Shape = ConversationColumns.Recognised(all) };
            if (Options.Shape is null)
            {
                Options = Options with { Shape = RowShape.Template };
                faults.Add(
                    $"{Options.Place}.template", $"missing, and the columns of {file.Name} are no conversation "
                        + $"({string.Join(", ", names.Take(MostShown))})",
                    "prompt and answer, or text alone, or a column messages or conversations, or columns instruction "
                        + "and output",
                    Options.TemplateAdvice);
            }
        }

        if (Options.Shape is { } shape and not RowShape.Template
            && ConversationColumns.Missing(shape, all) is { } missing)
        {
            faults.Add(
                $"{Options.Place}.format", $"{DataSetOptions.NameOf(shape)}, and no column {Quote.Of(missing)} in "
                    + file.Name, OneOf(names));
        }
    }

    // Without functions and computed columns, which no file has to have.
    private IEnumerable<string> Wanted() => RowMaker.Templates(Options)
        .SelectMany(entry => entry.Template.Names).Append(Options.TaskColumn).OfType<string>()
        .Where(name => !Functions.HasFunction(name) && !Options.Columns.Any(column => column.Key == name))
        .Concat(Options.Shape switch
        {
            RowShape.Alpaca => ["instruction", "output"],
            _ => Array.Empty<string>(),
        });

    private static void CheckTypes(
        DataFile file, string place, IEnumerable<string> names, IReadOnlyList<TableColumn> columns, Faults faults)
    {
        foreach (var column in columns.Where(column => column.Refused is not null && names.Contains(column.Name)))
            faults.Add(
                place, $"{Quote.Of(column.Name)} of {file.Name} has the type {column.Refused}",
                "a column with a text form");
    }

    private void CheckTask(DataFile file, List<string> names, Faults faults)
    {
        if (Options.TaskColumn is not { } task || names.Contains(task)
            || Options.Columns.Any(column => column.Key == task))
            return;
        var near = NearestName.Of(task, names);
        faults.Add(
            $"{Options.Place}.task_column", $"no column {Quote.Of(task)} in {file.Name}", OneOf(names),
            near is null ? null : $"did you mean {near}?");
    }

    // One column, whose name is that of several: another program's idea of CSV.
    private static string? OtherSeparator(DataFile file, IReadOnlyList<string> names) => (file.Format, names) switch
    {
        (DataFormat.Csv, [var one]) when one.Contains('\t', StringComparison.Ordinal) =>
            "its columns are separated by tabs: set `format: tsv`",
        (DataFormat.Csv, [var one]) when one.IndexOfAny([';', '|']) is >= 0 and var at =>
            $"its columns are separated by {one[at]}: write the file with commas",
        (DataFormat.Tsv, [var one]) when one.Contains(',', StringComparison.Ordinal) =>
            "its columns are separated by commas: set `format: csv`",
        _ => null,
    };

    private static string OneOf(List<string> columns) =>
        "one of its columns: " + string.Join(", ", columns.Take(MostShown))
            + (columns.Count > MostShown ? ", ..." : "");
}

/// <summary>What became of the rows that were read.</summary>
public sealed class ReadCounts
{
    /// <summary>Rows in the files, as far as they were read.</summary>
    public long Rows { get; internal set; }

    /// <summary>Rows that the filter left out.</summary>
    public long Filtered { get; internal set; }

    /// <summary>Rows skipped because a column had no value or was not UTF-8, or the line was no row.</summary>
    public long Bad { get; internal set; }
}
