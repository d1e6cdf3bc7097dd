using System.Text.Json;
using Peft.Evaluation.Routing;

namespace Peft.Evaluation.Tests.Routing;

public sealed class RoutingMathTests
{
    [Fact]
    public void Entropy_and_effective_support_have_their_closed_forms()
    {
        Assert.Equal(Math.Log(4), RoutingMath.Entropy([0.25, 0.25, 0.25, 0.25]), 12);
        Assert.Equal(0, RoutingMath.Entropy([0, 1, 0]), 12);
        Assert.Equal(4, RoutingMath.EffectiveSupportSize([0.25, 0.25, 0.25, 0.25]), 12);
        Assert.Equal(1, RoutingMath.EffectiveSupportSize([0, 3, 0]), 12);
        Assert.Equal(0, RoutingMath.EffectiveSupportSize([0, 0]), 12);
    }

    [Fact]
    public void Hard_routing_by_task_has_all_the_information_there_can_be()
    {
        double[][] identity = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];

        Assert.Equal(Math.Log(3), RoutingMath.MutualInformation(identity), 12);
        Assert.Equal(1, RoutingMath.NormalizedMutualInformation(identity), 12);
        // Two tasks, four experts, no expert shared: as much as two tasks can have.
        Assert.Equal(1, RoutingMath.NormalizedMutualInformation([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]), 12);
    }

    [Fact]
    public void Tasks_that_use_the_same_experts_share_no_information()
    {
        Assert.Equal(0, RoutingMath.MutualInformation([[0.7, 0.3], [0.7, 0.3]]), 12);
        Assert.Equal(0, RoutingMath.NormalizedMutualInformation([[0.7, 0.3]]), 12);
        Assert.Equal(0, RoutingMath.NormalizedMutualInformation([]), 12);
    }

    [Fact]
    public void Total_variation_is_half_the_sum_of_the_differences()
    {
        Assert.Equal(0.3, RoutingMath.TotalVariation([0.5, 0.5, 0], [0.2, 0.6, 0.2]), 12);
        Assert.Equal(1, RoutingMath.TotalVariation([1, 0], [0, 1]), 12);
        Assert.Equal(0, RoutingMath.TotalVariation([0.25, 0.75], [0.25, 0.75]), 12);
    }

    [Fact]
    public void Mutual_information_is_the_sum_over_the_table()
    {
        double[][] matrix = [[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]];
        var sum = 0.0;
        for (var t = 0; t < 2; t++)
        {
            for (var e = 0; e < 3; e++)
                sum += matrix[t][e] / 2 * Math.Log(matrix[t][e] / ((matrix[0][e] + matrix[1][e]) / 2));
        }
        Assert.Equal(sum, RoutingMath.MutualInformation(matrix), 12);
    }

    [SharedFact]
    public void Srp_equals_the_vector()
    {
        using var json = JsonDocument.Parse(File.ReadAllText(SharedAssets.Path("vectors", "secondary.json")));
        var vector = json.RootElement.GetProperty("cases").EnumerateArray()
            .Single(c => c.GetProperty("name").GetString() == "srp");
        var tokens = vector.GetProperty("inputs").GetProperty("topk_per_token").Deserialize<int[][]>()!;
        var expected = vector.GetProperty("expected");
        var counter = new SegmentRoutingCounter(
            vector.GetProperty("params").GetProperty("num_experts").GetInt32(),
            vector.GetProperty("params").GetProperty("segment_length").GetInt32());

        counter.Add(tokens);

        Assert.Equal(expected.GetProperty("srp").GetDouble(), counter.Value, 9);
        // The best threshold is 2: 14 of the 15 counts reach it, 4 tokens each, and 40 are used.
        Assert.Equal(14 * 4 / 40.0, counter.SizeRatio, 9);
        Assert.All(
            expected.GetProperty("f1_per_threshold").Deserialize<double[]>()!.Index(),
            f1 => Assert.Equal(f1.Item, counter.F1(f1.Index), 9));
    }

    [Fact]
    public void Srp_is_one_where_the_experts_never_change_and_pools_sequences_before_the_maximum()
    {
        var constant = new SegmentRoutingCounter(4, 3);
        constant.Add([[0, 1], [0, 1], [0, 1], [0, 1]]);
        Assert.Equal(1, constant.Value, 12);

        var empty = new SegmentRoutingCounter(4, 3);
        empty.Add([[0], [1]]);
        Assert.False(empty.Any);
        Assert.Equal(0, empty.Value);

        // Windows of one token: each count is 0 or 1, so a threshold of 1 is never wrong.
        var single = new SegmentRoutingCounter(3, 1);
        single.Add([[0], [2]]);
        single.Add([[1]]);
        Assert.Equal(1, single.Value, 12);
    }

    // Written by calc_fsf of ljcleo/moe-lrc src/41_sch_calc.py on these tokens.
    [Theory]
    [InlineData(1, new[] { 0.125, 0.375, 0.5833333333333334, 0.8333333333333334, 1.0 })]
    [InlineData(4, new[] { 0.125, 0.5, 0.625, 0.9166666666666666, 1.0 })]
    public void Sch_equals_the_published_code(int segment, double[] rates)
    {
        var counter = new SegmentCacheCounter(5, segment);

        counter.Add([[2, 1], [3, 0], [0, 4], [2, 0], [4, 1], [0, 4], [3, 4], [0, 1], [0, 3], [0, 4], [1, 0], [4, 3]]);

        Assert.All(rates.Index(), rate => Assert.Equal(rate.Item, counter.HitRate(rate.Index + 1), 12));
    }

    [Fact]
    public void A_cache_for_all_experts_always_hits_and_sequences_begin_empty()
    {
        var counter = new SegmentCacheCounter(3, 2);
        Assert.Equal(0, counter.HitRate(3));
        counter.Add([[0], [1], [2], [0]]);
        counter.Add([[2], [2]]);

        Assert.Equal(1, counter.HitRate(3), 12);
        // Of a cache of one: the first use of each sequence has room, and the repeated expert is there.
        Assert.Equal(3 / 6.0, counter.HitRate(1), 12);
    }

    [Fact]
    public void Similarity_from_the_factors_is_the_cosine_of_the_products()
    {
        var random = new Random(3);
        int[] ranks = [2, 3, 1];
        var (a, b) = (Matrix(6, 5), Matrix(4, 6));
        var dense = ranks.Select((rank, e) => Dense(ranks.Take(e).Sum(), rank)).ToArray();

        using var scope = torch.NewDisposeScope();
        var cosines = ExpertSimilarity.Cosines(
            torch.tensor(a.SelectMany(r => r).ToArray(), [6L, 5L]),
            torch.tensor(b.SelectMany(r => r).ToArray(), [4L, 6L]), ranks);

        for (var e = 0; e < 3; e++)
        {
            for (var f = 0; f < 3; f++)
                Assert.Equal(
                    Dot(dense[e], dense[f]) / Math.Sqrt(Dot(dense[e], dense[e]) * Dot(dense[f], dense[f])),
                    cosines[e][f], 5);
        }

        float[][] Matrix(int rows, int columns) =>
            [
                .. Enumerable.Range(0, rows)
                    .Select(_ => Enumerable.Range(0, columns).Select(_ => random.NextSingle() - 0.5f).ToArray()),
            ];
        double[] Dense(int start, int rank) =>
            [
                .. from o in Enumerable.Range(0, 4) from d in Enumerable.Range(0, 5) select Enumerable.Range(
                    start, rank).Sum(r => b[o][r] * (double)a[r][d]),
            ];
        static double Dot(double[] x, double[] y) => x.Zip(y).Sum(pair => pair.First * pair.Second);
    }

    [Fact]
    public void An_expert_without_an_update_is_like_no_other()
    {
        using var scope = torch.NewDisposeScope();
        var cosines = ExpertSimilarity.Cosines(
            torch.tensor([1f, 2f, 1f, 2f], [2L, 2L]), torch.tensor([1f, 0f, 1f, 0f], [2L, 2L]), [1, 1]);

        Assert.Equal([[1.0, 0.0], [0.0, 0.0]], cosines);
    }
}
