using Peft.Formats.Configuration;

namespace Peft.Evaluation.Tasks;

/// <summary>Solved examples that stand before every prompt (key <c>shots:</c> of a task).</summary>
/// <param name="Count">How many; 0: none.</param>
/// <param name="Files">Where they come from; columns and templates are those of the task.</param>
/// <param name="Seed">Which rows are drawn; the same for every prompt.</param>
/// <param name="Separator">What stands behind each.</param>
public sealed record ShotOptions(int Count, IReadOnlyList<string> Files, long Seed, string Separator)
{
    /// <summary>No shots.</summary>
    public static ShotOptions None { get; } = new(0, [], 0, "\n\n");

    /// <summary>Reads the section.</summary>
    public static ShotOptions Read(OptionReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        var shots = new ShotOptions(
            reader.Integer("count", 0, 0, 100), reader.Texts("files", []), reader.Long("seed", 0), reader.Text("separator", None.Separator));
        if (shots.Count > 0 && shots.Files.Count == 0)
            reader.Fault("files", "missing", "the files that the shots are drawn from, other rows than those evaluated");
        return shots;
    }
}
