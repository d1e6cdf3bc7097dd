namespace Peft.Models.Layers;

/// <summary>The rows of a batch that one of several ranks computes: what is drawn, averaged or chosen over the batch
/// stays that of the whole.</summary>
/// <remarks>A loss on the whole batch's means is the same number on every rank. Its gradient there goes through the
/// rank's own rows alone, so that the sum of the ranks' gradients is that of the batch. What sums is called by all
/// ranks in the same order.</remarks>
/// <param name="wholeRows">Rows of the whole batch.</param>
/// <param name="rows">Which of them are here.</param>
/// <param name="ranks">How many ranks compute the batch.</param>
/// <param name="sum">Replaces the numbers of a contiguous float32 or float64 tensor by their sums over the
/// ranks.</param>
public sealed class BatchShare(long wholeRows, IReadOnlyList<long> rows, int ranks, Action<Tensor> sum)
{
    /// <summary>Rows of the whole batch.</summary>
    public long WholeRows => wholeRows;

    /// <summary>A number that no other rank's share has.</summary>
    public long Own => rows[0];

    /// <summary>The shape of the whole batch's lines.</summary>
    /// <param name="shape">[n·u, ..] for n rows here, u lines a row.</param>
    /// <returns>[N·u, ..] for the N rows of the whole batch.</returns>
    public long[] WholeShape(ReadOnlySpan<long> shape)
    {
        var lines = shape[0] / rows.Count;
        if (lines * rows.Count != shape[0])
            throw new ArgumentException($"{shape[0]} lines are not those of {rows.Count} rows", nameof(shape));
        return [wholeRows * lines, .. shape[1..]];
    }

    /// <summary>Which of the whole batch's tokens are here, in its order.</summary>
    /// <remarks>Shapes: to [n·T] int64.</remarks>
    /// <param name="length">T.</param>
    /// <param name="device">Where.</param>
    public Tensor Tokens(long length, Device device)
    {
        using var scope = torch.NewDisposeScope();
        return ((Places(device) * length).unsqueeze(1) + torch.arange(length, torch.int64, device)).reshape(-1)
            .MoveToOuterDisposeScope();
    }

    /// <summary>This rank's lines of the whole batch's.</summary>
    /// <remarks>Shapes: [N·u, ..] to [n·u, ..].</remarks>
    public Tensor OwnOf(Tensor whole)
    {
        using var scope = torch.NewDisposeScope();
        return ByRow(whole, wholeRows).index_select(0, Places(whole.device)).reshape([-1, .. whole.shape[1..]])
            .MoveToOuterDisposeScope();
    }

    /// <summary>The lines of the whole batch, in its order.</summary>
    /// <remarks>Shapes: [n·u, ..] to [N·u, ..]. Gradient: none.</remarks>
    public Tensor WholeOf(Tensor part)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var own = ByRow(part.detach(), rows.Count);
        var whole = torch.zeros([wholeRows, .. own.shape[1..]], own.dtype, own.device)
            .index_add(0, Places(own.device), own, 1);
        sum(whole);
        return whole.reshape(WholeShape(part.shape)).MoveToOuterDisposeScope();
    }

    /// <summary>The lines of the whole batch, and which of them are real.</summary>
    /// <remarks>Shapes: [n·u, E], mask [n·u] bool or null to [N·u, E], [N·u] bool. Gradient: none.</remarks>
    public (Tensor Lines, Tensor Real) WholeOf(Tensor part, Tensor? mask)
    {
        using var off = torch.no_grad();
        using var scope = torch.NewDisposeScope();
        var real = mask?.to(part.dtype) ?? torch.ones([part.shape[0]], part.dtype, part.device);
        var whole = WholeOf(torch.cat([part.detach(), real.reshape(-1, 1)], 1));
        var lines = whole.narrow(1, 0, part.shape[1]).contiguous();
        return (lines.MoveToOuterDisposeScope(), whole.select(1, part.shape[1]).gt(0.5).MoveToOuterDisposeScope());
    }

    /// <summary>The sum over the ranks, for a loss on it that each rank computes.</summary>
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

    /// <summary>The sum over the ranks, for what the rows of each are computed with.</summary>
    /// <remarks>Shapes: any, contiguous. Gradient: that of all ranks' losses, to this rank's part.</remarks>
    public Tensor SumInside(Tensor part) => new Summed(sum).Apply(part);

    /// <summary>What depends on parameters alone, and so is on every rank: the same number, of its gradient one rank's
    /// part.</summary>
    /// <remarks>Shapes: any.</remarks>
    public Tensor Once(Tensor value)
    {
        using var scope = torch.NewDisposeScope();
        var part = value / ranks;
        return (part + (value - part).detach()).MoveToOuterDisposeScope();
    }

    private static Tensor ByRow(Tensor lines, long count) =>
        lines.reshape([count, lines.shape[0] / count, .. lines.shape[1..]]);

    private Tensor Places(Device device) => torch.tensor(rows.ToArray(), [rows.Count], device: device);

    private sealed class Summed(Action<Tensor> sum) : AutogradFunction
    {
        protected override Tensor[] Forward(Tensor?[] inputs) => [OfAll(inputs[0]!)];

        protected override Tensor?[] Backward(Tensor?[] gradients, Tensor?[] saved) => [OfAll(gradients[0]!)];

        private Tensor OfAll(Tensor part)
        {
            var whole = part.detach().contiguous().clone();
            sum(whole);
            return whole;
        }
    }
}
