using Peft.Adapters.Merging;
using Peft.Adapters.Tests.Lora;
using Peft.Formats;

namespace Peft.Adapters.Tests.Merging;

/// <summary>LoraHub's merge with given weights, to 1e-5, and the search for them.</summary>
public sealed class LoraHubTests : TensorTests
{
    [Fact]
    public void Factors_are_summed_apart_or_updates_whole()
    {
        var golden = Golden.Case("second.json", "lorahub_given_weights");
        var (downs, ups) = (golden.Inputs("A"), golden.Inputs("B"));
        double[] weights = [.. golden.Input("w").data<float>().ToArray()];
        MergeInputs Inputs(double scale) => new("m", 3, 4, 4, [.. downs.Zip(ups).Select(
            (pair, i) => new MergeInput(i, "", weights[i], scale, pair.First, pair.Second))]);
        var options = new MergeOptions { Weights = [.. weights] };

        var factors = new LoraHubMerge().Merge(Inputs(1), options);
        var scaled = Inputs(golden.Parameter("scaling"));

        Golden.Near(golden.Expected("A_merged"), factors.Down);
        Golden.Near(golden.Expected("B_merged"), factors.Up);
        Golden.Near(golden.Expected("delta"), new LoraHubMerge().Merge(scaled, options).Product());
        Golden.Near(
            golden.Expected("delta_product_sum"), new LoraHubUpdatesMerge().Merge(scaled, options).Product());
        Assert.Equal(golden.ExpectedNumber("penalty"), WeightSearch.PenaltyOf(weights), 1e-6);
    }

    [Fact]
    public void A_search_comes_near_the_best_weights_and_stays_within_its_bounds()
    {
        double[] best = [1.2, -0.7, 3];
        double Loss(IReadOnlyList<double> weights) =>
            weights.Zip(best, (weight, aim) => (weight - aim) * (weight - aim)).Sum();

        var found = WeightSearch.Run(3, 400, 1, Loss);

        // The penalty of 0.05 / 3 a unit pulls by a 120th.
        Assert.Equal(1.2, found.Weights[0], 0.05);
        Assert.Equal(-0.7, found.Weights[1], 0.05);
        Assert.Equal(WeightSearch.Bound, found.Weights[2], 1e-3);
        Assert.Equal(Loss(found.Weights), found.Loss);
        Assert.Equal(Loss([0, 0, 0]), found.FirstLoss);
    }

    [Fact]
    public void A_search_tries_as_often_as_it_is_told_and_the_same_again()
    {
        var tried = new List<double>();
        double Loss(IReadOnlyList<double> weights)
        {
            tried.Add(weights[0]);
            return weights[0] > 0 ? double.NaN : 1;
        }

        var found = WeightSearch.Run(2, 40, 7, Loss);

        Assert.Equal(40, tried.Count);
        Assert.Equal(0, tried[0]);
        Assert.Equal([0, 0], found.Weights);
        Assert.Equal(found.Weights, WeightSearch.Run(2, 40, 7, Loss).Weights);
        Assert.Equal(tried.Take(40), tried.Skip(40));
    }

    [Fact]
    public void Weights_give_a_model_what_the_merge_with_them_writes()
    {
        using var tiny = new TinyModel();
        var given = new MergeFixture(tiny);
        given.Law();
        given.Adapter("code", """{"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "up_proj"]}""", 2);
        List<MergeSource> sources = [.. MergeSource.Open(tiny.In("law")), .. MergeSource.Open(tiny.In("code"))];
        foreach (var method in new StaticMerge[] { new LoraHubMerge(), new LoraHubUpdatesMerge() })
        {
            using var held = new HeldMerge(sources, method, new MergeOptions());
            var adapted = held.Attach(tiny.New());
            held.Fill(adapted, [0.5, -1.5]);
            var filled = TinyModel.Logits(adapted.Model);
            held.Fill(adapted, [0, 0]);

            given.Merge(method, new MergeOptions { Found = [0.5, -1.5] }, method.Name, sources);

            Golden.Near(TinyModel.Logits(given.Load(method.Name).Model), filled);
            Golden.Near(TinyModel.Logits(tiny.New()), TinyModel.Logits(adapted.Model), 1e-6);
        }
    }

    [Fact]
    public void Without_weights_and_examples_it_is_refused()
    {
        using var tiny = new TinyModel();
        var given = new MergeFixture(tiny);
        given.Law();
        given.Code();

        Assert.Equal(
            "peft merge --method lorahub-updates: no examples to search weights on; expected a recipe whose training "
                + "rows are tried, or weights. Add --recipe FILE, or --weights with one number for each adapter.",
            Assert.Throws<UserException>(() => given.Merge("lorahub-updates", ["law", "code"])).Message);
        Assert.Contains(
            "expected equal ranks, since A and B are merged apart. Use --method lorahub-updates.",
            Assert.Throws<FaultsException>(() => given.Merge("lorahub", ["law", "code"])).Message,
            StringComparison.Ordinal);
    }
}
