using System.Globalization;
using System.Text.Json.Nodes;
using Peft.Adapters.Routing;
using Peft.Evaluation.Results;
using Peft.Recipes;

namespace Peft.Compare;

/// <summary>The plan against the recipes that it names.</summary>
public sealed class PlanTests
{
    // Ranks depend on the number of values, and on the tasks where experts have their names.
    public static TheoryData<string, string, string> Arms()
    {
        var data = new TheoryData<string, string, string>();
        foreach (var (study, setting, arm) in All().DistinctBy(one => (one.Study.Name, one.Arm.Name,
            one.Setting.Parameters,
            one.Arm.Stages[0].Sets.Any(set => set.Contains("{tasks}")) ? one.Setting.TaskNames.Count : 0)))
            data.Add(study.Name, setting.Name, arm.Name);
        return data;
    }

    [Theory]
    [MemberData(nameof(Arms))]
    public void Every_arm_trains_as_many_values_as_the_setting_says_within_two_in_a_hundred(
        string study, string setting, string arm)
    {
        TorchRuntime.Start();
        var (_, own, found) = All().Single(one =>
            one.Study.Name == study && one.Setting.Name == setting && one.Arm.Name == arm);
        Assert.InRange((double)new RankChoices().Of(own, found).Trainable / own.Parameters, 0.98, 1.02);
    }

    [Fact]
    public void Results_that_differ_in_their_date_alone_are_not_written_again()
    {
        var path = Path.Combine(Directory.CreateTempSubdirectory("peft-compare-").FullName, "results.json");
        var results = new ResultsDocument(
            "2026-11-01T00:00:00Z", "1", new(0, 64, "bfloat16", 0, 0.95, "holm"), new("base", "f"),
            [new("lora", Subject.AdapterKind, "", "lora", null, null, 7, null, null, 0, null, null)], [], [], [], []);
        Program.Keep(path, results);
        // As a version wrote it that knew fewer keys.
        File.WriteAllText(path, File.ReadAllText(path).Replace(
            ",\n  \"sequences\": []", "", StringComparison.Ordinal));
        var first = File.ReadAllText(path);
        Assert.DoesNotContain("sequences", first, StringComparison.Ordinal);

        Program.Keep(path, results with { Created = "2026-11-02T00:00:00Z" });
        Assert.Equal(first, File.ReadAllText(path));
        Program.Keep(path, results with { Created = "2026-11-02T00:00:00Z", PeftVersion = "2" });
        var last = ResultsFile.Load(path);
        Assert.Equal(("2026-11-02T00:00:00Z", "2"), (last.Created, last.PeftVersion));
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
    }

    [Fact]
    public void Rows_that_prompts_were_chosen_on_do_not_count()
    {
        var study = Plan.Studies.Single(study => study.Name == "merges");
        var points = new string('1', 100) + "01";
        Measured[] runs = [.. study.Settings.Select(setting => new Measured(
            setting.Name, "average", 1, 0, 0, 0, 0, [], null,
            new(StringComparer.Ordinal) { ["spam"] = new("accuracy", true, "", points, 1) }))];

        var judged = study.Judged(runs).ToDictionary(run => run.Setting, run => run.Tasks["spam"].Points);
        Assert.Equal("01", judged["words"]);
        Assert.Equal(points, judged["equal-ends"]);
        // A quick look has no others.
        Assert.Equal("11", new TaskPoints("accuracy", true, "", "11", 1).Behind(100).Points);
    }

    [Theory]
    [InlineData("", "1 2 4")]
    [InlineData("1:3 2:2 4:3", "")]
    [InlineData("1:1 2:2 4:3", "0.5")]
    [InlineData("1:3 2:2 4:1", "8")]
    [InlineData("1:6 2:5 4:4 8:3 16:2 32:1", "")] // three times at most
    public void Rates_beyond_an_end_are_tried_while_the_best_is_there(string losses, string next) =>
        Assert.Equal(
            next.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(double.Parse),
            RateChoice.Next(losses.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split(':'))
                .ToDictionary(pair => double.Parse(pair[0]), pair => double.Parse(pair[1])), [1, 2, 4]));

    [Fact]
    public void Every_arm_of_every_setting_is_a_recipe_of_an_adapter()
    {
        foreach (var (_, setting, arm) in All())
        {
            Assert.NotEmpty(setting.TaskNames);
            Assert.All(arm.Stages, stage => Assert.Equal(Recipe.Adapter,
                Recipe.Load(stage.Recipe ?? setting.Recipe, [.. stage.SetsIn(setting)]).Method));
        }
    }

    [Fact]
    public void An_arm_of_several_studies_is_trained_once()
    {
        TorchRuntime.Start();
        var runs = All().Where(one => one.Arm.IsInSeveralStudies).Select(one => new TrainRun(
            one.Study.Name, one.Setting, one.Arm, new RankChoices().Of(one.Setting, one.Arm), 1, 2e-3, false)).ToList();
        Assert.Equal(["methods", "systems", "variants"], runs.Select(run => run.Study));
        Assert.Single(runs.Select(run => run.Folder).Distinct());
        Assert.Single(runs.Select(run => string.Join('\n', run.Commands("f", 200, 1).Select(
            words => string.Join(' ', words)))).Distinct());
    }

    [Fact]
    public void Every_arm_has_a_recorded_learning_rate()
    {
        var keys = All().Select(one => Program.Key(one.Study, one.Setting, one.Arm)).ToHashSet();
        var recorded = JsonNode.Parse(File.ReadAllText("recipes/results/compare/choices.json"))!.AsObject()
            .Select(pair => pair.Key).ToHashSet();
        Assert.Empty(keys.Except(recorded));
        Assert.Empty(recorded.Except(keys));
    }

    [Fact]
    public void A_choice_of_rates_comes_from_a_setting_and_an_arm_that_choose()
    {
        foreach (var study in Plan.Studies)
        {
            Assert.All(study.Settings.Where(setting => setting.RatesOf is not null), setting =>
                Assert.Null(study.Settings.Single(other => other.Name == setting.RatesOf).RatesOf));
            Assert.All(study.Arms.Where(arm => arm.RateOf is not null), arm =>
                Assert.Null(study.Arms.Single(other => other.Name == arm.RateOf).RateOf));
        }
    }

    [Theory]
    [InlineData("--seeds 0")]
    [InlineData("--studies method")]
    [InlineData("--quick --record")]
    [InlineData("--record --quick")]
    [InlineData("--rows 5")]
    public void Words_that_mean_nothing_are_refused(string words) => Assert.Null(Asked.Parse(words.Split(' ')));

    [Fact]
    public void Words_are_read()
    {
        var asked = Asked.Parse(["--studies", "question", "--seeds", "3", "--jobs", "1", "--record"]);
        Assert.Equal(["question"], asked!.Studies.Select(study => study.Name));
        Assert.Equal((3, 1, true, false), (asked.Seeds, asked.Jobs, asked.Records, asked.IsQuick));
        Assert.Equal(Plan.Studies, Asked.Parse(["--studies", "all"])!.Studies);
        // The long way of choosing rates is what recording means, or is asked for.
        Assert.True(asked.Chooses && Asked.Parse(["--choose-rates"])!.Chooses);
        Assert.False(Asked.Parse([])!.Chooses || Asked.Parse(["--quick"])!.Chooses);
    }

    [Theory]
    [InlineData("--seeds 5", "", "1 2 3 4 5")]
    [InlineData("--quick", "", "1 2")]
    [InlineData("--seeds 5 --add", "1 2 3", "4 5")]
    [InlineData("--seeds 3 --add", "1 2 3", "")]
    public void Seeds_are_added_behind_those_that_are_recorded(string words, string recorded, string expected)
    {
        var asked = Asked.Parse(words.Split(' '))!;
        Assert.Equal(words.Contains("--add", StringComparison.Ordinal), asked.Adds && asked.Records && !asked.Chooses);
        var runs = recorded.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(seed => new Measured(
            "four", "lora", int.Parse(seed, CultureInfo.InvariantCulture), 1, 1, 1, 1, [], null, [])).ToList();
        Assert.Equal(expected, string.Join(' ', asked.SeedsBeyond(runs)));
    }

    [Fact]
    public void A_quick_look_is_not_recorded_and_chooses_nothing()
    {
        Assert.Null(Asked.Parse(["--quick", "--add"]));
        Assert.Null(Asked.Parse(["--quick", "--choose-rates"]));
        Assert.Null(Asked.Parse(["--add", "--choose-rates"]));
        Assert.Null(Asked.Parse(["--choose-rates", "--add"]));
    }

    [Fact]
    public void Where_no_study_is_named_every_router_is_compared()
    {
        Assert.Equal(["methods", "systems"], Asked.Parse([])!.Studies.Select(study => study.Name));
        // Merged experts bring their routers; expert choice and Union-of-Experts cannot write answers; MHR and
        // Polytropon are one kind.
        var compared = Asked.Parse([])!.Studies.SelectMany(study => study.Arms).SelectMany(arm => arm.Stages)
            .Where(stage => stage.Recipe is not null)
            .Select(stage => Recipe.Load(stage.Recipe!, [.. stage.SetsIn(Plan.FourTasks)]).AdapterOptions?.Router)
            .Where(router => router is not null).Select(router => RouterCatalog.Of(router!).Kind);
        Assert.Equal(
            ["arrow", "average-activation", "expert-choice", "gate", "glider", "phatgoose", "spectr",
                "union-of-experts"],
            RouterCatalog.Entries.Select(entry => entry.Kind).Except(compared));
    }

    private static IEnumerable<(Study Study, Setting Setting, Arm Arm)> All()
    {
        // The plan names files from the checkout, as make compare runs there.
        Environment.CurrentDirectory = SharedAssets.Repository;
        return from study in Plan.Studies
               where study.Merges.Count == 0 // trains no arm of its own
               from setting in study.Settings
               from arm in study.ArmsIn(setting)
               select (study, setting, arm);
    }
}
