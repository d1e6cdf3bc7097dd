namespace Peft.Formats.Templates;

/// <summary>One thing that is wrong in a template, at its place.</summary>
/// <param name="Line">Line in the template, from 1.</param>
/// <param name="Column">Column in that line, from 1.</param>
/// <param name="Found">What stands there.</param>
/// <param name="Allowed">What may stand there.</param>
/// <param name="Advice">What to do, where that is not plain from <paramref name="Allowed"/>.</param>
public sealed record TemplateFault(int Line, int Column, string Found, string Allowed, string? Advice = null)
{
    /// <summary>The place as <c>name:line:column</c>.</summary>
    public string At(string name) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{name}:{Line}:{Column}");

    /// <summary>The house's form for one error.</summary>
    internal string Describe(string name) => Fault.Text(At(name), Found, Allowed, Advice);
}
