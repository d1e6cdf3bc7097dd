using Scriban;
using Scriban.Parsing;
using Scriban.Runtime;

namespace Peft.Formats.Templates;

/// <summary>The values that a template was given, below those that it assigns: it cannot change what it was given.</summary>
internal sealed class TemplateGlobals(ScriptObject values) : ScriptObject(StringComparer.Ordinal)
{
    public override bool Contains(string member) => base.Contains(member) || values.Contains(member);

    public override bool TryGetValue(TemplateContext? context, SourceSpan span, string member, out object? value) =>
        base.TryGetValue(context!, span, member, out value!) || values.TryGetValue(context!, span, member, out value!);
}
