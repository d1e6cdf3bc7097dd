using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tests.Results;

namespace Peft.Evaluation.Tests.Reports;

public sealed class RouterWriterTests
{
    [Fact]
    public void Routers_stand_beside_each_other_with_what_stands_out_in_words()
    {
        var routers = ReportBuilder.Build(SampleResults.WithTwoRouters(), [], []).Routers;

        Assert.Equal("default-lora tells the tasks apart most: task information 0.90 of 1.", routers.Headline);
        Assert.Equal(
            "default-lora keeps its experts longest (SRP of 16 tokens 0.95). default spreads its load most evenly "
                + "(0.83 of even).", routers.Detail);
        // A dash: a router without a distribution has no entropy, and nothing was looked ahead that far.
        Assert.Equal(
            [
                new("default", 1, 1, "top-k", "2.00 of 4", "0.30", "0.06", "0.83", 0, "0.92", "0.70", "–", "0.10"),
                new("default-lora", 2, 2, "lora", "1.00 of 2", "0.90", "–", "0.50", 2, "–", "0.95", "0.80", "0.10"),
            ],
            routers.Rows);
    }

    [Fact]
    public void Curves_by_layer_length_cache_and_step_have_a_row_an_adapter()
    {
        var profiles = ReportBuilder.Build(SampleResults.WithTwoRouters(), [], []).Routers.Profiles;

        Assert.Equal(
            ["information", "entropy", "evenness", "srp", "sch", "change", "training"],
            profiles.Select(profile => profile.Name));
        Assert.Equal(Enumerable.Range(0, 7), profiles.Select(profile => profile.Index));
        Equal(["0", "1", "2"], [["default", "0.20", "0.30", "0.40"], ["default-lora", "0.90", "0.90", "–"]], 0);
        Equal(["0", "1", "2"], [["default", "0.90", "0.92", "0.93"]], 1);
        Equal(["4", "16"], [["default", "0.80", "0.70"], ["default-lora", "0.97", "0.95"]], 3);
        // Caches of 1 and 2 experts where a token uses one; between them, what lies between.
        Equal(["1", "1.5", "2"], [["default-lora", "0.80", "0.90", "1.00"]], 4);
        Equal(["400", "800"], [["default", "0.20", "0.10"], ["default-lora", "0.20", "0.10"]], 5);

        void Equal(string[] places, string[][] rows, int profile)
        {
            Assert.Equal(places, profiles[profile].Places);
            Assert.Equal(rows, profiles[profile].Rows.Select(row => (string[])[row.Name, .. row.Cells]));
        }
    }

    [Fact]
    public void A_router_alone_is_not_compared_and_results_without_routing_have_no_curves()
    {
        var sample = SampleResults.Make();

        var alone = ReportBuilder.Build(sample, [], []).Routers;
        Assert.Equal("default is the only one of these adapters with a router.", alone.Headline);
        Assert.Equal(6, alone.Profiles.Count);

        var none = ReportBuilder.Build(sample with { Routing = [] }, [], []).Routers;
        Assert.Equal(("None of these adapters has a router.", 0, 0), (
            none.Headline, none.Rows.Count, none.Profiles.Count));
    }

    [Fact]
    public void Results_of_before_these_numbers_were_kept_are_compared_by_those_that_they_have()
    {
        var results = SampleResults.WithTwoRouters();
        results = results with
        {
            Subjects = [.. results.Subjects.Select(subject => subject.Training is not { } training ? subject
                : subject with { Training = training with { LoadStep = [], LoadChange = [] } })],
            Routing = [.. results.Routing.Select(routing => routing with
            {
                TaskDistance = null,
                Modules = [.. routing.Modules.Select(module => module with { TaskInformation = null })],
            })],
        };

        var routers = ReportBuilder.Build(results, [], []).Routers;

        Assert.Equal(["0.29", "0.90"], routers.Rows.Select(router => router.InformationText));
        Assert.Equal(["–", "–"], routers.Rows.Select(router => router.ChangeText));
        Assert.Equal(
            ["entropy", "evenness", "srp", "sch", "training"], routers.Profiles.Select(profile => profile.Name));
    }
}
