using Peft.Data;
using Peft.Data.Tables;

namespace Peft.Evaluation.Tasks;

/// <summary>One question.</summary>
/// <param name="Index">Its number among the task's rows, from 0.</param>
/// <param name="Source">Where it came from.</param>
/// <param name="Prompt">What is given to the model, shots included; empty for plain text.</param>
/// <param name="Answer">What is expected; of plain text, the text.</param>
public sealed record TaskRow(int Index, RowId Source, string Prompt, string Answer)
{
    /// <summary>What may follow the prompt; choices that a row lacks (empty texts) are null.</summary>
    public IReadOnlyList<string?> Choices { get; init; } = [];

    /// <summary>What stands between the prompt and each choice.</summary>
    public IReadOnlyList<string> Contexts { get; init; } = [];

    /// <summary>Index of the expected choice; -1 where the answer is no label (text, numbers between labels).</summary>
    public int Gold { get; init; } = -1;

    /// <summary>The text before a choice.</summary>
    public string ContextOf(int choice) => Contexts.Count == 0 ? Prompt : Prompt + Contexts[choice];

    /// <summary>Bytes of a choice in UTF-8, without white space at its start, as the harness normalises.</summary>
    public int BytesOf(int choice) => System.Text.Encoding.UTF8.GetByteCount(Choices[choice]!.AsSpan().TrimStart());
}
