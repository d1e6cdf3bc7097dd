namespace Peft.Evaluation.Reports;

/// <summary>The names that a template knows at a place, innermost first; a name without a shape is known and may be anything.</summary>
internal sealed class TemplateScopes
{
    private static readonly string[] LoopNames = ["index", "rindex", "first", "last", "even", "odd", "changed", "length"];

    private readonly List<Dictionary<string, TemplateShape?>> _scopes =
        [new(TemplateShape.Root.Names.Select(name => KeyValuePair.Create<string, TemplateShape?>(name, TemplateShape.Root.Member(name))))];

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
        _scopes.Add(new(names));
        _loops += isLoop ? 1 : 0;
        walk();
        _loops -= isLoop ? 1 : 0;
        _scopes.RemoveAt(_scopes.Count - 1);
    }
}
