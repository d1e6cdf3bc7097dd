using Scriban;
using Scriban.Parsing;
using Scriban.Runtime;

namespace Peft.Formats.Templates;

/// <summary>The values that a template was given, below those that it assigns: it cannot change what it was given.</summary>
internal sealed class TemplateGlobals() : ScriptObject(StringComparer.Ordinal)
{
    public ScriptObject Given { get; set; } = [];

    public override bool Contains(string member) => base.Contains(member) || Given.Contains(member);

    public override bool TryGetValue(TemplateContext? context, SourceSpan span, string member, out object? value) =>
        base.TryGetValue(context!, span, member, out value!) || Given.TryGetValue(context!, span, member, out value!);
}
