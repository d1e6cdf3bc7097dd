namespace Peft.Formats.Templates;

/// <summary>Text that is printed without being escaped. Only for what the program itself makes: never for what a file or a model says.</summary>
/// <param name="Text">The text.</param>
public sealed record RawText(string Text)
{
    /// <inheritdoc/>
    public override string ToString() => Text;
}
