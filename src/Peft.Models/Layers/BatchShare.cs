namespace Peft.Models.Layers;

/// <summary>The rows of a batch that one of several ranks computes: what is drawn, and what is averaged over the batch,
/// stays that of the whole.</summary>
/// <remarks>A loss on the whole batch's means is the same number on every rank. Its gradient there goes through the
/// rank's own rows alone, so that the sum of the ranks' gradients is that of the batch.</remarks>
/// <param name="wholeRows">Rows of the whole batch.</param>
/// <param name="rows">Which of them are here.</param>
/// <param name="ranks">How many ranks compute the batch.</param>
/// <param name="sum">Replaces the numbers of a contiguous float32 or float64 tensor by their sums over the
/// ranks.</param>
public sealed class BatchShare(long wholeRows, IReadOnlyList<long> rows, int ranks, Action<Tensor> sum)
{
    /// <summary>Rows of the whole batch.</summary>
    public long WholeRows => wholeRows;

    /// <summary>Draws for the whole batch and takes this rank's rows.</summary>
    /// <remarks>Shapes: [n·u, ..] for n rows here, u lines a row. Gradient: none.</remarks>
    /// <param name="shape">What is wanted here; the first dimension belongs to the rows.</param>
    /// <param name="draw">Draws a shape.</param>
    public Tensor Draw(long[] shape, Func<long[], Tensor> draw)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var lines = shape[0] / rows.Count;
        if (lines * rows.Count != shape[0])
            throw new ArgumentException($"{shape[0]} lines are not those of {rows.Count} rows", nameof(shape));
        long[] inner = [.. shape.Skip(1)];
        var whole = draw([wholeRows * lines, .. inner]);
        var own = torch.tensor(rows.ToArray(), [rows.Count], device: whole.device);
        return whole.reshape([wholeRows, lines, .. inner]).index_select(0, own).reshape(shape)
            .MoveToOuterDisposeScope();
    }

    /// <summary>The sum over the ranks.</summary>
    /// <remarks>Shapes: any. Gradient: to this rank's part.</remarks>
    public Tensor Sum(Tensor part)
    {
        using var scope = torch.NewDisposeScope();
        Tensor others;
        using (torch.no_grad())
        {
            var whole = part.detach().clone();
            sum(whole);
            others = whole - part;
        }
        return (part + others).MoveToOuterDisposeScope();
    }

    /// <summary>What depends on parameters alone, and so is on every rank: the same number, of its gradient one rank's
    /// part.</summary>
    /// <remarks>Shapes: any.</remarks>
    public Tensor Once(Tensor value)
    {
        using var scope = torch.NewDisposeScope();
        var part = value / ranks;
        return (part + (value - part).detach()).MoveToOuterDisposeScope();
    }
}
