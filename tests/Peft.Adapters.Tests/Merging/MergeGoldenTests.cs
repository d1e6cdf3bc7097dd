using Peft.Adapters.Merging;

namespace Peft.Adapters.Tests.Merging;

/// <summary>The merging cases of secondary.json and flylora.json, to 1e-5, and what the methods promise beside
/// them.</summary>
public sealed class MergeGoldenTests : TensorTests
{
    private const string File = "secondary.json";

    /// <summary>Adapters stacked as golden files hold them, as inputs of one module.</summary>
    public static MergeInputs Inputs(Tensor down, Tensor up, double[] weights, double[] scales) => new(
        "m", up.shape[1], down.shape[2], weights.Length,
        [.. weights.Select(
            (weight, i) => new MergeInput(i, $"a{i}", weight, scales[i], down.select(0, i), up.select(0, i)))]);

    [Fact]
    public void Element_by_element()
    {
        var golden = Golden.Case(File, "merge_task_arithmetic_ties_dare");
        var (t, weights, mask) = (
            golden.Input("t"), golden.Input("weights").data<float>().ToArray(), golden.Input("dare_mask"));
        var options = new MergeOptions { Density = golden.Parameter("density") };
        List<TaskMatrix> tasks = [
            .. weights.Select((weight, i) => new TaskMatrix($"{i}", weight, new LazyMatrix(t.select(0, i))))];

        Golden.Near(golden.Expected("task_arithmetic"), Pruning.WeightedSum(tasks));
        Golden.Near(golden.Expected("ties"), new TiesMerge().Combine(tasks, options));
        Golden.Near(golden.Expected("magnitude_prune"), new MagnitudePruneMerge().Combine(tasks, options));
        var trimmed = Pruning.Trimmed(tasks, golden.Parameter("density"));
        List<TaskMatrix> equal = [.. tasks.Select(task => task with { Weight = 1 })];
        Golden.Near(
            golden.Expected("elected_sign"),
            Pruning.WeightedSum(equal, trimmed).ge(0).to(torch.float32) * 2 - 1);
        Assert.True(
            (Pruning.SignedMean(equal, trimmed) * golden.Expected("elected_sign")).ge(0).all().item<bool>());
        Golden.Near(
            golden.Expected("dare_linear"),
            Pruning.WeightedSum(tasks, new Pruned(Marks(mask), golden.Parameter("density"))));
    }

    [Fact]
    public void Low_rank_factors()
    {
        var golden = Golden.Case(File, "merge_lora_linear_cat_svd");
        double[] weights = [.. golden.Input("weights").data<float>().ToArray()], scales = [
            .. golden.Input("scalings").data<float>().ToArray()];
        var inputs = Inputs(golden.Input("A"), golden.Input("B"), weights, scales);
        var plain = Inputs(golden.Input("A"), golden.Input("B"), [1, 1], [1, 1]);
        var options = new MergeOptions { Weights = [.. weights], Rank = (int)golden.Parameter("svd_rank") };

        var linear = new LinearMerge().Merge(inputs, options);
        var cat = new CatMerge().Merge(inputs, options);

        Golden.Near(golden.Expected("linear_A"), linear.Down);
        Golden.Near(golden.Expected("linear_B"), linear.Up);
        Golden.Near(golden.Expected("linear_delta"), linear.Product());
        Golden.Near(golden.Expected("cat_A"), cat.Down);
        Golden.Near(golden.Expected("cat_B"), cat.Up);
        Golden.Near(golden.Expected("cat_delta"), cat.Product());
        Golden.Near(
            golden.Expected("exact_delta"), new TaskArithmeticMerge().Merge(inputs, options with { Rank = null })
            .Product());
        Golden.Near(golden.Expected("singular_values"), LowRank.Svd(cat).S.narrow(0, 0, 3));
        Golden.Near(golden.Expected("svd_delta"), new SvdMerge().Merge(inputs, options).Product());
        Golden.Near(golden.Expected("svd_delta"), LowRank.Truncate(golden.Expected("exact_delta"), 2).Product());
        Golden.Near(
            golden.Expected("lorahub_delta"), new LoraHubMerge()
                .Merge(Inputs(golden.Input("A"), golden.Input("B"), weights, [1, 1]), options).Product());
        Golden.Near(
            golden.Expected("uniform_outer_average_delta"), new AverageMerge().Merge(plain, new MergeOptions())
            .Product());
        Golden.Near(
            golden.Expected("uniform_factor_average_delta"), new AverageMerge()
                .Merge(plain, new MergeOptions { Factors = true }).Product());
    }

    [Fact]
    public void FlyLoras_of_different_seeds_add_up_by_their_updates()
    {
        var golden = Golden.Case("flylora.json", "merging");
        var scale = golden.Parameter("alpha") / golden.Parameter("r");
        MergeInputs Fly(string down, string other) => Inputs(
            torch.stack([golden.Input(down), golden.Input(other)]), torch.stack(
                [golden.Input("B1"), golden.Input("B2")]), [1, 1], [scale, scale]);
        LowRankUpdate Average(MergeInputs inputs, bool factors) =>
            new AverageMerge().Merge(inputs, new MergeOptions { Factors = factors });

        Golden.Near(golden.Expected("mean_of_dense_updates"), Average(Fly("A1", "A2"), false).Product());
        Golden.Near(golden.Expected("tensorwise_mean_dense"), Average(Fly("A1", "A2"), true).Product());
        Golden.Near(golden.Expected("shared_A_mean_of_dense"), Average(Fly("A1", "A1"), false).Product());
        Golden.Near(golden.Expected("shared_A_tensorwise_dense"), Average(Fly("A1", "A1"), true).Product());
        var similarity = new ExpertSimilarity(2);
        var inputs = Fly("A1", "A2");
        similarity.Add(inputs.Present, torch.ones([2, 8]));
        var norms = inputs.Present.Select(input => input.Up.mm(input.Down).norm().ToDouble()).ToList();
        Assert.Equal(
            golden.ExpectedNumber("frobenius_inner_product"), similarity.OfUpdates(0, 1) * norms[0] * norms[1], 1e-5);
        Assert.Equal(1, similarity.OfVectors(0, 1), 1e-5);
    }

    [Fact]
    public void A_truncation_is_the_best_of_its_rank_whichever_way_it_is_computed()
    {
        var update = new LowRankUpdate(Random("down", 6, 9), Random("up", 12, 6));

        var (_, s, _) = LowRank.Svd(update);
        var narrow = LowRank.Truncate(update, 4);
        var wide = LowRank.Truncate(update.Product(), 4);
        var tall = LowRank.Truncate(update.Product().t(), 4);

        var lost = Math.Sqrt(s.narrow(0, 4, 2).pow(2).sum().ToDouble());
        Assert.Equal(lost, (update.Product() - narrow.Product()).norm().ToDouble(), 1e-4);
        Golden.Near(narrow.Product(), wide.Product(), 1e-4);
        Golden.Near(narrow.Product().t(), tall.Product(), 1e-4);
        Assert.Equal([4, 9], narrow.Down.shape);
        Assert.Equal([12, 15], LowRank.Truncate(update, 15).Up.shape);
        Golden.Near(update.Product(), LowRank.Truncate(update, 15).Product(), 1e-4);
    }

    [Theory]
    [InlineData(0.01)]
    [InlineData(0.37)]
    [InlineData(1.0)]
    public void Trimming_keeps_the_share_asked_for(double density)
    {
        var values = Random("values", 40, 30);

        var kept = Math.Floor(density * 1200);

        var smallest = values.abs().reshape(-1).sort(0, descending: true).Values.data<float>().ToArray()[(int)kept - 1];
        Assert.True(Trim(values, density).SameAs(values * values.abs().ge(smallest)));
        Assert.Equal(kept, Trim(values, density).ne(0).to(torch.float32).sum().ToDouble());
        Assert.Equal(0, Trim(values, 1e-6).abs().sum().ToDouble());
        Assert.Equal(
            [1f, 0f, 2f, 1f, 0f], Trim(torch.tensor(new[] { 1f, 0f, 2f, 1f, 1f }, [1, 5]), 0.6).data<float>()
            .ToArray());
    }

    [Fact]
    public void A_drop_belongs_to_its_seed_and_adapter_and_keeps_the_mean()
    {
        var values = torch.ones([200, 200]);
        Tensor Drop(string stream, long seed)
        {
            TaskMatrix[] one = [new(stream, 1, new LazyMatrix(values))];
            return Pruning.WeightedSum(one, Pruning.Dropped(one, 0.25, seed));
        }

        Assert.True(Drop("a", 1).SameAs(Drop("a", 1)));
        Assert.False(Drop("a", 1).SameAs(Drop("b", 1)));
        Assert.False(Drop("a", 1).SameAs(Drop("a", 2)));
        Assert.InRange(Drop("a", 1).mean().ToDouble(), 0.95, 1.05);
        Assert.Equal([0f, 4f], Drop("a", 1).data<float>().ToArray().Distinct().Order());
    }

    [Fact]
    public void A_negative_weight_subtracts_in_every_method_that_adds()
    {
        var (down, up) = (Random("down", 1, 3, 5), Random("up", 1, 4, 3));
        var inputs = Inputs(down, up, [-1], [2]);
        var expected = up.select(0, 0).matmul(down.select(0, 0)) * -2;
        var options = new MergeOptions { Weights = [-1], Density = 1 };

        foreach (
            var name in new[] {
                "linear", "cat", "svd", "task-arithmetic", "ties", "dare-linear", "dare-ties", "magnitude-prune",
                "core-ties", "core-tsv", "knots-ties", "lorahub-updates" })
            Golden.Near(expected, ((StaticMerge)MergeCatalog.Find(name)!).Merge(inputs, options).Product(), 1e-4);
    }

    [Fact]
    public void Every_static_method_gives_the_rank_that_it_says()
    {
        var inputs = Inputs(Random("down", 3, 4, 9), Random("up", 3, 7, 4), [1, 1, 1], [1, 1, 1]);
        var sizes = new MergeSizes(7, 9, [4, 4, 4]);
        foreach (var method in MergeCatalog.Entries.OfType<StaticMerge>())
        {
            foreach (
                var options in new[] {
                    new MergeOptions(), new MergeOptions { Rank = 5 },
                    new MergeOptions { Factors = method.KnowsFactors } })
            {
                var merged = method.Merge(inputs, options);

                Assert.Equal([method.RankOf(sizes, options), 9], merged.Down.shape);
                Assert.Equal([7, method.RankOf(sizes, options)], merged.Up.shape);
            }
        }
    }

    private static Tensor Trim(Tensor values, double density)
    {
        TaskMatrix[] one = [new("", 1, new LazyMatrix(values))];
        return Pruning.WeightedSum(one, Pruning.Trimmed(one, density));
    }

    // Masks of matrices with at most 16 columns, as the bits that sums take.
    private static Tensor Marks(Tensor mask) =>
        (mask * torch.pow(2, torch.arange(mask.shape[2], ScalarType.Float32))).sum(2, keepdim: true).to(torch.int16);

    private static Tensor Random(string name, params long[] shape) =>
        torch.randn(shape, generator: Seeds.GeneratorFor(5, name));
}
