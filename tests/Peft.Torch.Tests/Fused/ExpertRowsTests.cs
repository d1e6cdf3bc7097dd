using System.Runtime.Intrinsics;
using Peft.Torch.Fused;

namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class ExpertRowsTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(1);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    // Tokens of one to three experts; none uses the last one.
    private Tensor Mask(long tokens, long experts)
    {
        var order = torch.rand([tokens, experts - 1], generator: _random).topk(3, 1).indexes;
        var kept = torch.randint(0, 2, [tokens, 3], generator: _random).to(torch.float32);
        kept.select(1, 0).fill_(1);
        return torch.zeros([tokens, experts]).scatter(1, order, kept).to(torch.@bool);
    }

    [Fact]
    public void Rows_lie_by_expert_in_the_order_of_the_tokens()
    {
        var mask = torch.tensor(new[] { true, false, true, false, false, true, true, false, true }).reshape(3, 3);

        var rows = ExpertRows.Of(mask, [3, 1]);

        Assert.Equal((5, 3, 3), (rows.Count, rows.Tokens, rows.Experts));
        Assert.Equal([0L, 2, 0, 1, 2], rows.Indices(torch.CPU).Tokens.data<long>().ToArray());
        Assert.Equal([0L, 6, 2, 5, 8], rows.Indices(torch.CPU).Cells.data<long>().ToArray());
        Assert.Equal([1, 4], rows.RowsOf(2).ToArray());
        Assert.Equal([(0, 0, 2), (1, 2, 0), (2, 2, 3)], rows.Spans());
        Assert.Equal([0L, 6, 2, 5, 8], rows.Places(null).data<long>().ToArray());
        Assert.Equal(
            [30L, 6, 32, 62, 8], rows.Places(torch.tensor([10L, 20, 2])).data<long>().ToArray()); // 3 token + expert
    }

    // The sizes leave tokens that are no whole chunk, tile or four, columns that are no whole block, and ranks that are
    // no four.
    [Theory]
    [InlineData(ScalarType.Float32, 67, 48, 80, 5, 4, 1e-5)]
    [InlineData(ScalarType.Float32, 300, 144, 1040, 8, 8, 1e-4)]
    [InlineData(ScalarType.Float32, 67, 48, 80, 5, 6, 1e-5)]
    [InlineData(ScalarType.BFloat16, 200, 48, 80, 5, 4, 0.05)]
    [InlineData(ScalarType.BFloat16, 200, 48, 80, 5, 3, 0.05)]
    [InlineData(ScalarType.BFloat16, 300, 144, 1040, 8, 8, 0.05)]
    public void Kernels_agree_with_what_is_composed(
        ScalarType dtype, long tokens, long inputs, long outputs, int experts, int ranks, double tolerance)
    {
        var mask = Mask(tokens, experts);
        var rows = ExpertRows.Of(mask, [tokens]);
        Tensor[] leaves =
        [
            Check.Leaf(_random, dtype, tokens, inputs), Check.Normal(_random, dtype, outputs, inputs) / 4,
            Check.Leaf(_random, ScalarType.Float32, experts * ranks, inputs),
            Check.Leaf(_random, ScalarType.Float32, outputs, experts * ranks),
            Check.Normal(_random, dtype, outputs), Check.Leaf(_random, dtype, tokens, inputs),
        ];
        // The kernels are for 512 bits; elsewhere both sides are composed.
        var (a, b) = rows.WithServedRank(leaves[2], leaves[3]);
        Assert.Equal(Vector512.IsHardwareAccelerated, rows.AreServed(leaves[0], a, b));
        Check.Same(
            t => F.expert_rows_linear(t[0], t[1], t[4], t[2], t[3], rows, 0.5),
            t => Composed.expert_rows_linear(t[0], t[1], t[4], t[2], t[3], rows, 0.5, null), leaves[..^1], tolerance);
        Check.Same(
            t => F.expert_rows_linear(t[0], t[1], null, t[2], t[3], rows, 0.5, t[5]),
            t => Composed.expert_rows_linear(t[0], t[1], null, t[2], t[3], rows, 0.5, t[5]), leaves, tolerance);

        var gates = (Check.Normal(_random, ScalarType.Float32, tokens, experts) * mask.to(torch.float32)).detach();
        leaves =
        [
            Check.Leaf(_random, dtype, rows.Count, inputs), leaves[1], leaves[2], leaves[3], gates.requires_grad_(),
            Check.Leaf(_random, dtype, rows.Count, inputs),
        ];
        Check.Same(
            t => F.expert_sum_linear(t[0], t[1], t[2], t[3], t[4], rows, 0.5),
            t => Composed.expert_sum_linear(t[0], t[1], t[2], t[3], t[4], rows, 0.5, null), leaves[..^1], tolerance);
        Check.Same(
            t => F.expert_sum_linear(t[0], t[1], t[2], t[3], t[4], rows, 0.5, t[5]),
            t => Composed.expert_sum_linear(t[0], t[1], t[2], t[3], t[4], rows, 0.5, t[5]), leaves, tolerance);
    }

    [Fact]
    public void Gradients_match_finite_differences()
    {
        var mask = Mask(6, 5);
        var rows = ExpertRows.Of(mask, [2, 3]);
        Tensor[] leaves =
        [
            Check.Leaf(_random, ScalarType.Float64, 2, 3, 4), Check.Leaf(_random, ScalarType.Float64, 10, 4),
            Check.Leaf(_random, ScalarType.Float64, 3, 10), Check.Leaf(_random, ScalarType.Float64, 2, 3, 4),
        ];
        var weight = Check.Normal(_random, ScalarType.Float64, 3, 4);
        Check.Gradients(t => F.expert_rows_linear(t[0], weight, null, t[1], t[2], rows, 1.7, t[3]), leaves);
        leaves =
        [
            Check.Leaf(_random, ScalarType.Float64, rows.Count, 4), leaves[1], leaves[2],
            Check.Leaf(_random, ScalarType.Float64, 6, 5), Check.Leaf(_random, ScalarType.Float64, rows.Count, 4),
        ];
        Check.Gradients(t => F.expert_sum_linear(t[0], weight, t[1], t[2], t[3], rows, 1.7, t[4]), leaves);
    }

    // Each expert as a layer of its own: the weight with its B A in it.
    [Fact]
    public void In_and_out_again_is_the_weighted_sum_of_whole_layers()
    {
        var (mask, gates) = (Mask(9, 5), Check.Normal(_random, ScalarType.Float64, 9, 5));
        var rows = ExpertRows.Of(mask, [3, 3]);
        Tensor New(params long[] shape) => Check.Normal(_random, ScalarType.Float64, shape);
        var (x, up, down) = (New(3, 3, 4), New(6, 4), New(4, 6));
        var (a, b, c, d) = (New(10, 4), New(6, 10), New(10, 6), New(4, 10));

        var inner = F.expert_rows_linear(x, up, null, a, b, rows, 0.5).tanh();
        var y = F.expert_sum_linear(inner, down, c, d, gates, rows, 0.5);

        var expected = torch.zeros([9, 4], ScalarType.Float64);
        for (var expert = 0; expert < 5; expert++)
        {
            Tensor Merged(Tensor weight, Tensor low, Tensor high) => weight
                + (high.narrow(1, expert * 2, 2).Times(low.narrow(0, expert * 2, 2)) * 0.5);
            var own = x.reshape(9, 4).Times(Merged(up, a, b).t()).tanh().Times(Merged(down, c, d).t());
            expected += own * (gates * mask.to(ScalarType.Float64)).select(1, expert).unsqueeze(1);
        }

        Assert.Equal([3, 3, 4], y.shape);
        Check.Near(expected.reshape(3, 3, 4), y, 1e-10);
    }

    [Fact]
    public void Shapes_that_do_not_meet_are_refused()
    {
        var rows = ExpertRows.Of(Mask(6, 5), [6]);
        var (weight, a, b) = (torch.zeros([3, 4]), torch.zeros([10, 4]), torch.zeros([3, 10]));

        Assert.Throws<ArgumentException>(
            () => F.expert_rows_linear(torch.zeros([7, 4]), weight, null, a, b, rows, 1));
        Assert.Throws<ArgumentException>(
            () => F.expert_rows_linear(
                torch.zeros([6, 4]), weight, null, torch.zeros([9, 4]), torch.zeros([3, 9]), rows, 1));
        Assert.Throws<ArgumentException>(
            () => F.expert_sum_linear(
                torch.zeros([rows.Count, 4]), weight, a, b, torch.zeros([6, 4]), rows, 1));
    }
}
