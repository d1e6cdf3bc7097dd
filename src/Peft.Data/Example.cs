using Peft.Formats;

namespace Peft.Data;

/// <summary>One thing to learn, as text.</summary>
/// <param name="Prompt">What is given; empty for plain text.</param>
/// <param name="Answer">What is to be produced.</param>
/// <param name="Task">The task it belongs to.</param>
/// <param name="Row">Where it came from.</param>
public sealed record Example(string Prompt, string Answer, string? Task, RowId Row)
{
    /// <summary>The texts of <see cref="Examples.DataSetOptions.Fields"/>, in their order.</summary>
    public EquatableList<string> Fields { get; init; } = [];
}
