using Peft.Data;
using Peft.Data.Batches;
using Peft.Data.Tables;
using Peft.Data.Tokens;

namespace Peft.Training.Tests;

public sealed class BatchTensorsTests
{
    private static readonly RowId Row = new("f", 1);

    [Fact]
    public void A_padded_batch_becomes_tensors()
    {
        var batch = TokenBatch.Of(
            [
                new TokenSequence([1, 5, 6, 7], 2, 2, Row, 0),
                new TokenSequence([1, 8], 1, 0, Row, 0),
            ], padId: 9);
        using var tensors = BatchTensors.From(batch, torch.CPU);

        Assert.Equal([2, 4], tensors.Ids.shape);
        Assert.Equal(ScalarType.Int64, tensors.Ids.dtype);
        Assert.Equal([1, 5, 6, 7, 1, 8, 9, 9], tensors.Ids.data<long>().ToArray());
        // Position 1 predicts 6, position 2 predicts 7; in the second row (from 4 on) position 0 predicts 8.
        Assert.Equal([1, 2, 4], tensors.LearnedIndex.data<long>().ToArray());
        Assert.Equal([6, 7, 8], tensors.LearnedTargets.data<long>().ToArray());
        Assert.Equal([2, 0], tensors.TaskIds.data<long>().ToArray());
        Assert.Equal([2, 4], tensors.TokenMask!.shape);
        Assert.Equal([true, true, true, true, true, true, false, false], tensors.TokenMask.data<bool>().ToArray());
    }

    [Fact]
    public void Rows_of_one_length_need_no_mask()
    {
        using var tensors = BatchTensors.From(
            TokenBatch.Of([new([1, 2], 1, 0, Row, 0), new([3, 4], 1, 0, Row, 0)], 0), torch.CPU);
        Assert.Null(tensors.TokenMask);
    }

    [Fact]
    public void A_batch_without_learned_tokens_has_empty_lists()
    {
        using var tensors = BatchTensors.From(TokenBatch.Of([new([1, 2, 3], 3, 0, Row, 0)], 0), torch.CPU);
        Assert.Equal([0], tensors.LearnedIndex.shape);
        Assert.Equal([0], tensors.LearnedTargets.shape);
    }

    [Fact]
    public void Disposing_frees_every_tensor()
    {
        var before = LiveTensors.Settled();
        BatchTensors.From(TokenBatch.Of([new([1, 2, 3], 1, 0, Row, 0), new([1, 2], 1, 0, Row, 0)], 0), torch.CPU)
            .Dispose();
        LiveTensors.AssertNoMoreThan(before);
    }
}
