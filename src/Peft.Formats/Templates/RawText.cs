namespace Peft.Formats.Templates;

/// <summary>Text that is printed without being escaped.</summary>
internal sealed record RawText(string Text)
{
    public override string ToString() => Text;
}
