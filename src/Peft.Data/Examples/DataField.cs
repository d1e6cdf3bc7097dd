namespace Peft.Data.Examples;

/// <summary>A further text made of each row.</summary>
/// <param name="Place">Where its template was written, for messages.</param>
/// <param name="Template">The template.</param>
public sealed record DataField(string Place, TextTemplate Template);
