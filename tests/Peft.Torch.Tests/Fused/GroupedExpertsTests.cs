using System.Runtime.Intrinsics;
using Peft.Torch.Fused;

namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class GroupedExpertsTests : IDisposable
{
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(1);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    private static readonly bool HasWideRegisters = Vector512.IsHardwareAccelerated;

    // Which of the experts each row uses: none at all for the first row, and no row uses the last expert.
    private Tensor Mask(long rows, long experts, long kept)
    {
        var order = torch.rand([rows, experts - 1], generator: _random).topk((int)kept, 1).indexes;
        var mask = torch.zeros([rows, experts]).scatter(1, order, torch.ones([rows, kept])).to(torch.@bool);
        mask[0].fill_(false);
        return mask;
    }

    // The sizes leave rows that are no whole chunk, tile or four, columns that are no whole block, ranks of 4 to 12.
    [Theory]
    [InlineData(ScalarType.Float32, 200, 48, 80, 5, 4, 2, 1e-5)]
    [InlineData(ScalarType.Float32, 515, 144, 1040, 8, 8, 2, 1e-5)]
    [InlineData(ScalarType.Float32, 67, 64, 16, 4, 12, 1, 1e-5)]
    [InlineData(ScalarType.Float16, 200, 48, 80, 5, 4, 2, 0.01)]
    [InlineData(ScalarType.BFloat16, 200, 48, 80, 5, 4, 2, 0.03)]
    [InlineData(ScalarType.BFloat16, 515, 144, 1040, 8, 8, 3, 0.03)]
    public void Selected_experts_alone_give_what_all_of_them_give_with_gates_of_zero(
        ScalarType dtype, long rows, long inputs, long outputs, int experts, int ranks, int kept, double tolerance)
    {
        var mask = Mask(rows, experts, kept);
        AssertServed(true, dtype, rows, inputs, outputs, experts, ranks, mask);
        var gates = (Check.Normal(_random, ScalarType.Float32, rows, experts) * mask.to(torch.float32)).detach();
        Tensor[] leaves =
        [
            Check.Leaf(_random, dtype, rows, inputs), Check.Leaf(_random, dtype, outputs, inputs),
            Check.Leaf(_random, dtype, outputs),
            Check.Leaf(_random, ScalarType.Float32, experts * ranks, inputs),
            Check.Leaf(_random, ScalarType.Float32, outputs, experts * ranks),
            gates.requires_grad_(), Check.Leaf(_random, dtype, rows, inputs),
        ];
        // Gates that are not selected get no gradient.
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5], 0.5, selected: mask),
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5] * mask.to(torch.float32), 0.5),
            leaves[..^1], tolerance);
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5], 0.5, t[6], mask),
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5] * mask.to(torch.float32), 0.5, t[6]),
            leaves, tolerance);
    }

    // Cut by blocks of columns for few threads, by experts too for many.
    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Gradients_of_factors_are_the_same_bits_for_any_number_of_threads(ScalarType dtype)
    {
        var mask = Mask(515, 8, 2);
        var gates = Check.Normal(_random, ScalarType.Float32, 515, 8) * mask.to(torch.float32);
        var (x, weight) = (Check.Normal(_random, dtype, 515, 144), Check.Normal(_random, dtype, 1040, 144));
        Tensor[] factors =
            [Check.Leaf(_random, ScalarType.Float32, 64, 144), Check.Leaf(_random, ScalarType.Float32, 1040, 64)];
        AssertServed(true, dtype, 515, 144, 1040, 8, 8, mask);
        if (!HasWideRegisters)
            return; // all experts as one matrix, whose sums have a part for each thread
        var expected = Gradients();
        foreach (var threads in new[] { 4, 64 })
        {
            Peft.Torch.Fused.Threads.Rehearsal = new Rehearsal(threads);
            try
            {
                Assert.All(Gradients().Zip(expected), pair => Check.SameBits(pair.First, pair.Second));
            }
            finally
            {
                Peft.Torch.Fused.Threads.Rehearsal = null;
            }
        }

        Tensor[] Gradients() => [.. Peft.Torch.Autograd.Gradients.grad(
            [F.lora_mixture_linear(x, weight, null, factors[0], factors[1], gates, 0.5, selected: mask).sum()],
            factors)];
    }

    // Compared with products in float64; bfloat16 with its own rounding.
    [Theory]
    [InlineData(ScalarType.Float32, 200, 48, 80, 4, 1e-5)]
    [InlineData(ScalarType.Float32, 515, 144, 1040, 8, 1e-5)]
    [InlineData(ScalarType.Float32, 64, 64, 16, 16, 1e-5)]
    [InlineData(ScalarType.Float16, 200, 48, 80, 12, 0.01)]
    [InlineData(ScalarType.BFloat16, 515, 144, 1040, 8, 0.03)]
    public void A_plain_lora_is_one_expert_of_every_row(
        ScalarType dtype, long rows, long inputs, long outputs, int rank, double tolerance)
    {
        var shape = new LowRankShape(rows, inputs, outputs, rank, 1, 1);
        Assert.Equal(
            HasWideRegisters, GroupedExperts.Of(shape, null, null, LinearKernel.ProductType(dtype)) is not null);
        Tensor[] leaves =
        [
            Check.Leaf(_random, dtype, rows, inputs), Check.Leaf(_random, dtype, outputs, inputs),
            Check.Leaf(_random, dtype, outputs), Check.Leaf(_random, ScalarType.Float32, rank, inputs),
            Check.Leaf(_random, ScalarType.Float32, outputs, rank), Check.Leaf(_random, dtype, rows, inputs),
        ];
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], null, 0.5),
            t => Wide(t[0], t[1], t[2], t[3], t[4], t[0], 0.5).to(dtype), leaves[..^1], tolerance);
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], null, 0.5, t[5]),
            t => Wide(t[0], t[1], t[2], t[3], t[4], t[5], 0.5).to(dtype), leaves, tolerance);
    }

    // Of decoding: any gates, and none, without turning b.
    [Theory]
    [InlineData(ScalarType.Float32, 1, 8, 2, 1e-5)]
    [InlineData(ScalarType.Float32, 5, 4, 5, 1e-5)]
    [InlineData(ScalarType.Float32, 16, 64, 1, 1e-5)]
    [InlineData(ScalarType.Float16, 3, 12, 3, 0.01)]
    [InlineData(ScalarType.BFloat16, 7, 8, 2, 0.03)]
    public void Few_rows_take_the_factors_as_they_lie(
        ScalarType dtype, long rows, int rank, int chosen, double tolerance)
    {
        const int Experts = 6, Inputs = 48, Outputs = 1040;
        var mask = Mask((int)rows, Experts, chosen);
        var all = rank * Experts;
        Tensor[] leaves =
        [
            Check.Leaf(_random, dtype, rows, Inputs), Check.Leaf(_random, dtype, Outputs, Inputs),
            Check.Leaf(_random, dtype, Outputs), Check.Leaf(_random, ScalarType.Float32, all, Inputs),
            Check.Leaf(_random, ScalarType.Float32, Outputs, all),
            Check.Leaf(_random, ScalarType.Float32, rows, Experts),
        ];
        foreach (var selected in new[] { mask, null })
        {
            var shape = new LowRankShape(rows, Inputs, Outputs, all, Experts, 1);
            Assert.Equal(
                HasWideRegisters,
                GroupedExperts.Of(shape, leaves[5], selected, LinearKernel.ProductType(dtype)) is not null);
            Check.Same(
                t => F.lora_mixture_linear(
                    t[0], t[1], t[2], t[3], t[4], selected is null ? t[5] : t[5] * selected, 0.5, selected: selected),
                t => WideMixture(t, selected, rank).to(dtype), leaves, tolerance);
        }
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], null, 0.5),
            t => Wide(t[0], t[1], t[2], t[3], t[4], t[0], 0.5).to(dtype), leaves[..^1], tolerance);
        var together = F.lora_mixture_linear(
            leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5] * mask, 0.5, selected: mask);
        // MKL, whose turn it is where registers are narrower, promises no bits.
        for (var row = 0L; HasWideRegisters && row < rows; row++)
        {
            var (x, gates, own) =
                (leaves[0].narrow(0, row, 1), leaves[5].narrow(0, row, 1), mask.narrow(0, row, 1));
            Check.SameBits(
                F.lora_mixture_linear(x, leaves[1], leaves[2], leaves[3], leaves[4], gates * own, 0.5, selected: own),
                together.narrow(0, row, 1));
        }
    }

    private static Tensor WideMixture(Tensor[] t, Tensor? selected, int rank)
    {
        var wide = ScalarType.Float64;
        var gates = selected is null ? t[5] : t[5] * selected;
        var low = torch.nn.functional.linear(t[0].to(wide), t[3].to(wide)) * gates.to(wide).repeat_interleave(rank, 1);
        return torch.nn.functional.linear(t[0].to(wide), t[1].to(wide), t[2].to(wide))
            + torch.nn.functional.linear(low, t[4].to(wide)) * 0.5;
    }

    private static Tensor Wide(
        Tensor x, Tensor weight, Tensor bias, Tensor a, Tensor b, Tensor loraInput, double scale)
    {
        var wide = ScalarType.Float64;
        var low = torch.nn.functional.linear(loraInput.to(wide), a.to(wide));
        return torch.nn.functional.linear(x.to(wide), weight.to(wide), bias.to(wide))
            + torch.nn.functional.linear(low, b.to(wide)) * scale;
    }

    [Fact]
    public void Stacked_products_serve_a_plain_lora_of_a_high_or_odd_rank_and_few_rows()
    {
        foreach (var (rows, rank) in new[] { (200L, 64L), (200, 6), (60, 8) })
            Assert.Null(GroupedExperts.Of(new LowRankShape(rows, 48, 80, rank, 1, 1), null, null, ScalarType.Float32));
    }

    [Theory]
    [InlineData(new[] { 0 })]
    [InlineData(new[] { 3 })]
    [InlineData(new[] { 4 })]
    [InlineData(new[] { 5 })]
    [InlineData(new[] { 6 })]
    public void Any_one_input_may_need_gradients(int[] needing)
    {
        var mask = Mask(130, 6, 2);
        Tensor[] inputs =
        [
            Check.Normal(_random, ScalarType.Float32, 130, 32), Check.Normal(_random, ScalarType.Float32, 64, 32),
            Check.Normal(_random, ScalarType.Float32, 64), Check.Normal(_random, ScalarType.Float32, 24, 32),
            Check.Normal(_random, ScalarType.Float32, 64, 24),
            Check.Normal(_random, ScalarType.Float32, 130, 6) * mask.to(torch.float32),
            Check.Normal(_random, ScalarType.Float32, 130, 32),
        ];
        foreach (var i in needing) inputs[i].requires_grad_();
        Check.Same(
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5], 0.5, t[6], mask),
            t => F.lora_mixture_linear(t[0], t[1], t[2], t[3], t[4], t[5] * mask.to(torch.float32), 0.5, t[6]),
            inputs, 1e-5);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void Zero_b_gives_the_base_bit_for_bit_and_a_row_does_not_depend_on_those_beside_it(ScalarType dtype)
    {
        var mask = Mask(300, 4, 1);
        var (x, w) = (Check.Normal(_random, dtype, 300, 32), Check.Normal(_random, dtype, 1008, 32));
        var (a, b) = (Check.Normal(_random, ScalarType.Float32, 16, 32), torch.zeros([1008, 16]));
        var gates = Check.Normal(_random, ScalarType.Float32, 300, 4) * mask.to(torch.float32);
        Check.SameBits(F.lora_mixture_linear(x, w, null, a, b, gates, 2, selected: mask), F.linear(x, w));
        Check.SameBits(F.lora_mixture_linear(x, w, null, a, b, null, 2), F.linear(x, w));
        b = Check.Normal(_random, ScalarType.Float32, 1008, 16);
        var all = F.lora_mixture_linear(x, w, null, a, b, gates, 2, selected: mask);
        var other = mask.clone();
        other.narrow(0, 0, 150).fill_(false);
        Check.SameBits(
            F.lora_mixture_linear(x, w, null, a, b, gates, 2, selected: other).narrow(0, 150, 150),
            all.narrow(0, 150, 150));
    }

    [Fact]
    public void Stacked_products_serve_where_most_experts_are_used_where_rows_are_few_and_where_sizes_do_not_fit()
    {
        AssertServed(false, ScalarType.Float32, 200, 48, 80, 5, 4, Mask(200, 5, 4));
        AssertServed(false, ScalarType.BFloat16, 200, 48, 80, 5, 4, Mask(200, 5, 4));
        AssertServed(false, ScalarType.Float32, 60, 48, 80, 5, 4, Mask(60, 5, 2));
        AssertServed(false, ScalarType.Float32, 200, 40, 80, 5, 4, Mask(200, 5, 2));
        AssertServed(false, ScalarType.Float32, 200, 48, 72, 5, 4, Mask(200, 5, 2));
        AssertServed(false, ScalarType.Float32, 200, 48, 80, 5, 6, Mask(200, 5, 2));
        AssertServed(false, ScalarType.Float64, 200, 48, 80, 5, 4, Mask(200, 5, 2));
    }

    [Fact]
    public void A_selection_that_does_not_meet_the_gates_is_refused()
    {
        var (x, w) = (torch.zeros([3, 4]), torch.zeros([2, 4]));
        var (a, b) = (torch.zeros([6, 4]), torch.zeros([2, 6]));
        string Fails(Tensor? gates, Tensor selected) => Assert.Throws<ArgumentException>(
            () => F.lora_mixture_linear(x, w, null, a, b, gates, 1, selected: selected)).Message;
        Assert.Equal(
            "selected Float32 [3, 2] does not meet gates [3, 2]; it is bool like gates",
            Fails(torch.zeros([3, 2]), torch.zeros([3, 2])));
        Assert.Equal(
            "selected Bool [3, 3] does not meet gates [3, 2]; it is bool like gates",
            Fails(torch.zeros([3, 2]), torch.zeros([3, 3]).to(torch.@bool)));
        Assert.Equal(
            "selected Bool [3, 2] does not meet gates (none); it is bool like gates",
            Fails(null, torch.zeros([3, 2]).to(torch.@bool)));
    }

    private static void AssertServed(
        bool expected, ScalarType dtype, long rows, long inputs, long outputs, int experts, int ranks, Tensor mask)
    {
        var shape = new LowRankShape(rows, inputs, outputs, experts * ranks, experts, 1);
        Assert.Equal(
            expected && HasWideRegisters,
            GroupedExperts.Of(shape, torch.zeros([rows, experts]), mask, LinearKernel.ProductType(dtype)) is not null);
    }
}
