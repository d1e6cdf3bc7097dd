using Peft.Data.Tables;
using Peft.Formats;
using Peft.Formats.Configuration;
using Peft.Formats.Templates;
using Scriban.Runtime;

namespace Peft.Data.Examples;

/// <summary>What to do with a row that cannot be used.</summary>
public enum BadRowPolicy
{
    /// <summary>Stop and tell.</summary>
    Error,

    /// <summary>Leave it out and count it.</summary>
    Skip,
}

/// <summary>What a row is.</summary>
public enum RowShape
{
    /// <summary>Columns that a template makes prompt and answer, or a text, of.</summary>
    Template,

    /// <summary>A list of messages, each with role and content, in the column <c>messages</c>.</summary>
    Messages,

    /// <summary>A list of messages, each with from and value, in the column <c>conversations</c>.</summary>
    ShareGpt,

    /// <summary>An instruction, an input and an output, in columns of these names.</summary>
    Alpaca,
}

/// <summary>One data set of a recipe: which files, and how a row becomes an example.</summary>
public sealed record DataSetOptions
{
    /// <summary>Paths or patterns.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>Its name in reports; by default that of its first file.</summary>
    [Key]
    public required string Name { get; init; }

    /// <summary>The task of all rows; null for <see cref="Name"/>.</summary>
    [Key]
    public string? Task { get; init; }

    /// <summary>The column that names each row's task; null for one task.</summary>
    [Key]
    public string? TaskColumn { get; init; }

    /// <summary>How often its sequences are drawn, relative to the other data sets; null to see each sequence once an
    /// epoch.</summary>
    [Key(Above = 0)]
    public double? Weight { get; init; }

    /// <summary>At most this many rows, after the filter; null for all.</summary>
    [Key(Min = 1)]
    public long? Limit { get; init; }

    /// <summary>What to do with rows that cannot be used.</summary>
    [Key]
    public BadRowPolicy OnBadRow { get; init; }

    /// <summary>The format of all files; null to go by the ending of their names.</summary>
    public DataFormat? Format { get; init; }

    /// <summary>What its rows are; null where it has no template, and its columns are to tell.</summary>
    public RowShape? Shape { get; init; } = RowShape.Template;

    /// <summary>A condition that rows must meet, over their columns; null for all rows.</summary>
    public ParsedTemplate? Filter { get; init; }

    /// <summary>Further columns, in the order in which they are made: name, and expression over the file's columns and
    /// those before.</summary>
    public IReadOnlyList<KeyValuePair<string, ParsedTemplate>> Columns { get; init; } = [];

    /// <summary>What is given to the model; null for plain text, of which every token is learned.</summary>
    public TextTemplate? Prompt { get; init; }

    /// <summary>What the model is to produce; for plain text, the text.</summary>
    public required TextTemplate Answer { get; init; }

    /// <summary>Further texts made of each row, such as the choices of a question.</summary>
    public IReadOnlyList<TextTemplate> Fields { get; init; } = [];

    /// <summary>Whether a row with an empty answer can be used; training has nothing to learn from one.</summary>
    public bool AllowsEmptyAnswer { get; init; }

    /// <summary>The folders that its files were looked for in, for messages; null for the base directory
    /// alone.</summary>
    public IReadOnlyList<string>? LookedIn { get; init; }

    /// <summary>What to do where it has no template and needs one.</summary>
    internal string TemplateAdvice { get; init; } = Example;

    private const string Example = "for example {prompt: \"{question}\", answer: \" {answer}\"}";

    /// <summary>Its place in the recipe, for messages.</summary>
    public string Place { get; init; } = "data";

    /// <summary>True for plain text (language modelling).</summary>
    public bool IsText => Prompt is null && Shape == RowShape.Template;

    /// <summary>Reads one entry of <c>train:</c> or <c>eval:</c>; what is wrong goes to the reader's faults.</summary>
    /// <param name="reader">The entry.</param>
    /// <param name="onBadRow">The default of <c>on_bad_row</c>.</param>
    /// <param name="alike">Data sets of which one of the same name gives template, columns and task, where the entry
    /// does not.</param>
    public static DataSetOptions Read(
        OptionReader reader, BadRowPolicy onBadRow = BadRowPolicy.Error, IReadOnlyList<DataSetOptions>? alike = null)
    {
        var files = reader.Texts("files", []);
        if (files.Count == 0)
            reader.Fault("files", "missing", "a path, a pattern, or a list of them");
        var options = reader.Bind(new DataSetOptions
        {
            Name = DefaultName(files), Files = files, Answer = TextTemplate.Literal(""), OnBadRow = onBadRow,
            Place = reader.Path,
        });
        var twin = alike?.FirstOrDefault(set => set.Name == options.Name);
        var (format, shape) = ReadFormat(reader);
        // With neither a template nor a shape the columns tell.
        var isOwn = twin is null || reader.Has("template") || shape is not null;
        var (prompt, answer) = !isOwn ? (twin!.Prompt, twin.Answer)
            : reader.Has("template") ? ReadTemplate(reader.Section("template"), alike)
            : (null, TextTemplate.Literal(""));
        if (shape is not null && reader.Has("template"))
            reader.Fault("template", $"given together with format: {NameOf(shape.Value)}", "one of the two");
        if (options is { Task: not null, TaskColumn: not null })
            reader.Fault("task_column", "given together with task", "one of the two");
        var isOneTask = options.Task is not null || options.TaskColumn is not null;
        return options with
        {
            Format = format,
            TemplateAdvice = alike is { Count: > 0 } ? AdviceOf(alike) : Example,
            Shape = !isOwn ? twin!.Shape : reader.Has("template") ? RowShape.Template : shape,
            Filter = ReadExpression(reader, "filter", reader.OptionalText("filter")),
            Columns = twin is null || reader.Has("columns") ? ReadColumns(reader) : twin.Columns,
            Prompt = prompt,
            Answer = answer,
            Task = isOneTask ? options.Task : twin?.Task,
            TaskColumn = isOneTask ? options.TaskColumn : twin?.TaskColumn,
        };
    }

    /// <summary>What <c>format:</c> calls a shape.</summary>
    internal static string NameOf(RowShape shape) => ShapeNames[(int)shape - 1];

    private static readonly string[] ShapeNames = ["messages", "sharegpt", "alpaca"];

    // How the files are written, and what their rows are: either is told by them where it is not said.
    private static (DataFormat? Format, RowShape? Shape) ReadFormat(OptionReader reader)
    {
        var (format, shape) = ((DataFormat?)null, (RowShape?)null);
        if (!reader.Has("format"))
            return (format, shape);
        var names = reader.Node("format") is ConfigList ? reader.Texts("format", []) : [reader.Text("format", "")];
        foreach (var name in names)
        {
            var (file, row) = (DataFormats.Named(name), Array.IndexOf(ShapeNames, name));
            if (file is null && row < 0)
            {
                IReadOnlyList<string> known = [.. DataFormats.Names, .. ShapeNames];
                var near = NearestName.Of(name, known);
                reader.Fault(
                    "format", Quote.Of(name), $"one of: {string.Join(", ", known)}",
                    near is null ? null : $"did you mean {near}?");
            }
            else if (file is null ? shape is not null : format is not null)
            {
                reader.Fault("format", Quote.Of(name) + " beside another of its kind", "one of them");
            }
            else
            {
                (format, shape) = (format ?? file, shape ?? (row < 0 ? null : (RowShape)(row + 1)));
            }
        }

        return (format, shape);
    }

    private static string DefaultName(IReadOnlyList<string> files) =>
        files.Count == 0 ? ""
        : Path.GetFileName(files[0]).Split('.')[0].Trim('*') is { Length: > 0 } stem ? stem : "data";

    private static List<KeyValuePair<string, ParsedTemplate>> ReadColumns(OptionReader reader)
    {
        var columns = new List<KeyValuePair<string, ParsedTemplate>>();
        var node = reader.Node("columns");
        if (node is not null and not ConfigMap)
            reader.Fault("columns", node.Describe(), "a section of NAME: expression");
        foreach (var (name, value) in (node as ConfigMap)?.Entries ?? [])
        {
            if (value is not ConfigScalar { Text: { } text })
                reader.Fault("columns", $"{name}: {value.Describe()}", "an expression");
            else if (ReadExpression(reader, $"columns.{name}", text, value) is { } expression)
                columns.Add(KeyValuePair.Create(name, expression));
        }

        return columns;
    }

    private static ParsedTemplate? ReadExpression(
        OptionReader reader, string key, string? text, ConfigNode? node = null)
    {
        try
        {
            return text is null ? null : ParsedTemplate.ParseExpression(text, reader.PlaceOf(key, node));
        }
        catch (TemplateException error)
        {
            Tell(reader, key, error);
            return null;
        }
    }

    // With the place within the key: a template may have many lines.
    private static void Tell(OptionReader reader, string key, TemplateException error)
    {
        foreach (var fault in error.Faults)
            reader.Fault(key, fault.FoundInText, fault.Expected, fault.Advice);
    }

    private static (TextTemplate? Prompt, TextTemplate Answer) ReadTemplate(
        OptionReader reader, IReadOnlyList<DataSetOptions>? alike)
    {
        var prompt = Parse(reader, "prompt");
        var answer = Parse(reader, "answer");
        var text = Parse(reader, "text");
        var isWrong = text is null ? answer is null || prompt is null : answer is not null || prompt is not null;
        // A key that is none of the three is told as unknown, and the three with it.
        var isOther = prompt is null && answer is null && text is null && reader.AllKeys().Count > 0;
        if (isWrong && !isOther
            && !reader.Faults.Items.Any(fault => fault.Place.Contains(reader.Path, StringComparison.Ordinal)))
        {
            (string Key, TextTemplate? Value)[] parts = [("prompt", prompt), ("answer", answer), ("text", text)];
            var found = parts.Where(part => part.Value is not null).Select(part => part.Key).ToList();
            reader.Faults.Add(
                reader.Path,
                found.Count == 0 ? "missing" : Words.AllOf(found),
                "prompt and answer, or text alone",
                alike is { Count: > 0 } && found.Count == 0 ? AdviceOf(alike) : Example);
        }

        return (prompt, text ?? answer ?? TextTemplate.Literal(""));
    }

    private static string AdviceOf(IReadOnlyList<DataSetOptions> alike) =>
        "a data set under train gives its template to one of the same name here: "
        + Words.OneOf([.. alike.Select(set => set.Name)]);

    private static TextTemplate? Parse(OptionReader reader, string key)
    {
        if (reader.OptionalText(key) is not { } text)
            return null;
        try
        {
            var template = TextTemplate.Parse(text, reader.PlaceOf(key));
            if (!template.HasValues && key != "prompt")
                reader.Fault(key, Quote.Of(text), "a text with at least one {column}");
            return template;
        }
        catch (TemplateException error)
        {
            Tell(reader, key, error);
            return null;
        }
    }
}

/// <summary>Text with a row's values in it: <c>{{ title | string.downcase }}</c> in Scriban's language, <c>{title}</c>
/// for short.</summary>
public sealed class TextTemplate
{
    private readonly ParsedTemplate? _parsed; // null: the text stands for itself

    private TextTemplate(string text, ParsedTemplate? parsed) => (Text, _parsed) = (text, parsed);

    /// <summary>The template as written.</summary>
    public string Text { get; }

    /// <summary>The template read; null for a text that stands for itself.</summary>
    public ParsedTemplate? Parsed => _parsed;

    /// <summary>Whether any value of a row goes in.</summary>
    public bool HasValues =>
        _parsed is not null && (_parsed.UsesAll || _parsed.Names.Any(name => !TemplateFunctions.Names.Contains(name)));

    /// <summary>Parses a template.</summary>
    /// <param name="text">The text.</param>
    /// <param name="place">Where it is written, for messages.</param>
    /// <exception cref="TemplateException">Its syntax is wrong; it has all faults.</exception>
    public static TextTemplate Parse(string text, string place = "template") =>
        new(text, ParsedTemplate.Parse(text, place, shortForm: true));

    /// <summary>A text without values, in which braces are braces.</summary>
    public static TextTemplate Literal(string text) => new(text, null);

    /// <summary>Fills a row's values in.</summary>
    /// <exception cref="TemplateException">The template cannot be carried out with them.</exception>
    public string Render(TemplateEngine engine, ScriptObject row) =>
        _parsed is null ? Text : engine.Render(_parsed, row);
}
