using System.Globalization;
using Peft.Formats;

namespace Peft.Evaluation.Reports;

/// <summary>
/// Checks a template against the model before it is rendered: every name it asks for, in branches that are not taken too, every
/// block closed. All faults at once, each with file and line and what is known there.
/// </summary>
internal sealed class TemplateCheck
{
    private const int DeepestBlock = 32; // what renders them calls itself
    private static readonly string[] Blocks = ["if", "unless", "each", "with"];
    private static readonly string[] EachNames = ["@index", "@first", "@last", "@key"];

    private readonly TemplateFile _template;
    private readonly Faults _faults = new();
    private readonly Stack<Frame> _frames = new();

    private TemplateCheck(TemplateFile template)
    {
        _template = template;
        _frames.Push(new("", 0, TemplateShape.Root, null, IsContext: true));
    }

    /// <summary>Does nothing when there is nothing wrong.</summary>
    /// <exception cref="FaultsException">The template asks for what is not there, or its blocks do not fit together.</exception>
    public static void Run(TemplateFile template)
    {
        var check = new TemplateCheck(template);
        foreach (var tag in TemplateTag.Of(template.Text))
        {
            check.Check(tag);
            if (check._frames.Count > DeepestBlock)
            {
                check.Add(tag.Line, tag.Source, $"at most {DeepestBlock} blocks inside one another");
                check._frames.Clear();
                break;
            }
        }
        while (check._frames.Count > 1)
        {
            var open = check._frames.Pop();
            check.Add(open.Line, $"{{{{#{open.Block}}}}}", $"a {{{{/{open.Block}}}}} that closes it");
        }
        check._faults.ThrowIfAny($"template {template.Name}");
    }

    private void Check(TemplateTag tag)
    {
        if (tag.IsRaw)
            Add(tag.Line, ReportText.Cut(tag.Source, 40), "{{NAME}}", "what models wrote is never put in as markup");
        switch (tag.Kind)
        {
            case '!':
                Add(tag.Line, ReportText.Cut(tag.Source, 40), "a tag that is closed with }}");
                break;
            case '>':
                Add(tag.Line, tag.Source, "no partials: everything stands in one file");
                break;
            case '#':
                Open(tag);
                break;
            case '/':
                Close(tag);
                break;
            case 'e':
                if (_frames.Count == 1)
                    Add(tag.Line, tag.Source, "inside {{#if}}, {{#unless}}, {{#each}} or {{#with}}");
                else if (tag.Words is ["if" or "unless", var condition])
                    Resolve(tag, condition);
                else if (tag.Words.Count > 0)
                    Add(tag.Line, tag.Source, "{{else}} or {{else if NAME}}");
                break;
            default:
                Print(tag);
                break;
        }
    }

    private void Open(TemplateTag tag)
    {
        if (tag.Words.Count == 0 || !Blocks.Contains(tag.Words[0]))
        {
            Add(tag.Line, tag.Source, "a block: " + string.Join(", ", Blocks.Select(block => $"{{{{#{block} NAME}}}}")));
            _frames.Push(new(tag.Name, tag.Line, _frames.Peek().Shape, null, IsContext: false));
            return;
        }
        var (block, words) = (tag.Words[0], tag.Words);
        var parameter = words is [_, _, "as", "|", var name, "|"] ? name : null;
        if (words.Count != 2 && (parameter is null || block is "if" or "unless"))
            Add(tag.Line, tag.Source, $"{{{{#{block} NAME}}}}");
        var shape = words.Count > 1 ? Resolve(tag, words[1]) : null;
        if (block == "each" && shape is not null && shape.Item is null)
            Add(tag.Line, tag.Source, "a list", "print it with {{" + words[1] + "}}");
        _frames.Push(block switch
        {
            "each" => new(block, tag.Line, shape?.Item, parameter, IsContext: true),
            "with" => new(block, tag.Line, shape, parameter, IsContext: true),
            _ => new(block, tag.Line, _frames.Peek().Shape, null, IsContext: false),
        });
    }

    private void Close(TemplateTag tag)
    {
        var name = tag.Name;
        if (_frames.Count == 1)
            Add(tag.Line, tag.Source, "a block that is open: there is none");
        else if (_frames.Pop() is var open && open.Block != name)
            Add(tag.Line, tag.Source, $"{{{{/{open.Block}}}}}, which closes the one of line {open.Line}");
    }

    private void Print(TemplateTag tag)
    {
        if (tag.Words is [var helper, ..] && TemplateHelpers.Names.TryGetValue(helper, out var arguments))
        {
            if (tag.Words.Count - 1 < arguments.Fewest || tag.Words.Count - 1 > arguments.Most)
                Add(tag.Line, tag.Source, arguments.Usage);
            else if (helper == TemplateHelpers.Inline)
                CheckInline(tag);
            else if (tag.Words.Count > 1)
                Resolve(tag, tag.Words[1]);
            return;
        }
        if (tag.Words.Count != 1)
            Add(tag.Line, ReportText.Cut(tag.Source, 60), "one name, or a helper: " + string.Join(", ", TemplateHelpers.Names.Values.Select(h => h.Usage)));
        else if (Resolve(tag, tag.Words[0]) is { IsValue: false } shape)
            Add(tag.Line, tag.Source, shape.Item is null ? "a value, this has names: " + string.Join(", ", shape.Names) : "a value, this is a list",
                shape.Item is null ? null : $"use {{{{#each {tag.Words[0]}}}}}");
    }

    private void CheckInline(TemplateTag tag)
    {
        if (!TemplateHelpers.Inlined.Contains(tag.Words[1].Trim('"', '\'')))
            Add(tag.Line, tag.Source, "one of " + string.Join(", ", TemplateHelpers.Inlined.Select(name => $"\"{name}\"")));
    }

    // Null where a fault was noted, or where one further out already was.
    private TemplateShape? Resolve(TemplateTag tag, string path)
    {
        if (path.StartsWith('"') || path.StartsWith('\'') || double.TryParse(path, CultureInfo.InvariantCulture, out _) || path is "true" or "false")
            return TemplateShape.Value;
        var frames = _frames.ToList(); // the innermost first
        var rest = path;
        if (rest.StartsWith('@'))
        {
            if (EachNames.Contains(rest))
                return frames.Any(f => f.Block == "each") ? TemplateShape.Value : Unknown(tag, path, EachNames.Append("@root"), "inside {{#each}} only");
            if (rest != "@root" && !rest.StartsWith("@root.", StringComparison.Ordinal))
                return Unknown(tag, path, EachNames.Append("@root"), null);
            return Follow(tag, path, TemplateShape.Root, rest.Length > 6 ? rest[6..] : "");
        }
        var contexts = frames.Where(f => f.IsContext).ToList();
        while (rest.StartsWith("..", StringComparison.Ordinal))
        {
            if (contexts.Count < 2)
                return Unknown(tag, path, contexts[0].Shape?.Names ?? [], "there is nothing further out");
            contexts.RemoveAt(0);
            rest = rest.Length > 2 ? rest[3..] : "";
        }
        var first = rest.Split('.', '/')[0];
        if (frames.FirstOrDefault(f => f.Parameter is not null && f.Parameter == first) is { } named)
            return named.Shape is null ? null : Follow(tag, path, named.Shape, rest.Length > first.Length ? rest[(first.Length + 1)..] : "");
        return contexts[0].Shape is { } here ? Follow(tag, path, here, rest) : null;
    }

    private TemplateShape? Follow(TemplateTag tag, string path, TemplateShape shape, string rest)
    {
        if (rest is "" or "." or "this")
            return shape;
        foreach (var name in (rest.StartsWith("this.", StringComparison.Ordinal) ? rest[5..] : rest).Split('.', '/'))
        {
            if (shape.Member(name) is not { } member)
                return Unknown(tag, path, shape.Names, shape.Item is not null ? "a list: use {{#each}}" : null, name);
            shape = member;
        }
        return shape;
    }

    private TemplateShape? Unknown(TemplateTag tag, string path, IEnumerable<string> known, string? advice, string? name = null)
    {
        var names = known.ToList();
        var near = NearestName.Of(name ?? path, names) is { } found ? $"did you mean {found}?" : null;
        Add(tag.Line, $"'{ReportText.Cut(path, 60)}'", names.Count == 0 ? "known here: this" : "known here: " + string.Join(", ", names), advice ?? near);
        return null;
    }

    private void Add(int line, string found, string allowed, string? advice = null) =>
        _faults.Add(string.Create(CultureInfo.InvariantCulture, $"{_template.Name}:{line}"), found, allowed, advice);

    private sealed record Frame(string Block, int Line, TemplateShape? Shape, string? Parameter, bool IsContext);
}
