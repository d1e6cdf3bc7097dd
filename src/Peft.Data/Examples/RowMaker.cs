using System.Globalization;
using Peft.Chat;
using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Data.Examples;

/// <summary>Makes examples of the rows of one file.</summary>
internal sealed class RowMaker
{
    private static readonly TemplateLimits Limits =
        new() { Loops = 100_000, Time = TimeSpan.FromSeconds(5), Bytes = 1L << 30 };

    private const string Advice = "correct the row, leave it out with `filter:`, or set `on_bad_row: skip`";
    private readonly DataSetOptions _options;
    private readonly DataFile _file;
    private readonly TemplateEngine _engine = new(new TemplateOptions { Limits = Limits });
    private readonly ScriptObject _row = new(StringComparer.Ordinal);
    private readonly bool _filterNeedsColumns;

    /// <summary>Prepares for one file.</summary>
    /// <param name="options">The data set.</param>
    /// <param name="file">The file.</param>
    /// <param name="columns">The file's columns.</param>
    public RowMaker(DataSetOptions options, DataFile file, IReadOnlyList<TableColumn> columns)
    {
        (_options, _file) = (options, file);
        Names = Needed(options, file, columns);
        _filterNeedsColumns = options.Filter is { } filter
            && (filter.UsesAll || options.Columns.Any(column => filter.Names.Contains(column.Key)));
    }

    /// <summary>The columns that are read.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>All expressions and templates of a data set, with the computed columns that each may use. The name of
    /// each is its place in the recipe.</summary>
    public static IEnumerable<(ParsedTemplate Template, int Computed)> Templates(DataSetOptions options)
    {
        for (var at = 0; at < options.Columns.Count; at++)
            yield return (options.Columns[at].Value, at);
        var texts = new[] { options.Prompt, options.Answer }.Concat(options.Fields).Select(text => text?.Parsed);
        foreach (var template in texts.Prepend(options.Filter).OfType<ParsedTemplate>())
            yield return (template, options.Columns.Count);
    }

    /// <summary>The example of a row.</summary>
    /// <param name="rows">The row.</param>
    /// <param name="id">Its name.</param>
    /// <returns>The example; or null, and whether the filter left it out or why the row cannot be used.</returns>
    /// <exception cref="DataRowException">A template or expression fails at it.</exception>
    public (Example? Example, Fault? Fault) Make(TableReader rows, RowId id)
    {
        if (rows.Broken is { } broken)
            return (null, new Fault(id.ToString(), broken, DataFormats.Describe(_file.Format), Advice));
        for (var at = 0; at < Names.Count; at++)
        {
            if (ReferenceEquals(rows.Values[at], TableReader.NotUtf8))
            {
                var found = $"column {Quote.Of(Names[at])} is not UTF-8";
                return (null, new Fault(id.ToString(), found, "a value in UTF-8", Advice));
            }

            _row[Names[at]] = rows.Values[at]!;
        }

        try
        {
            if (!_filterNeedsColumns && !Keeps(id))
                return default;
            foreach (var (name, expression) in _options.Columns)
                _row[name] = _engine.Evaluate(expression, _row)!;
            return _filterNeedsColumns && !Keeps(id) ? default : Make(id);
        }
        catch (TemplateException error) when (error.MissingValue is { } missing)
        {
            return (null, new Fault(id.ToString(), Missing(missing), "a value", Advice));
        }
        catch (TemplateException error)
        {
            // The recipe's fault and not the file's: no key of the data set passes over it.
            var fault = error.Faults[0];
            var found = fault is { Line: 1, Column: 1 } ? fault.Found : fault.FoundInText;
            throw new DataRowException(
                id, new Fault(error.Name, $"{found} (at {id})", fault.Expected, fault.Advice));
        }
    }

    private static List<string> Needed(DataSetOptions options, DataFile file, IReadOnlyList<TableColumn> columns)
    {
        var templates = Templates(options).Select(entry => entry.Template).ToList();
        var all = templates.Exists(template => template.UsesAll);
        var names = templates.SelectMany(template => template.Names)
            .Append(options.TaskColumn).ToHashSet(StringComparer.Ordinal);
        var chat = options.Shape is { } shape and not RowShape.Template ? ConversationColumns.Of(shape) : [];
        names.UnionWith(chat);
        var needed = columns.Where(column => column.Refused is null && (all || names.Contains(column.Name)))
            .Select(column => column.Name);
        // Of JSON the first rows need not have every column.
        var isOpen = file.Format is DataFormat.Json or DataFormat.JsonLines;
        return [.. needed.Concat(isOpen ? chat : []).Distinct()];
    }

    private bool Keeps(RowId id) => _options.Filter is null || (_engine.Evaluate(_options.Filter, _row) is { } value
        ? value as bool? ?? throw NoTruth(id, $"gives {Quote.Of(Text(value))}")
        : throw NoTruth(id, "gives nothing"));

    private (Example?, Fault?) Make(RowId id)
    {
        var (made, fault) = _options.Shape is { } shape and not RowShape.Template ? Talk(shape, id) : Text(id);
        if (made is null)
            return (null, fault);
        var task = _options.Task ?? _options.Name;
        if (_options.TaskColumn is { } column)
        {
            if (_row[column] is not { } value)
                return (null, new Fault(id.ToString(), Missing(column), "the name of a task", Advice));
            task = Text(value);
        }

        return (made with { Task = task }, null);
    }

    private (Example?, Fault?) Text(RowId id)
    {
        var answer = _options.Answer.Render(_engine, _row);
        if (answer.Length == 0 && !_options.AllowsEmptyAnswer)
        {
            var what = $"the {(_options.IsText ? "text" : "answer")} {Quote.Of(_options.Answer.Text)} is empty";
            return (null, new Fault(id.ToString(), what, "a text to learn", Advice));
        }

        return (new Example(_options.Prompt?.Render(_engine, _row) ?? "", answer, null, id)
        {
            Fields = [.. _options.Fields.Select(field => field.Render(_engine, _row))],
        }, null);
    }

    private (Example?, Fault?) Talk(RowShape shape, RowId id)
    {
        try
        {
            var talk = ConversationColumns.Read(shape, _row, _file.Format == DataFormat.Parquet);
            return (new Example("", "", null, id) { Conversation = talk }, null);
        }
        catch (ChatException error)
        {
            var fault = error.At(id.ToString());
            return (null, fault.Advice is null ? fault with { Advice = Advice } : fault);
        }
    }

    private DataRowException NoTruth(RowId id, string found) => new(id, new Fault(
        _options.Filter!.Name, $"{Quote.Of(_options.Filter.Text)} {found} (at {id})", "true or false",
        "compare: column != null, column == \"text\", column < 3"));

    private string Missing(string name) => !Names.Contains(name)
        ? $"{Quote.Of(name)} has no value"
        : $"column {Quote.Of(name)} is " + _file.Format switch
        {
            DataFormat.Json or DataFormat.JsonLines => "null or missing",
            DataFormat.Csv or DataFormat.Tsv => "empty",
            _ => "null",
        };

    private static string Text(object value) => value switch
    {
        string text => text,
        bool truth => truth ? "true" : "false",
        _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
    };
}
