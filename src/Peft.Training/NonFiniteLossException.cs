namespace Peft.Training;

/// <summary>Training met a loss, gradient or trained value that is not a finite number; that step was not applied, or not kept.</summary>
public sealed class NonFiniteLossException : Exception
{
    private const int RowsShown = 8;

    /// <summary>Says what was not finite, at which step, on which rows, and where the last good state is.</summary>
    public NonFiniteLossException(string what, int step, IEnumerable<string> rows, string? lastCheckpoint)
        : this(Describe(what, step, rows), lastCheckpoint)
    {
    }

    /// <summary>The same with the first part ready, as <see cref="Describe"/> gives it.</summary>
    public NonFiniteLossException(string found, string? lastCheckpoint)
        : base(found + " " +
               (lastCheckpoint is null
                   ? "No checkpoint was written yet."
                   : $"The last good state is {lastCheckpoint}.") +
               " Train anew with a lower learning_rate or max_grad_norm, look at the rows named, or leave such steps out"
               + " (training.on_non_finite: skip).")
    {
    }

    /// <summary>What was not finite, at which step, on which rows.</summary>
    public static string Describe(string what, int step, IEnumerable<string> rows)
    {
        var all = rows.ToList();
        var named = string.Join("; ", all.Take(RowsShown)) + (all.Count > RowsShown ? $" and {all.Count - RowsShown} more" : "");
        return $"step {step}: the {what} is not a finite number. Rows: {named}.";
    }
}
