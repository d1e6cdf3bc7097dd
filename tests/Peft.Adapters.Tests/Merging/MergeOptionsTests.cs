using Peft.Adapters.Merging;
using Peft.Formats;

namespace Peft.Adapters.Tests.Merging;

/// <summary>Every option of a merge is used by the method or refused with the methods that use it.</summary>
public sealed class MergeOptionsTests
{
    private static readonly Dictionary<string, MergeOptions> Options = new()
    {
        ["--weights"] = new() { Weights = [1, 2] },
        ["--density"] = new() { Density = 0.1 },
        ["--seed"] = new() { Seed = 7 },
        ["--rank"] = new() { Rank = 2 },
        ["--factors"] = new() { Factors = true },
        ["--lambda"] = new() { Lambda = 3 },
        ["--examples"] = new() { Examples = 9 },
        ["--steps"] = new() { Steps = 9 },
        ["--common"] = new() { Common = 0.3 },
        ["--score"] = new() { Score = "directions" },
        ["--top-k"] = new() { TopK = 1 },
        ["--temperature"] = new() { Temperature = 2 },
    };

    [Theory]
    [InlineData("phatgoose", "--top-k", "--temperature")]
    [InlineData("arrow", "--top-k", "--temperature")]
    [InlineData("average-activation", "--top-k", "--temperature")]
    [InlineData("spectr", "--top-k", "--score")]
    [InlineData("average", "--weights", "--rank", "--factors")]
    [InlineData("linear", "--weights")]
    [InlineData("cat", "--weights")]
    [InlineData("svd", "--weights", "--rank")]
    [InlineData("task-arithmetic", "--weights", "--rank", "--lambda")]
    [InlineData("ties", "--weights", "--rank", "--factors", "--density")]
    [InlineData("magnitude-prune", "--weights", "--rank", "--factors", "--density")]
    [InlineData("dare-linear", "--weights", "--rank", "--factors", "--density", "--seed")]
    [InlineData("dare-ties", "--weights", "--rank", "--factors", "--density", "--seed")]
    [InlineData("core-ties", "--weights", "--rank", "--lambda", "--density")]
    [InlineData("core-tsv", "--weights", "--rank", "--lambda")]
    [InlineData("core-iso-c", "--weights", "--rank", "--lambda")]
    [InlineData("core-iso-cts", "--weights", "--rank", "--lambda", "--common")]
    [InlineData("knots-ties", "--weights", "--rank", "--lambda", "--density")]
    [InlineData("robustmerge", "--weights", "--lambda", "--density")]
    [InlineData("lorahub", "--weights", "--seed", "--examples", "--steps")]
    [InlineData("lorahub-updates", "--weights", "--rank", "--seed", "--examples", "--steps")]
    public void A_method_refuses_the_options_that_it_does_not_use(string method, params string[] used)
    {
        foreach (var (option, options) in Options)
        {
            var faults = new Faults();
            options.NoteUnused(faults, MergeCatalog.Find(method)!);
            Assert.Equal(used.Contains(option) ? [] : [option], faults.Items.Select(fault => fault.Place));
            Assert.Equal(
                used.Contains(option), !options.For(MergeCatalog.Find(method)!)
                .Equals(new MergeOptions { Given = options.Given }));
        }
    }

    [Theory]
    [InlineData(
        "cat", "--rank: no effect with --method cat. Remove it, or use average, svd, task-arithmetic, ties, "
            + "dare-linear, dare-ties, magnitude-prune, core-ties, core-tsv, core-iso-c, core-iso-cts, "
            + "knots-ties or lorahub-updates.")]
    [InlineData(
        "arrow",
        "--rank: no effect with --method arrow. Remove it, or use average, svd, task-arithmetic, ties, dare-linear, "
            + "dare-ties, magnitude-prune, core-ties, core-tsv, core-iso-c, core-iso-cts, knots-ties "
            + "or lorahub-updates.")]
    public void The_methods_that_use_it_are_named(string method, string expected)
    {
        var faults = new Faults();
        Options["--rank"].NoteUnused(faults, MergeCatalog.Find(method)!);

        Assert.Equal(expected, faults.Items.Single().ToString());
    }

    [Fact]
    public void A_rank_is_not_cut_where_a_and_b_are_merged_apart()
    {
        var faults = new Faults();
        new MergeOptions { Rank = 2, Factors = true }.NoteUnused(faults, MergeCatalog.Find("average")!);

        Assert.Equal(
            "--rank: no effect with --method average --factors. Remove one of the two.", faults.Items.Single()
            .ToString());
    }

    [Fact]
    public void An_option_that_was_written_with_its_default_is_refused_too()
    {
        var faults = new Faults();
        new MergeOptions { Given = ["--density"] }.NoteUnused(faults, MergeCatalog.Find("cat")!);

        Assert.Equal("--density", faults.Items.Single().Place);
    }

    [Fact]
    public void Weights_that_are_given_leave_nothing_to_search()
    {
        var faults = new Faults();
        new MergeOptions { Weights = [1, 2], Steps = 9 }.NoteUnused(faults, MergeCatalog.Find("lorahub")!);

        Assert.Equal("--steps", faults.Items.Single().Place);
    }
}
