using Peft.Torch.Fused;

namespace Peft.Torch.Tests.Fused;

/// <summary>Trimmed and dropped matrices, their sums and their elected means, against the whole matrices composed of
/// TorchSharp's operations.</summary>
[Collection(FusedCollection.Name)]
public sealed class KeptEntriesTests : IDisposable
{
    private const double Density = 0.3;
    private readonly DisposeScope _scope = torch.NewDisposeScope();

    public void Dispose() => _scope.Dispose();

    /// <summary>Rows and columns: of less than a vector, of no whole number of blocks, vectors or tiles, of several
    /// blocks.</summary>
    public static TheoryData<int, int, int> Sizes => new()
    {
        { 1, 1, 1 }, { 7, 9, 3 }, { 5, 64, 2 }, { 30, 61, 5 }, { 64, 768, 16 }, { 67, 1000, 4 }, { 23, 2085, 3 },
    };

    // Factors of small whole numbers: products are exact, and most magnitudes are there many times.
    private static (Tensor Up, Tensor Down, double Scale)[] Factors(int rows, int columns, int rank, double step) =>
        [.. Enumerable.Range(0, 5).Select(i =>
        {
            using var random = Seeds.GeneratorFor(i, "factors");
            Tensor Some(params long[] shape) => step == 0
                ? torch.randn(shape, generator: random)
                : torch.randint(-3, 4, shape, ScalarType.Float32, generator: random) * step;
            return (Some(rows, rank), Some(rank, columns), i == 1 ? -0.5 : 1.0);
        })];

    private static readonly double[] Weights = [1, 0.25, -2, 1, 3];

    private static List<LazyMatrix> Lazy((Tensor Up, Tensor Down, double Scale)[] factors) =>
        [.. factors.Select(factor => new LazyMatrix(factor.Up, factor.Down, factor.Scale))];

    private static List<Tensor> Whole((Tensor Up, Tensor Down, double Scale)[] factors) =>
        [.. factors.Select(factor => factor.Up.mm(factor.Down) * factor.Scale)];

    // Step 1 of TIES over a whole matrix: a stable sort has the first of equals first.
    private static Tensor Trim(Tensor values, double density)
    {
        var k = (long)Math.Floor(density * values.numel());
        var (_, order) = values.abs().reshape(-1).sort(0, descending: true, stable: true);
        var mask = torch.zeros(values.numel()).index_fill_(0, order.narrow(0, 0, k), 1);
        return values * mask.reshape(values.shape);
    }

    private static Tensor Sum(IEnumerable<Tensor> kept) =>
        kept.Zip(Weights, (values, weight) => values * weight).Aggregate((sum, next) => sum + next);

    private static Tensor SignedMean(List<Tensor> kept)
    {
        var sign = kept.Aggregate((sum, next) => sum + next).ge(0).to(ScalarType.Float32) * 2 - 1;
        List<Tensor> agrees = [.. kept.Select(values => (values * sign).gt(0).to(ScalarType.Float32))];
        return Sum(kept.Zip(agrees, (values, mask) => values * mask))
            / agrees.Aggregate((sum, next) => sum + next).clamp(min: 1);
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Blocks_trim_elect_and_average_as_whole_matrices_do_with_equal_magnitudes_at_the_threshold(
        int rows, int columns, int rank)
    {
        var factors = Factors(rows, columns, rank, 0.25);
        List<Tensor> kept = [.. Whole(factors).Select(values => Trim(values, Density))];
        var lazy = Lazy(factors);

        var marks = F.keep_largest(lazy, Density);

        foreach (var (i, values) in kept.Index())
            Assert.True(values.SameAs(F.kept_sum([lazy[i]], marks.narrow(0, i, 1), [1])));
        Assert.True(Sum(kept).SameAs(F.kept_sum(lazy, marks, Weights)));
        Check.Near(F.signed_mean(lazy, marks, Weights), SignedMean(kept), 1e-6);
        Check.Near(F.signed_mean(lazy, null, Weights), SignedMean(Whole(factors)), 1e-6);
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Blocks_of_any_factors_trim_elect_and_average_as_whole_matrices_do(int rows, int columns, int rank)
    {
        // The same rows as those of a tensor: so what is at the threshold is the same.
        var factors = Factors(rows, columns, rank, 0);
        var lazy = Lazy(factors);
        List<Tensor> whole = [.. lazy.Select(matrix => F.kept_sum([matrix], null, [1]))];
        List<Tensor> kept = [.. whole.Select(values => Trim(values, Density))];

        var marks = F.keep_largest(lazy, Density);

        foreach (var (exact, values) in Whole(factors).Zip(whole))
            Check.Near(values, exact, 1e-5);
        Assert.True(marks.SameAs(F.keep_largest([.. whole.Select(values => new LazyMatrix(values))], Density)));
        Check.Near(F.kept_sum(lazy, marks, Weights), Sum(kept), 1e-5);
        Check.Near(F.signed_mean(lazy, marks, Weights), SignedMean(kept), 1e-5);
    }

    [Theory]
    [MemberData(nameof(Sizes))]
    public void Random_entries_are_those_of_one_draw_for_the_whole_matrix(int rows, int columns, int rank)
    {
        var factors = Factors(rows, columns, rank, 0);
        var whole = Whole(factors);
        List<Generator> Generators() => [.. factors.Index().Select(pair => Seeds.GeneratorFor(pair.Index, "drop"))];
        List<Tensor> kept = [.. whole.Zip(Generators(), (values, random) =>
            values * torch.rand(values.shape, generator: random).lt(Density) / Density)];
        List<LazyMatrix> matrices = [.. whole.Select(values => new LazyMatrix(values))];

        var marks = F.keep_random(Generators(), rows, columns, Density);

        Assert.Equal(0, (Sum(kept) - F.kept_sum(matrices, marks, Weights, Density)).abs().max().ToDouble(), 1e-5);
        Check.Near(F.signed_mean(matrices, marks, Weights, Density), SignedMean(kept), 1e-5);
    }

    [Fact]
    public void Results_are_the_same_bits_for_any_number_of_threads()
    {
        var lazy = Lazy(Factors(67, 1000, 4, 0));
        var threads = torch.get_num_threads();
        List<Tensor> Results(int number)
        {
            torch.set_num_threads(number);
            List<Generator> generators = [.. lazy.Index().Select(pair => Seeds.GeneratorFor(pair.Index, "drop"))];
            var (largest, random) = (F.keep_largest(lazy, 0.5), F.keep_random(generators, 67, 1000, 0.5));
            return [
                largest, random, F.signed_mean(lazy, largest, Weights), F.kept_sum(lazy, random, Weights, 0.5),
                F.signed_mean(lazy, random, Weights, 0.5)];
        }
        try
        {
            var alone = Results(1);
            foreach (var (one, other) in alone.Zip(Results(3)))
                Assert.True(one.SameAs(other));
        }
        finally
        {
            torch.set_num_threads(threads);
        }
    }

    [Fact]
    public void Of_equal_magnitudes_the_first_are_kept_and_zeros_count_as_entries()
    {
        Tensor Trimmed(double density, params float[] values)
        {
            LazyMatrix[] one = [new(torch.tensor(values, [values.Length / 5, 5]))];
            return F.kept_sum(one, F.keep_largest(one, density), [1]).reshape(-1);
        }

        Assert.Equal([1f, 0f, 2f, -1f, 0f], Trimmed(0.6, 1, 0, 2, -1, 1).data<float>().ToArray());
        Assert.Equal([0f, 0f, 3f, 0f, 0f, 0f, -1f, 0f, 0f, 0f],
            Trimmed(0.5, 0, 0, 3, 0, 0, 0, -1, 0, 0, 0).data<float>().ToArray());
        Assert.Equal([0f, 0f, 0f, 0f, 0f], Trimmed(0.19, 1, 2, 3, 4, 5).data<float>().ToArray());
        Assert.Equal([1f, 2f, 3f, 4f, -5f], Trimmed(1, 1, 2, 3, 4, -5).data<float>().ToArray());
    }

    [Fact]
    public void An_elected_sign_counts_trimmed_values_and_the_divisor_counts_matrices()
    {
        LazyMatrix[] matrices = [
            new(torch.tensor(new[] { 1f, -3f, 2f, 0f }, [1, 4])), new(torch.tensor(new[] { 2f, 1f, -2f, 0f }, [1, 4]))];

        Assert.Equal(
            [(1f * 4 + 2) / 2, -3f * 4, 2f * 4, 0f],
            F.signed_mean(matrices, null, [4, 1]).reshape(-1).data<float>().ToArray());
    }

    [Fact]
    public void What_does_not_fit_together_is_refused()
    {
        LazyMatrix[] two = [new(torch.zeros(2, 3)), new(torch.zeros(3, 2))];
        LazyMatrix[] one = [two[0]];

        Assert.Throws<ArgumentException>(() => F.keep_largest(two, 0.5));
        Assert.Throws<ArgumentException>(() => F.keep_largest([], 0.5));
        Assert.Throws<ArgumentException>(() => F.kept_sum(one, null, [1, 1]));
        Assert.Throws<ArgumentException>(() => F.kept_sum(one, torch.zeros(1, 2, 2, dtype: ScalarType.Int16), [1]));
        Assert.Throws<ArgumentException>(() => new LazyMatrix(torch.zeros(2, 3), torch.zeros(4, 2), 1));
    }
}
