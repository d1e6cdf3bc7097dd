using System.Collections;
using System.Text.Json;

namespace Peft.Evaluation.Reports;

/// <summary>What a place of the model is: a value, a list, or an object with names.</summary>
internal sealed class TemplateShape
{
    private readonly Type _type;

    private TemplateShape(Type type) => _type = type;

    /// <summary>The whole model.</summary>
    public static TemplateShape Root { get; } = new(typeof(ReportModel));

    /// <summary>A number.</summary>
    public static TemplateShape Number { get; } = new(typeof(long));

    /// <summary>True or false.</summary>
    public static TemplateShape Truth { get; } = new(typeof(bool));

    /// <summary>A text.</summary>
    public static TemplateShape Text { get; } = new(typeof(string));

    /// <summary>What the items of a list are; null where this is none.</summary>
    public TemplateShape? Item =>
        _type != typeof(string) && _type.IsGenericType && typeof(IEnumerable).IsAssignableFrom(_type)
        ? new(_type.GetGenericArguments()[0]) : null;

    /// <summary>Whether it can be printed.</summary>
    public bool IsValue => Item is null && _type.Namespace?.StartsWith(nameof(Peft), StringComparison.Ordinal) != true;

    /// <summary>Whether it is true or false.</summary>
    public bool IsTruth => _type == typeof(bool);

    /// <summary>Whether it is a text.</summary>
    public bool IsText => _type == typeof(string);

    /// <summary>Names of an object, in the order of its declaration.</summary>
    public IReadOnlyList<string> Names =>
        IsValue || Item is not null ? [] : [.. _type.GetProperties().Select(p => NameOf(p.Name))];

    /// <summary>What a name stands for, or null.</summary>
    public TemplateShape? Member(string name) =>
        IsValue || Item is not null
            || _type.GetProperties().FirstOrDefault(p => NameOf(p.Name) == name) is not { } property
                ? null : new(property.PropertyType);

    private static string NameOf(string property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property);
}

/// <summary>
/// The names that a template knows at a place, innermost first; a name without a shape is known and may be anything.
/// </summary>
internal sealed class TemplateScopes
{
    private static readonly string[] LoopNames =
    [
        "index", "rindex", "first", "last", "even", "odd", "changed", "length",
    ];

    private readonly List<Dictionary<string, TemplateShape?>> _scopes =
    [
        new(TemplateShape.Root.Names.Select(name =>
            KeyValuePair.Create<string, TemplateShape?>(name, TemplateShape.Root.Member(name)))),
    ];

    private int _loops;

    /// <summary>All names, those of the model last.</summary>
    public IReadOnlyList<string> Names => [.. Enumerable.Reverse(_scopes).SelectMany(scope => scope.Keys).Distinct()];

    /// <summary>What can be asked about a loop by <c>for.</c>, or nothing outside of one.</summary>
    public IReadOnlyList<string> OfLoop => _loops > 0 ? LoopNames : [];

    /// <summary>Whether a name is known, and what it is.</summary>
    public bool TryGet(string name, out TemplateShape? shape)
    {
        for (var i = _scopes.Count - 1; i >= 0; i--)
        {
            if (_scopes[i].TryGetValue(name, out shape))
                return true;
        }
        shape = null;
        return false;
    }

    /// <summary>Notes a name that the template makes; it stays until the template ends.</summary>
    public void Make(string name, TemplateShape? shape) => _scopes[0][name] = shape;

    /// <summary>Walks a part with names more.</summary>
    public void Within(IEnumerable<KeyValuePair<string, TemplateShape?>> names, bool isLoop, Action walk)
    {
        _scopes.Add(new(names.DistinctBy(name => name.Key)));
        _loops += isLoop ? 1 : 0;
        walk();
        _loops -= isLoop ? 1 : 0;
        _scopes.RemoveAt(_scopes.Count - 1);
    }
}
