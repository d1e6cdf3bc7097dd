using Peft.Chat;
using Peft.Data.Tables;
using Peft.Formats;

namespace Peft.Data.Examples;

/// <summary>One thing to learn, as text.</summary>
/// <param name="Prompt">What is given; empty for plain text.</param>
/// <param name="Answer">What is to be produced.</param>
/// <param name="Task">The task it belongs to.</param>
/// <param name="Row">Where it came from.</param>
public sealed record Example(string Prompt, string Answer, string? Task, RowId Row)
{
    /// <summary>The texts of <see cref="DataSetOptions.Fields"/>, in their order.</summary>
    public EquatableList<string> Fields { get; init; } = [];

    /// <summary>What is to be learned where it is a conversation, in place of prompt and answer.</summary>
    public Conversation? Conversation { get; init; }
}

/// <summary>A row that cannot be used.</summary>
public sealed class DataRowException(RowId row, Fault fault) : UserException(fault.ToString())
{
    /// <summary>The row.</summary>
    public RowId Row => row;
}
