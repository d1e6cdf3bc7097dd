using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;

namespace Peft.Training;

/// <summary>
/// Training met a loss, gradient or trainable parameter that is not a finite number; that step was not applied, or not
/// kept.
/// </summary>
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
               " Train again with a lower learning_rate or max_grad_norm, look at the rows named, or skip such steps"
               + " (training.on_non_finite: skip).")
    {
    }

    /// <summary>What was not finite, at which step, on which rows.</summary>
    public static string Describe(string what, int step, IEnumerable<string> rows)
    {
        var all = rows.ToList();
        var named = string.Join("; ", all.Take(RowsShown))
            + (all.Count > RowsShown ? $" and {all.Count - RowsShown} more" : "");
        return $"step {step}: the {what} is not a finite number. Rows: {named}.";
    }
}

/// <summary>
/// Finds the rows whose loss is not a finite number; looked for only when the loss of a batch is not.
/// </summary>
internal static class NonFiniteRows
{
    /// <summary>
    /// Rows of a batch with a token whose loss is not finite; all of them where no single one is to blame.
    /// </summary>
    /// <remarks>Shapes: losses [M], learnedIndex [M] into the flattened [B*T] positions of the batch.</remarks>
    public static IEnumerable<RowId> Of(Tensor losses, Tensor learnedIndex, TokenBatch batch)
    {
        using var scope = torch.NewDisposeScope();
        var values = losses.detach().to(torch.CPU).to(ScalarType.Float64).Values<double>();
        var positions = learnedIndex.Values<long>();
        var rows = new SortedSet<int>(); // by sequence: packed rows hold several
        for (var i = 0; i < values.Length; i++)
        {
            if (!double.IsFinite(values[i]))
                rows.Add(batch.SequenceAt(positions[i]));
        }
        return rows.Count == 0 ? batch.Rows : rows.Select(row => batch.Rows[row]);
    }
}
