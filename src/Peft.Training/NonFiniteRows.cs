using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;

namespace Peft.Training;

/// <summary>Finds the rows whose loss is not a finite number; looked for only when the loss of a batch is not.</summary>
internal static class NonFiniteRows
{
    /// <summary>Rows of a batch with a token whose loss is not finite; all of them where no single one is to blame.</summary>
    /// <remarks>Shapes: losses [M], learnedIndex [M] into the flattened [B*T] positions of the batch.</remarks>
    public static IEnumerable<RowId> Of(Tensor losses, Tensor learnedIndex, TokenBatch batch)
    {
        using var scope = torch.NewDisposeScope();
        var values = losses.detach().to(torch.CPU).to(ScalarType.Float64).data<double>().ToArray();
        var positions = learnedIndex.to(torch.CPU).data<long>().ToArray();
        var rows = new SortedSet<int>(); // by sequence: packed rows hold several
        for (var i = 0; i < values.Length; i++)
        {
            if (!double.IsFinite(values[i]))
                rows.Add(batch.SequenceAt(positions[i]));
        }
        return rows.Count == 0 ? batch.Rows : rows.Select(row => batch.Rows[row]);
    }
}
