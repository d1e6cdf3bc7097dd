using Peft.Evaluation.Reports;
using Peft.Evaluation.Results;
using Peft.Evaluation.Tests.Results;

namespace Peft.Evaluation.Tests.Reports;

public sealed class VerdictWriterTests
{
    private static readonly ResultsDocument Sample = SampleResults.Make();

    [Fact]
    public void A_real_difference_on_some_tasks_is_said_with_the_tasks()
    {
        var verdict = VerdictWriter.Of(Sample);

        Assert.Equal("default-lora is better than default on 1 of 2 tasks.", verdict.Headline);
        Assert.Equal("On g2p the difference is real (p below 0.05 after Holm's correction). On the other task (spam) the difference is within chance."
            + " Both are better than the bare base on every task.", verdict.Detail);
        Assert.Equal("clear", verdict.Tone);
    }

    [Fact]
    public void A_metric_where_lower_is_better_counts_the_other_way_round()
    {
        var both = Edited(c => c.Task == "spam" ? c with { Significant = true } : c);
        Assert.Equal("default-lora is better than default on every task.", VerdictWriter.Of(both).Headline);

        // Accuracy falls while the error rate falls: one task each.
        var split = Edited(c => c.Task == "spam" ? c with { Significant = true, Difference = -0.04 } : c);
        Assert.Equal(("Neither default nor default-lora is better everywhere.", "mixed"), (VerdictWriter.Of(split).Headline, VerdictWriter.Of(split).Tone));
        Assert.StartsWith("default is ahead on spam, default-lora on g2p; these differences are real", VerdictWriter.Of(split).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Chance_is_called_chance()
    {
        var verdict = VerdictWriter.Of(Edited(c => c with { Significant = false, PAdjusted = 0.3 }));

        Assert.Equal("No real difference between default and default-lora.", verdict.Headline);
        Assert.Equal("undecided", verdict.Tone);
        Assert.StartsWith("On none of the 2 tasks measured the paired difference is more than chance (smallest corrected p = 0.300).", verdict.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void One_adapter_is_compared_with_the_base()
    {
        var alone = Sample with { Subjects = [.. Sample.Subjects.Where(s => s.Name != "default-lora")] };
        Assert.Equal("default is better than the bare base on every task.", VerdictWriter.Of(alone).Headline);

        var worse = alone with { Comparisons = [.. alone.Comparisons.Select(c => c with { Difference = -c.Difference })] };
        Assert.Equal("default is worse than the bare base on 2 of 2 tasks.", VerdictWriter.Of(worse).Headline);
        Assert.Equal("none", VerdictWriter.Of(alone with { Comparisons = [] }).Tone);
        Assert.Equal("The bare base alone was measured.", VerdictWriter.Of(Sample with { Subjects = [Sample.Subjects[0]] }).Headline);
    }

    [Fact]
    public void Among_many_the_one_with_the_most_real_differences_leads()
    {
        var third = Sample.Subjects[1] with { Name = "third" };
        var many = Sample with
        {
            Subjects = [.. Sample.Subjects, third],
            Comparisons =
            [
                .. Sample.Comparisons,
                new("spam", "accuracy", "default-lora", "third", -0.2, -0.3, -0.1, 0.001, 0.01, true),
                new("spam", "accuracy", "default", "third", -0.1, -0.2, 0.1, 0.3, 0.6, false),
            ],
        };

        var verdict = VerdictWriter.Of(many);

        Assert.Equal("default-lora leads the 3 adapters.", verdict.Headline);
        Assert.Contains("2 are real differences in its favour, 0 against it", verdict.Detail, StringComparison.Ordinal);
        Assert.Equal("The 3 adapters were not compared row by row.", VerdictWriter.Of(many with { Comparisons = [] }).Headline);
    }

    private static ResultsDocument Edited(Func<Comparison, Comparison> edit) =>
        Sample with { Comparisons = [.. Sample.Comparisons.Select(c => c.A == "base" ? c : edit(c))] };
}
