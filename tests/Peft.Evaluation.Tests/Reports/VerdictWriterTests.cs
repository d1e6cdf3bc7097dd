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

        Assert.Equal("default-lora is significantly better than default on 1 of 2 tasks.", verdict.Headline);
        Assert.Equal("On g2p the difference is significant (p below 0.05 after Holm's correction). On the other task "
            + "(spam) the difference is within chance."
            + " Both are significantly better than the base model on every task.", verdict.Detail);
        Assert.Equal("clear", verdict.Tone);
    }

    [Fact]
    public void A_metric_where_lower_is_better_counts_the_other_way_round()
    {
        var both = Edited(c => c.Task == "spam" ? c with { Significant = true } : c);
        Assert.Equal(
            "default-lora is significantly better than default on every task.", VerdictWriter.Of(both).Headline);

        // Accuracy falls while the error rate falls: one task each.
        var split = Edited(c => c.Task == "spam" ? c with { Significant = true, Difference = -0.04 } : c);
        Assert.Equal(
            (
                "Neither default nor default-lora is better everywhere.", "mixed"),
                (VerdictWriter.Of(split).Headline, VerdictWriter.Of(split).Tone));
        Assert.StartsWith(
            "default is ahead on spam, default-lora on g2p; these differences are significant",
            VerdictWriter.Of(split).Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Chance_is_called_chance()
    {
        var verdict = VerdictWriter.Of(Edited(c => c with { Significant = false, PAdjusted = 0.3 }));

        Assert.Equal("No significant difference between default and default-lora.", verdict.Headline);
        Assert.Equal("undecided", verdict.Tone);
        Assert.StartsWith(
            "On none of the 2 tasks measured the paired difference is more than chance (smallest corrected p = 0.300).",
            verdict.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void One_adapter_is_compared_with_the_base()
    {
        var alone = Sample with { Subjects = [.. Sample.Subjects.Where(s => s.Name != "default-lora")] };
        var solving = alone with
        {
            Scores = [.. alone.Scores.Select(s => s.Subject == "base" ? s with { Value = 0.4 } : s)],
        };
        Assert.Equal(
            "default is significantly better than the base model on every task.", VerdictWriter.Of(solving).Headline);

        var worse = solving with
        {
            Comparisons = [.. solving.Comparisons.Select(c => c with { Difference = -c.Difference })],
        };
        Assert.Equal(
            "default is significantly worse than the base model on every task.", VerdictWriter.Of(worse).Headline);
        Assert.Equal("none", VerdictWriter.Of(alone with { Comparisons = [] }).Tone);
        Assert.Equal(
            "Only the base model was measured.",
            VerdictWriter.Of(Sample with { Subjects = [Sample.Subjects[0]] }).Headline);
    }

    [Fact]
    public void A_base_that_solves_nothing_is_no_rival_in_the_headline()
    {
        // Its phoneme error rate is 2.857: more mistakes than phonemes.
        var alone = Sample with { Subjects = [.. Sample.Subjects.Where(s => s.Name != "default-lora")] };
        var some = VerdictWriter.Of(alone);
        Assert.Equal("default is significantly better than the base model on the one task.", some.Headline);
        Assert.Equal(
            "On spam the difference is significant (p below 0.05 after Holm's correction). On the other task the base "
                + "scores no better than empty answers.", some.Detail);

        var none = VerdictWriter.Of(
            alone with
            {
                Scores =
                [
                    .. alone.Scores.Select(s => s is { Subject: "base", Task: "spam" } ? s with { Value = 0 } : s),
                ],
            });
        Assert.Equal(
            (
                "default was measured beside the base model only, which scores no better than empty answers on any "
                    + "task.", "none"),
                (none.Headline, none.Tone));
        Assert.Equal(
            "g2p: phoneme error rate 0.378; spam: accuracy 0.870. Evaluate it with another adapter, or record a "
                + "baseline (evaluation.baselines), "
            + "to see how good that is.", none.Detail);
    }

    [Theory]
    [InlineData(5, "none", "Too few rows to tell default and default-lora apart.")] // 2 / 2^5 = 0.0625
    [InlineData(6, "none", "No significant difference between default and default-lora.")] // 0.03125
    [InlineData(7, "holm", "Too few rows to tell default and default-lora apart.")] // 6 comparisons: 0.094
    [InlineData(8, "holm", "No significant difference between default and default-lora.")] // 0.047
    public void Rows_too_few_for_any_difference_to_be_significant_are_called_so(
        int rows, string correction, string headline)
    {
        var few = Edited(c => c with { Significant = false, PAdjusted = 0.063 });
        few = few with
        {
            Tasks = [.. few.Tasks.Select(task => task with { Rows = rows })],
            Settings = few.Settings with { Correction = correction },
        };
        var verdict = VerdictWriter.Of(few);
        Assert.Equal((headline, "undecided"), (verdict.Headline, verdict.Tone));
        var isTooFew = headline.StartsWith("Too few", StringComparison.Ordinal);
        if (isTooFew)
            Assert.StartsWith("On g2p and spam no difference could be significant: with so few rows the smallest "
                + "possible p is ", verdict.Detail, StringComparison.Ordinal);
        var page = ReportBuilder.Build(few, [], []);
        Assert.Equal(isTooFew ? "too few rows to tell" : "no significant difference", page.Comparisons[0].Conclusion);
    }

    [Fact]
    public void Values_that_are_all_alike_have_no_best_one()
    {
        var alike = Sample with { Scores = [.. Sample.Scores.Select(s => s with { Value = 0 })] };
        Assert.All(ReportBuilder.Build(alike, [], []).Tasks.SelectMany(task => task.Metrics),
            metric => Assert.DoesNotContain(metric.Cells, cell => cell.IsBest));
        Assert.All(ReportBuilder.Build(Sample, [], []).Tasks.SelectMany(task => task.Metrics),
            metric => Assert.Single(metric.Cells, cell => cell.IsBest));
    }

    [Fact]
    public void What_is_in_doubt_comes_first_an_adapter_beside_recorded_results()
    {
        var recorded = Sample with
        {
            Subjects =
            [
                Sample.Subjects[0], Sample.Subjects[2] with { Kind = Subject.RecordedKind }, Sample.Subjects[1],
            ],
        };
        var values = recorded with
        {
            Scores =
            [
                .. Sample.Scores.Select(s => s.Subject == "default-lora" ? s with { Low = null, High = null } : s),
            ],
        };
        var verdict = VerdictWriter.Of(values);
        Assert.Equal(("default is behind default-lora on 1 of 2 tasks.", "worse"), (verdict.Headline, verdict.Tone));
        Assert.Equal(
            "It is behind on g2p. On spam there is no clear difference. default-lora was recorded earlier: without its "
                + "rows, differences are judged from the 95% interval of default. default is significantly better than "
                + "the base model on every task.",
            verdict.Detail);

        // With an interval of its own a recorded value is less certain: 0.06 less hypot(0.038, 0.042) is 0.0034.
        var certain = VerdictWriter.Of(recorded);
        Assert.Equal("default is behind default-lora on 1 of 2 tasks.", certain.Headline);
        Assert.Contains("judged from the 95% intervals of both.", certain.Detail, StringComparison.Ordinal);
        var wide = recorded with
        {
            Scores = [.. Sample.Scores.Select(s => s.Subject == "default-lora" ? s with { High = s.Value + 0.05 } : s)],
        };
        Assert.Equal(
            ("No clear difference between default and default-lora on every task.", "undecided"),
            (VerdictWriter.Of(wide).Headline, VerdictWriter.Of(wide).Tone));
        var ahead = values with
        {
            Scores =
            [
                .. values.Scores.Select(
                    s => s is { Subject: "default-lora", Task: "g2p", Value: 0.318 } ? s with { Value = 0.5 } : s),
            ],
        };
        Assert.Equal(
            ("default is ahead of default-lora on 1 of 2 tasks.", "clear"), (
                VerdictWriter.Of(ahead).Headline, VerdictWriter.Of(ahead).Tone));
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
        Assert.Contains(
            "Of its 3 paired comparisons with the others, 2 are significantly in its favor and 0 against it",
            verdict.Detail, StringComparison.Ordinal);
        Assert.Equal(
            "The 3 adapters were not compared row by row.", VerdictWriter.Of(many with { Comparisons = [] }).Headline);
    }

    [Fact]
    public void Where_all_are_compared_with_one_alone_that_one_does_not_lead()
    {
        // Of two more, each is compared with default-lora and not with others.
        var star = Sample with
        {
            Subjects = [.. Sample.Subjects.Where(s => s.Kind != Subject.BaseKind),
                Sample.Subjects[1] with { Name = "third" }, Sample.Subjects[1] with { Name = "fourth" }],
            Scores = [.. Sample.Scores.Where(s => s.Subject != "base")],
            Comparisons =
            [
                new("spam", "accuracy", "default-lora", "default", -0.1, -0.15, -0.05, 0.001, 0.01, true),
                new("spam", "accuracy", "default-lora", "third", -0.01, -0.1, 0.1, 0.9, 1, false),
                new("spam", "accuracy", "default-lora", "fourth", -0.2, -0.3, -0.1, 0.001, 0.01, true),
            ],
        };
        var verdict = VerdictWriter.Of(star);
        Assert.Equal(
            ("None of 3 adapters is significantly better than default-lora.", "worse"),
            (verdict.Headline, verdict.Tone));
        Assert.Equal(
            "Each was compared with default-lora, none with another (p below 0.05 after Holm's correction). "
                + "Significantly worse on at least one task: default and fourth.",
            verdict.Detail);

        Comparison[] gain = [star.Comparisons[0], star.Comparisons[1],
            star.Comparisons[2] with { Difference = 0.2, Low = 0.1, High = 0.3 }];
        Assert.Equal(
            ("1 of 3 adapters is significantly better than default-lora on at least one task.", "mixed"),
            (VerdictWriter.Of(star with { Comparisons = gain }).Headline,
                VerdictWriter.Of(star with { Comparisons = gain }).Tone));
        Comparison[] level = [.. star.Comparisons.Select(c => c with { Significant = false })];
        Assert.Equal(
            "None of 3 adapters differs significantly from default-lora.",
            VerdictWriter.Of(star with { Comparisons = level }).Headline);
    }

    private static ResultsDocument Edited(Func<Comparison, Comparison> edit) =>
        Sample with { Comparisons = [.. Sample.Comparisons.Select(c => c.A == "base" ? c : edit(c))] };
}
