using Scriban.Parsing;
using Scriban.Syntax;

namespace Peft.Formats.Templates;

/// <summary>A fault of our own that goes up through Scriban.</summary>
internal sealed class SandboxException(SourceSpan span, TemplateFault fault, string? missing = null) : ScriptRuntimeException(span, fault.Found)
{
    public TemplateFault Fault => fault;

    public string? MissingValue => missing;
}
