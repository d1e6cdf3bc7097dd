namespace Peft.Torch.Tests.Fused;

[Collection(FusedCollection.Name)]
public sealed class CausalAttentionTests : IDisposable
{
    private const double Scale = 0.6;
    private readonly DisposeScope _scope = torch.NewDisposeScope();
    private readonly Generator _random = new(4);

    public void Dispose()
    {
        _scope.Dispose();
        _random.Dispose();
    }

    /// <summary>The definition, key heads repeated.</summary>
    private static Tensor Composed(
        Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal, long offset, long? window, double? softcap)
    {
        var groups = q.size(1) / k.size(1);
        var (keys, values) = (k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1));
        var scores = q.Times(keys.transpose(2, 3)) * Scale;
        if (softcap is { } cap) scores = (scores / cap).tanh() * cap;
        if (mask is not null) scores = scores + mask;
        var (T, S) = (q.size(2), k.size(2));
        var hidden = new bool[T * S];
        for (long i = 0; i < T; i++)
        {
            for (long j = 0; j < S; j++)
                hidden[i * S + j] = (causal && j > offset + i) || (window is { } w && j <= offset + i - w);
        }
        scores = scores.masked_fill(torch.tensor(hidden, [T, S]), double.NegativeInfinity);
        return scores.softmax(-1).Times(values);
    }

    [Theory]
    [InlineData(2, 2, 4, 4, null, null)]
    [InlineData(4, 2, 3, 3, null, null)]
    [InlineData(4, 1, 2, 5, null, null)]
    [InlineData(2, 1, 5, 5, 2L, null)]
    [InlineData(2, 2, 3, 5, 3L, 1.5)]
    [InlineData(2, 1, 1, 6, null, 2.0)]
    public void Gradients_match_finite_differences(
        long heads, long keyHeads, long queries, long keys, long? window, double? softcap) =>
        Check.WithAndWithoutKernels(() =>
        {
            Tensor[] inputs =
            [
                Check.Leaf(_random, ScalarType.Float64, 2, heads, queries, 3),
                Check.Leaf(_random, ScalarType.Float64, 2, keyHeads, keys, 3),
                Check.Leaf(_random, ScalarType.Float64, 2, keyHeads, keys, 3),
            ];
            Check.Gradients(
                t => F.causal_attention(t[0], t[1], t[2], null, Scale, window: window, softcap: softcap), inputs);
            Check.Same(
                t => F.causal_attention(t[0], t[1], t[2], null, Scale, window: window, softcap: softcap),
                t => Composed(t[0], t[1], t[2], null, true, keys - queries, window, softcap), inputs, 1e-12);
        });

    [Theory]
    [InlineData(ScalarType.Float32, 200, 16, null, null, true, 3e-6)]
    [InlineData(ScalarType.Float32, 130, 16, 70L, null, true, 3e-6)]
    [InlineData(ScalarType.Float32, 64, 16, 10L, null, true, 3e-6)]
    [InlineData(ScalarType.Float32, 150, 48, 30L, 1.5, true, 6e-6)]
    [InlineData(ScalarType.Float32, 100, 80, null, 2.0, false, 8e-6)]
    [InlineData(ScalarType.Float32, 97, 112, 20L, null, false, 1e-5)]
    [InlineData(ScalarType.Float32, 17, 20, null, 1.5, true, 3e-6)]
    [InlineData(ScalarType.Float64, 130, 16, 70L, 1.5, true, 1e-12)]
    [InlineData(ScalarType.BFloat16, 70, 16, null, null, true, 0.03)]
    [InlineData(ScalarType.BFloat16, 200, 32, 140L, 1.5, true, 0.03)]
    [InlineData(ScalarType.BFloat16, 500, 16, null, null, true, 0.03)]
    [InlineData(ScalarType.Float16, 70, 16, null, null, true, 0.004)]
    public void Several_blocks_of_transposed_heads_give_the_composed_result(
        ScalarType dtype, long length, long size, long? window, double? softcap, bool causal, double tolerance)
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, 2, length, 4, size), Check.Leaf(_random, dtype, 2, length, 2, size),
            Check.Leaf(_random, dtype, 2, length, 2, size),
        ];
        var wide = dtype == ScalarType.Float64 ? dtype : ScalarType.Float32;
        Check.Same(
            t => F.causal_attention(
                t[0].transpose(1, 2), t[1].transpose(1, 2), t[2].transpose(1, 2), null, Scale, causal, window: window,
                softcap: softcap),
            t => Composed(
                t[0].transpose(1, 2).to(wide), t[1].transpose(1, 2).to(wide), t[2].transpose(1, 2).to(wide), null,
                causal, 0, window, softcap).to(dtype), inputs, tolerance);
    }

    // Query i sees keys [i - 1, i + 15) of twenty: the first 21 see some.
    [Theory]
    [InlineData(ScalarType.Float32, 16, 3e-6)]
    [InlineData(ScalarType.Float32, 12, 3e-6)]
    [InlineData(ScalarType.BFloat16, 16, 0.03)]
    public void Queries_behind_the_window_give_zeros_and_no_gradient(ScalarType dtype, long size, double tolerance)
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, dtype, 1, 2, 80, size), Check.Leaf(_random, dtype, 1, 2, 20, size),
            Check.Leaf(_random, dtype, 1, 2, 20, size),
        ];
        var mixed = F.causal_attention(inputs[0], inputs[1], inputs[2], null, Scale, queryOffset: 14, window: 16);
        var seeing = F.causal_attention(
            inputs[0].narrow(2, 0, 21), inputs[1], inputs[2], null, Scale, queryOffset: 14, window: 16);
        Check.Near(mixed.narrow(2, 0, 21), seeing, tolerance);
        Check.Near(mixed.narrow(2, 21, 59), torch.zeros([1, 2, 59, size]), 0);
        var gradients = Peft.Torch.Autograd.Gradients.grad([mixed.sum()], inputs);
        Check.Near(gradients[0].narrow(2, 21, 59), torch.zeros([1, 2, 59, size]), 0);
        foreach (var gradient in gradients) Assert.True(gradient.isfinite().all().item<bool>());
        var part = Peft.Torch.Autograd.Gradients.grad([seeing.sum()], inputs);
        for (var i = 0; i < 3; i++) Check.Near(gradients[i], part[i], tolerance);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 4)]
    [InlineData(2, 1)]
    public void An_additive_mask_is_broadcast(long batches, long heads) => Check.WithAndWithoutKernels(() =>
    {
        var mask = Check.Normal(_random, ScalarType.Float32, batches, heads, 1, 6);
        var hiding = mask.masked_fill(mask.gt(1), double.NegativeInfinity);
        hiding = torch.cat([torch.zeros([batches, heads, 1, 1]), hiding.narrow(3, 1, 5)], 3);
        Tensor[] inputs = [
            Check.Leaf(_random, ScalarType.Float32, 2, 4, 6, 8), Check.Leaf(_random, ScalarType.Float32, 2, 2, 6, 8),
            Check.Leaf(_random, ScalarType.Float32, 2, 2, 6, 8)];
        foreach (var causal in new[] { true, false })
        {
            Check.Same(
                t => F.causal_attention(t[0], t[1], t[2], hiding, Scale, causal),
                t => Composed(t[0], t[1], t[2], hiding, causal, 0, null, null), inputs, 3e-6);
        }
    });

    // Few queries have products of their own: of whole vectors of values, four at a time and the rest one by one.
    [Theory]
    [InlineData(ScalarType.Float32, 8, 1e-6)]
    [InlineData(ScalarType.Float32, 64, 2e-6)]
    [InlineData(ScalarType.Float32, 80, 2e-6)]
    [InlineData(ScalarType.BFloat16, 64, 0.02)]
    [InlineData(ScalarType.BFloat16, 80, 0.02)]
    public void Cached_decoding_gives_the_rows_of_the_whole_sequence(ScalarType dtype, int size, double tolerance)
    {
        var (q, k, v) = (Check.Normal(_random, dtype, 1, 4, 90, size), Check.Normal(_random, dtype, 1, 2, 90, size),
            Check.Normal(_random, dtype, 1, 2, 90, size));
        var scale = 1 / Math.Sqrt(size);
        var whole = F.causal_attention(q, k, v, null, scale, window: 40);
        foreach (var (start, count) in new[] { (0L, 90L), (10L, 1L), (20L, 66L), (30L, 3L), (84L, 5L), (89L, 1L) })
        {
            var seen = start + count;
            var part = F.causal_attention(
                q.narrow(2, start, count), k.narrow(2, 0, seen), v.narrow(2, 0, seen), null, scale, window: 40);
            Check.Near(part, whole.narrow(2, start, count), tolerance);
            Check.Near(F.causal_attention(q.narrow(2, start, count), k, v, null, scale, queryOffset: start, window: 40),
                whole.narrow(2, start, count), tolerance);
        }
    }

    [Fact]
    public void A_query_that_sees_no_key_gives_zeros_and_no_gradient() => Check.WithAndWithoutKernels(() =>
    {
        Tensor[] inputs = [
            Check.Leaf(_random, ScalarType.Float32, 2, 1, 3, 4), Check.Leaf(_random, ScalarType.Float32, 2, 1, 3, 4),
            Check.Leaf(_random, ScalarType.Float32, 2, 1, 3, 4)];
        var mask = torch.tensor(new[] { float.NegativeInfinity, 0, 0, 0, 0, 0 }, [2, 1, 1, 3]);
        var mixed = F.causal_attention(inputs[0], inputs[1], inputs[2], mask, Scale);
        Check.Near(mixed.select(0, 0).narrow(1, 0, 1), torch.zeros([1, 1, 4]), 0);
        var gradients = Peft.Torch.Autograd.Gradients.grad([mixed.sum()], inputs);
        Check.Near(gradients[0].select(0, 0).narrow(1, 0, 1), torch.zeros([1, 1, 4]), 0);
        foreach (var gradient in gradients) Assert.True(gradient.isfinite().all().item<bool>());
    });

    // Two rows of 9 tokens: segments of 4, 1 and 3, then padding; a segment of 6 after two tokens of padding, then one
    // token each.
    private static readonly long[] Segments = [0, 4, 4, 5, 5, 8, 11, 17, 17, 18];

    [Theory]
    [InlineData(null, null)]
    [InlineData(2L, null)]
    [InlineData(3L, 1.5)]
    public void Segments_of_a_row_are_as_sequences_alone(long? window, double? softcap) =>
        Check.WithAndWithoutKernels(() =>
    {
        Tensor[] inputs =
        [
            Check.Leaf(_random, ScalarType.Float64, 2, 4, 9, 3), Check.Leaf(_random, ScalarType.Float64, 2, 2, 9, 3),
            Check.Leaf(_random, ScalarType.Float64, 2, 2, 9, 3),
        ];
        Check.Gradients(
            t => F.causal_attention(
                t[0], t[1], t[2], null, Scale, window: window, softcap: softcap, segments: Segments), inputs);
        Check.Same(
            t => F.causal_attention(
                t[0], t[1], t[2], null, Scale, window: window, softcap: softcap, segments: Segments),
            t => OneByOne(t[0], t[1], t[2], Segments, window, softcap), inputs, 1e-12);
    });

    [Theory]
    [InlineData(ScalarType.Float32, null, 3e-6)]
    [InlineData(ScalarType.Float32, 50L, 3e-6)]
    [InlineData(ScalarType.BFloat16, null, 0.03)]
    public void Segments_longer_than_a_block_are_as_sequences_alone(ScalarType dtype, long? window, double tolerance)
    {
        // A row of 300: 130, 64, 65 and 41; a row of one sequence of 200 and padding.
        long[] segments = [0, 130, 130, 194, 194, 259, 259, 300, 300, 500];
        Tensor[] inputs = [
            Check.Leaf(_random, dtype, 2, 4, 300, 16), Check.Leaf(_random, dtype, 2, 2, 300, 16),
            Check.Leaf(_random, dtype, 2, 2, 300, 16)];
        Check.Same(
            t => F.causal_attention(t[0], t[1], t[2], null, Scale, window: window, segments: segments),
            t => OneByOne(
                t[0].to(ScalarType.Float32), t[1].to(ScalarType.Float32), t[2].to(ScalarType.Float32), segments, window,
                null).to(dtype), inputs, tolerance);
    }

    [Theory]
    [InlineData(
        new long[] { 0, 5, 4, 9 },
        "segment [4, 9) is not within one row of 2 rows of 9 tokens, or comes before the end of the last one (5)")]
    [InlineData(new long[] { 0, 10 }, "segment [0, 10)")]
    [InlineData(new long[] { 9, 19 }, "segment [9, 19)")]
    [InlineData(new long[] { 3, 3 }, "segment [3, 3)")]
    [InlineData(new long[] { 0, 4, 9 }, "found 3 numbers")]
    public void Segments_that_do_not_fit_are_named(long[] segments, string message)
    {
        var x = Check.Normal(_random, ScalarType.Float32, 2, 2, 9, 4);
        var error = Assert.Throws<ArgumentException>(
            () => F.causal_attention(x, x, x, null, Scale, segments: segments));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(
            () => F.causal_attention(x.narrow(2, 0, 3), x, x, null, Scale, segments: [0, 3]));
    }

    // Each segment through the definition, the rest zeros.
    private static Tensor OneByOne(Tensor q, Tensor k, Tensor v, long[] segments, long? window, double? softcap)
    {
        var length = q.size(2);
        var rows = new List<Tensor>();
        for (var row = 0L; row < q.size(0); row++)
        {
            var (parts, at) = (new List<Tensor>(), row * length);
            foreach (var pair in segments.Chunk(2).Where(pair => pair[0] / length == row))
            {
                parts.Add(Zeros(pair[0] - at));
                at = pair[1];
                parts.Add(Composed(Part(q), Part(k), Part(v), null, true, 0, window, softcap));

                Tensor Part(Tensor x) => x.narrow(0, row, 1).narrow(2, pair[0] - row * length, pair[1] - pair[0]);
            }
            parts.Add(Zeros((row + 1) * length - at));
            rows.Add(torch.cat([.. parts], 2));
        }
        return torch.cat([.. rows], 0);

        Tensor Zeros(long count) => torch.zeros([1, q.size(1), count, v.size(3)], q.dtype);
    }

    [Fact]
    public void Joined_heads_need_no_copy_and_wrong_shapes_are_named()
    {
        var x = Check.Normal(_random, ScalarType.Float32, 2, 4, 5, 8);
        var joined = F.causal_attention(x, x, x, null, Scale).transpose(1, 2);
        Assert.Equal(new long[] { 5 * 32, 32, 8, 1 }, joined.stride());
        var error = Assert.Throws<ArgumentException>(
            () => F.causal_attention(x, x.narrow(1, 0, 3), x.narrow(1, 0, 3), null, Scale));
        Assert.Contains("H a multiple of Hkv", error.Message, StringComparison.Ordinal);
    }
}
