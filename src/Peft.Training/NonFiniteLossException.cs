namespace Peft.Training;

/// <summary>Training met a loss or gradient that is not a finite number; nothing was changed by that step.</summary>
public sealed class NonFiniteLossException : Exception
{
    /// <summary>Says what was not finite, at which step, on which rows, and where the last good state is.</summary>
    public NonFiniteLossException(string what, int step, IEnumerable<string> rows, string? lastCheckpoint)
        : base($"step {step}: the {what} is not a finite number. Rows of the step: {Shorten(rows)}. " +
               (lastCheckpoint is null
                   ? "No checkpoint was written yet."
                   : $"The last good state is {lastCheckpoint}.") +
               " Train anew with a lower learning_rate or max_grad_norm, or look at the rows named.")
    {
    }

    private static string Shorten(IEnumerable<string> rows)
    {
        var all = rows.ToList();
        return string.Join(", ", all.Take(8)) + (all.Count > 8 ? $" and {all.Count - 8} more" : "");
    }
}
