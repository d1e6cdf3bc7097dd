using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>Finds the names that a template takes from outside, and those it makes itself.</summary>
internal sealed class TemplateNames : ScriptVisitor
{
    private readonly HashSet<string> _made = new(StringComparer.Ordinal) { "for", "while", "tablerow" };

    /// <summary>The uses of names, in the order of the text.</summary>
    public List<ScriptVariable> Uses { get; } = [];

    /// <summary>Whether all names are taken at once (<c>this</c>, <c>import</c>).</summary>
    public bool UsesAll { get; private set; }

    /// <summary>Those not made by the template.</summary>
    public IEnumerable<ScriptVariable> FromOutside => Uses.Where(use => !_made.Contains(use.Name));

    public override void Visit(ScriptVariableGlobal node) => Uses.Add(node);

    public override void Visit(ScriptMemberExpression node) => node.Target?.Accept(this);

    public override void Visit(ScriptNamedArgument node) => node.Value?.Accept(this);

    public override void Visit(ScriptObjectMember node) => node.Value?.Accept(this);

    public override void Visit(ScriptThisExpression node) => UsesAll = true;

    public override void Visit(ScriptImportStatement node)
    {
        UsesAll = true;
        base.Visit(node);
    }

    public override void Visit(ScriptAssignExpression node)
    {
        Made(node.Target);
        node.Value?.Accept(this);
        if (node.Target is not ScriptVariable)
            node.Target?.Accept(this);
    }

    public override void Visit(ScriptForStatement node)
    {
        Made(node.Variable);
        base.Visit(node);
    }

    public override void Visit(ScriptTableRowStatement node)
    {
        Made(node.Variable);
        base.Visit(node);
    }

    public override void Visit(ScriptCaptureStatement node)
    {
        Made(node.Target);
        base.Visit(node);
    }

    public override void Visit(ScriptFunction node)
    {
        Made(node.NameOrDoToken);
        foreach (var parameter in node.Parameters ?? [])
            Made(parameter.Name);
        base.Visit(node);
    }

    // A parameter's name is no use of it.
    public override void Visit(ScriptParameter node) => node.DefaultValue?.Accept(this);

    private void Made(ScriptNode? node)
    {
        if (node is ScriptVariable variable)
            _made.Add(variable.Name);
    }
}
