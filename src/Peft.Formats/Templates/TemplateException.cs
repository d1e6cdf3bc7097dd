namespace Peft.Formats.Templates;

/// <summary>A template that cannot be read, or not be carried out. The message names the template, line and column; who has a
/// better place (a row of a file, a recipe's key) makes an own message of <see cref="Faults"/>.</summary>
public sealed class TemplateException : UserException
{
    internal TemplateException(string name, IReadOnlyList<TemplateFault> faults, Exception? inner = null, string? missing = null)
        : base(string.Join('\n', faults.Select(fault => fault.Describe(name))), inner ?? new FormatException("template"))
    {
        Name = name;
        Faults = faults;
        MissingValue = missing;
    }

    /// <summary>The template's name: a file, or a recipe's key.</summary>
    public string Name { get; }

    /// <summary>What is wrong, at least one: all faults of its syntax, or the first that was met while it was carried out.</summary>
    public IReadOnlyList<TemplateFault> Faults { get; }

    /// <summary>What was to be used and has no value (<c>row.title</c>); null where something else is wrong.</summary>
    public string? MissingValue { get; }
}
