using Peft.Adapters.Merging;

namespace Peft.Adapters.Tests.Merging;

/// <summary>The merging cases of second.json, to 1e-5, and what these merges promise beside them.</summary>
public sealed class CoreSpaceGoldenTests : TensorTests
{
    private const string File = "second.json";

    private static MergeInputs Inputs(IReadOnlyList<Tensor> downs, IReadOnlyList<Tensor> ups, double[]? scales = null)
        => new("m", ups[0].shape[0], downs[0].shape[1], downs.Count, [.. downs.Zip(ups).Select(
            (pair, i) => new MergeInput(i, $"a{i}", 1, scales?[i] ?? 1, pair.First, pair.Second))]);

    // Whole matrices as adapters of full rank: their core space is the full one, but for its bases.
    private static MergeInputs Whole(Tensor matrices) => Inputs(
        [.. Enumerable.Range(0, (int)matrices.shape[0]).Select(i => matrices.select(0, i))],
        [.. Enumerable.Range(0, (int)matrices.shape[0]).Select(_ => torch.eye(matrices.shape[1]))]);

    private static Tensor Merged(string method, MergeInputs inputs, MergeOptions? options = null)
    {
        var merge = (StaticMerge)MergeCatalog.Find(method)!;
        return merge.Prepared(() => [inputs], options ?? new()).Merge(inputs, options ?? new()).Product();
    }

    [Fact]
    public void Core_space_holds_every_update_and_merges_by_any_rule()
    {
        var golden = Golden.Case(File, "core_space_merge");
        var inputs = Inputs(golden.Inputs("A"), golden.Inputs("B"), golden.Parameters("scalings"));
        var options = new MergeOptions { Lambda = golden.Parameter("lam") };

        var space = CoreSpace.Of(inputs);

        foreach (var (input, core, values) in inputs.Present.Zip(
            space.Cores, golden.Expected("core_singular_values").unbind(0)))
        {
            Golden.Near(values, torch.linalg.svdvals(core));
            Golden.Near(input.Up.mm(input.Down) * input.Scale, space.Update(core, 1).Product());
        }
        Golden.Near(golden.Expected("delta_task_arithmetic"), Merged("task-arithmetic", inputs, options));
        var leading = Merged("core-tsv", inputs, options);
        Golden.Near(golden.Expected("delta_tsv"), leading);
        Assert.Equal(3 * golden.ExpectedNumber("tsv_vectors_per_task"), RankOf(leading));
        var leveled = Merged("core-iso-c", inputs, options);
        Golden.Near(golden.Expected("delta_iso"), leveled);
        Assert.Equal(
            golden.ExpectedNumber("iso_value") * options.Lambda, torch.linalg.matrix_norm(leveled, 2).ToDouble(), 1e-5);
        Golden.Near(
            golden.Expected("delta_ties"),
            Merged("core-ties", inputs, options with { Density = golden.Parameter("ties_topK_percent") / 100 }));
    }

    [Fact]
    public void Tsv_keeps_the_leading_directions_of_each_task()
    {
        var golden = Golden.Case(File, "tsv_m");

        var merged = Merged("core-tsv", Whole(golden.Input("task_matrices")));

        Golden.Near(golden.Expected("merged"), merged);
        Assert.Equal(2 * golden.ExpectedNumber("vectors_per_task"), RankOf(merged));
    }

    private static double RankOf(Tensor matrix) =>
        torch.linalg.svdvals(matrix).gt(1e-4).to(torch.float32).sum().ToDouble();

    [Fact]
    public void Iso_levels_the_singular_values()
    {
        var golden = Golden.Case(File, "iso_c_and_iso_cts");
        var inputs = Whole(golden.Input("task_matrices"));
        var options = new MergeOptions { Common = golden.Parameter("common_space_fraction") };

        var merged = Merged("core-iso-c", inputs);

        Golden.Near(golden.Expected("iso_c"), merged);
        Assert.Equal(golden.ExpectedNumber("iso_c_value"), torch.linalg.matrix_norm(merged, 2).ToDouble(), 1e-5);
        var shared = Merged("core-iso-cts", inputs, options);
        Golden.Near(golden.Expected("iso_cts"), shared);
        Assert.Equal(
            golden.Expected("concatenated_singular_values").mean().ToDouble(),
            torch.linalg.matrix_norm(shared, 2).ToDouble(), 1e-5);
        Assert.Equal(
            ((int)golden.ExpectedNumber("common_dims"), (int)golden.ExpectedNumber("dims_per_task")),
            CoreIsoCtsMerge.Shares(6, 2, options.Common));
    }

    [Theory]
    [InlineData(7, 2, 0.5, 3, 2)] // 4 / 2 = 2
    [InlineData(10, 4, 0.8, 10, 0)] // 2 / 4 = 0.5, half to even
    [InlineData(10, 4, 0.4, 2, 2)] // 6 / 4 = 1.5, half to even
    [InlineData(7, 10, 0.1, 7, 0)] // more tasks than directions
    public void The_directions_are_shared_out_as_the_authors_do(int n, int tasks, double f, int common, int own) =>
        Assert.Equal((common, own), CoreIsoCtsMerge.Shares(n, tasks, f));

    [Fact]
    public void Knots_merges_in_common_left_directions()
    {
        var golden = Golden.Case(File, "knots_ties");
        var inputs = Inputs(golden.Inputs("A"), golden.Inputs("B"));
        var options = new MergeOptions { Lambda = golden.Parameter("lam") };

        Golden.Near(golden.Expected("delta_sum"), Merged("task-arithmetic", inputs, options));
        Golden.Near(golden.Expected("delta_ties_topK_100"), Merged("knots-ties", inputs, options));
        Golden.Near(
            golden.Expected("delta_ties_topK_40"), Merged("knots-ties", inputs, options with { Density = 0.4 }));
    }

    [Fact]
    public void Knots_trims_an_adapter_over_all_modules_at_once()
    {
        MergeInputs Of(string name, double scale) => Inputs(
            [Random(name + "a", 2, 5), Random(name + "b", 1, 5)],
            [Random(name + "c", 4, 2) * scale, Random(name + "d", 4, 1) * scale]);
        var (large, small) = (Of("large", 1), Of("small", 1e-3));
        var method = new KnotsTiesMerge().Prepared(() => [large, small], new MergeOptions { Density = 0.4 });

        Assert.True(method.Merge(large, new MergeOptions()).Product().abs().sum().ToDouble() > 0.1);
        Assert.Equal(0, method.Merge(small, new MergeOptions()).Product().abs().sum().ToDouble());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(17)]
    [InlineData(600)]
    public void A_magnitude_is_found_at_its_place_without_all_of_them_in_memory(int place)
    {
        Tensor[] parts = [Random("one", 20, 10), Random("two", 40, 10) * 1e-4];
        var order = new MagnitudeOrder();

        foreach (var part in parts)
            order.First(part);
        order.Seek(place);
        foreach (var part in parts)
            order.Second(part);

        var rising = torch.cat([.. parts.Select(part => part.reshape(-1).abs())], 0).sort(0).Values;
        Assert.Equal(600, order.Count);
        Assert.Equal(rising.select(0, place - 1).ToSingle(), (float)order.Value);
    }

    [Fact]
    public void Robustmerge_scales_up_what_trimming_took()
    {
        var golden = Golden.Case(File, "robustmerge");
        var (downs, ups) = (golden.Inputs("A"), golden.Inputs("B"));

        var merged = new RobustMerge().Merge(Inputs(downs, ups), new MergeOptions());

        var ratio = golden.Parameter("mask_ratio");
        var raw = golden.Expected("s_vector").unbind(0);
        foreach (var (i, (down, scale)) in downs.Zip(golden.Expected("scale").unbind(0)).Index())
        {
            var kept = RobustMerge.Kept(down, ratio);
            Golden.Near(golden.ExpectedFlags("mask_A")[i], kept.ne(0).to(torch.float32));
            Golden.Near(raw[i], down.abs().sum(1) / kept.abs().sum(1));
            Golden.Near(scale, RobustMerge.Scale(down, kept));
        }

        foreach (var (mask, up) in golden.ExpectedFlags("mask_B").Zip(ups))
            Golden.Near(mask, RobustMerge.Kept(up, ratio).ne(0).to(torch.float32));
        Golden.Near(golden.Expected("A_merged"), merged.Down);
        Golden.Near(golden.Expected("B_merged"), merged.Up);
        Golden.Near(golden.Expected("delta"), merged.Product());
    }

    [Fact]
    public void A_rank_of_which_nothing_is_kept_is_not_scaled()
    {
        var down = torch.tensor(new[] { 1f, 2f, 0.1f, 0.1f }, [2, 2]);

        Golden.Near(
            torch.tensor(new[] { 1.5f, 1.5f }),
            RobustMerge.Scale(down, torch.tensor(new[] { 0f, 2f, 0f, 0f }, [2, 2])));
    }

    [Theory]
    [InlineData("core-tsv")]
    [InlineData("core-iso-c")]
    [InlineData("core-iso-cts")]
    [InlineData("knots-ties")]
    public void Factors_that_say_the_same_update_give_the_same_merge(string method)
    {
        // Rank one, and a task twice: where whole updates leave directions open, their merge would hang on them.
        // (TIES in core space goes by entries, and the bases hang on the factors.)
        var (downs, ups) = (
            new[] { Random("a", 1, 9), Random("b", 2, 9) }, new[] { Random("c", 7, 1), Random("d", 7, 2) });
        var (turn, _) = torch.linalg.qr(Random("turn", 2, 2));
        var options = new MergeOptions { Density = 0.5, Common = 0.5 };
        var plain = Inputs([.. downs, downs[0]], [.. ups, ups[0]]);
        var turned = Inputs(
            [downs[0] * -2, turn.mm(downs[1]), downs[0] * 3], [ups[0] / -2, ups[1].mm(turn.t()), ups[0] / 3]);

        Golden.Near(Merged(method, plain, options), Merged(method, turned, options), 2e-5);
    }

    private static Tensor Random(string name, params long[] shape) =>
        torch.randn(shape, generator: Seeds.GeneratorFor(5, name));
}
